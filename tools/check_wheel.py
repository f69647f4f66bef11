"""Build the sdist and, from it, the wheel; check both; install the wheel alone and use it.

    python tools/check_wheel.py             in an empty environment of this Python
    python tools/check_wheel.py --keep DIR  leave both files in DIR, for a release

An environment without extras has no torch, takes less than LIMIT_MB, and finds a second softmax.
The build runs without isolation: its backend is pinned like every other tool.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT_MB = 60
GUILTY = """\
import torch.nn.functional as F

def loss_of(net, images, target):
    return F.cross_entropy(F.softmax(net(images), dim=1), target)
"""


def run(*command: object, status: int = 0, cwd: Path = ROOT) -> str:
    """Run a command and return what it printed; another status than the expected one ends us."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != status:
        sys.exit(
            f"expected status {status} of {' '.join(words)}, found {done.returncode}:\n"
            f"{done.stdout}{done.stderr}"
        )
    return done.stdout


def build(folder: Path) -> Path:
    """Build both files into `folder`, let the two linters judge them, and return the wheel."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder)
    run(sys.executable, "-m", "twine", "check", "--strict", *folder.iterdir())
    (wheel,) = folder.glob("*.whl")
    run(sys.executable, "-m", "check_wheel_contents", wheel)
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel without extras into a new environment, and return its `bin`."""
    venv.create(folder, with_pip=False, symlinks=True)
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin/python", "install", "--quiet")
    run(*pip, "--constraint", ROOT / "constraints.txt", wheel)
    return folder / "bin"


def use(programs: Path, folder: Path) -> None:
    """Check a guilty file and an innocent one, in a folder that knows nothing of the source."""
    run(programs / "softonce", "--version", cwd=folder)
    (folder / "train.py").write_text(GUILTY, encoding="utf-8")
    found = run(programs / "softonce", "check", "train.py", status=1, cwd=folder)
    if "train.py:4: error SO101" not in found:
        sys.exit(f"expected error SO101 in line 4 of train.py, found:\n{found}")
    (folder / "train.py").write_text(GUILTY.replace("F.softmax(", "("), encoding="utf-8")
    run(programs / "softonce", "check", "train.py", cwd=folder)
    run(programs / "python", "-c", "import torch", status=1, cwd=folder)


def size_of(folder: Path) -> float:
    """Return the megabytes of all files below a folder; links are not followed."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1e6


def main() -> None:
    """Do all of it, and print one line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", type=Path, help="folder for the sdist and the wheel")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder / "dist")
        programs = install(wheel, folder / "environment")
        size = size_of(folder / "environment")
        if size >= LIMIT_MB:
            sys.exit(f"expected an environment of less than {LIMIT_MB} MB, found {size:.1f} MB")
        use(programs, folder)
        if keep:
            shutil.copytree(folder / "dist", keep, dirs_exist_ok=True)
        python = ".".join(map(str, sys.version_info[:3]))
        print(f"{wheel.name}: built, installed and used on Python {python}, {size:.1f} MB")


if __name__ == "__main__":
    main()
