"""The READMEs as a new user would try them: typed, in an empty environment and an empty folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from test_readme import GUILTY, README, ROOT, blocks

from softonce.cli.demo import write_photographs

pytestmark = pytest.mark.slow

PER_CLASS = 60  # tiles of a photograph: enough to train on, few enough for minutes
EXPECTED_STATUS = {"softonce check .": 1}  # it finds the second softmax of train.py


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment variables after the install lines of README.md, run in a copy of the tree."""
    clone = tmp_path_factory.mktemp("clone") / "softonce"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    kept["PATH"] = f"{Path(sys.base_prefix) / 'bin'}:{kept['PATH']}"
    pins = {"PIP_CONSTRAINT": str(ROOT / "constraints.txt"), "PIP_QUIET": "1"}
    (install,) = (block for block in blocks(README, "sh") if "pip install" in block)
    subprocess.run(["bash", "-ec", install], cwd=clone, env=kept | pins, check=True)
    return kept | {"PATH": f"{clone / '.venv/bin'}:{kept['PATH']}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: photos/ with two classes, new/ with two pictures, and train.py."""
    folder = tmp_path_factory.mktemp("user")
    tiles = folder / "tiles"
    write_photographs(tiles)
    for name in ("temple", "flower"):
        found = sorted((tiles / "train" / name).iterdir())
        for path in found[:PER_CLASS]:
            target = folder / "photos" / name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        (folder / "new").mkdir(exist_ok=True)
        found[PER_CLASS].rename(folder / "new" / ("a.jpg" if name == "temple" else "b.jpg"))
    (folder / "train.py").write_text(GUILTY)
    return folder


def test_every_command_and_every_block_works(environment: dict[str, str], folder: Path) -> None:
    commands = [
        line.split("  #")[0].strip()
        for block in blocks(README, "sh")
        for line in block.splitlines()
        if line.startswith("softonce ")
    ]
    assert len(commands) >= 10
    for command in commands:
        if command.startswith("softonce serve"):
            answer_health(command, environment, folder)
            continue
        done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, check=False)
        assert done.returncode == EXPECTED_STATUS.get(command, 0), command
    for block in blocks(README, "python"):
        subprocess.run(["python", "-c", block], cwd=folder, env=environment, check=True)


def answer_health(command: str, environment: dict[str, str], folder: Path) -> None:
    """Start the service as it is typed, wait until it answers, and stop it."""
    service = subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=folder, env=environment)
    try:
        for _ in range(120):
            assert service.poll() is None, command
            try:
                with urllib.request.urlopen("http://127.0.0.1:8000/healthz", timeout=5) as answer:
                    assert answer.status == 200
                    break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail(f"{command} did not answer in a minute")
    finally:
        service.send_signal(signal.SIGTERM)
        assert service.wait(60) == 0
