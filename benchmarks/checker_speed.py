"""How long `softonce check` takes: a small file, start included, and large packages.

    python benchmarks/checker_speed.py [--torchfix PATH]

torchfix may live in an environment of its own; without it only our own times are measured.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from harness import interleaved, report

SMALL_LIMIT = 0.25
FACTOR = 25
# CPU seconds, and MiB at the peak; the packages are checked as they are installed.
LARGE = {"timm": (3.0, None), "torch": (25.0, None), "transformers": (45.0, 1024)}
SMALL = """\
import torch.nn.functional as F


def train(net, x, target):
    probs = F.softmax(net(x), dim=1)
    return F.cross_entropy(probs, target)
"""


def run(command: list[str]) -> None:
    """Run a command; a finding's status 1 is no failure."""
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr.decode())


def spend(command: list[str]) -> dict[str, float]:
    """Run a command; return its CPU seconds, for a busy machine, and its peak in MiB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{command}: status {process.returncode}")
    return {"CPU s": round(used.ru_utime + used.ru_stime, 2), "MiB": round(used.ru_maxrss / 1024)}


def package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def main() -> None:
    """Time each in turn, and write the dated result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torchfix", default=shutil.which("torchfix"))
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    check = [str(Path(sys.executable).parent / "softonce"), "check"]
    figures: dict[str, object] = {
        "goals": {
            "small file, s": SMALL_LIMIT,
            "torchfix / ours": FACTOR,
            "large packages, CPU s and MiB": LARGE,
        }
    }
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.py"
        small.write_text(SMALL, encoding="utf-8")
        cases = {
            "small": partial(run, [*check, str(small)]),
            "python": partial(run, [sys.executable, "-c", "pass"]),
        }
        took = interleaved(cases, rounds=9)
    figures["one small file, start included, s"] = round(took["small"], 3)
    figures["start of Python alone, s"] = round(took["python"], 3)
    timm, ratios = package("timm"), {}
    if timm is not None:
        cases = {"ours": partial(run, [*check, str(timm)])}
        if options.torchfix:
            cases["torchfix"] = partial(run, [options.torchfix, "--select=ALL", str(timm)])
        took = interleaved(cases, rounds=options.rounds, warmup=0)
        files = list(timm.rglob("*.py"))
        figures["timm"] = importlib.metadata.version("timm")
        figures["files, lines"] = [
            len(files), sum(len(p.read_bytes().splitlines()) for p in files)
        ]  # fmt: skip
        figures |= {f"{name} on timm, s": round(value, 2) for name, value in took.items()}
        if "torchfix" in took:
            ratios["torchfix / ours"] = took["torchfix"] / took["ours"]
    for name in LARGE:
        folder = package(name)
        if folder is not None:
            version = importlib.metadata.version(name)
            figures[f"{name} {version}"] = spend([*check, str(folder)])
    report("checker_speed", ratios=ratios, figures=figures, packages=("softonce",))


if __name__ == "__main__":
    main()
