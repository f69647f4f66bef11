"""How long `softonce check` takes: a small file, start included, and the package of timm.

    python benchmarks/checker_speed.py

Where torchfix is on PATH, its time on the same files is measured, too.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SMALL_LIMIT = 0.25
FACTOR = 25
SMALL = """\
import torch.nn.functional as F


def train(net, x, target):
    probs = F.softmax(net(x), dim=1)
    return F.cross_entropy(probs, target)
"""


def seconds(command: list[str], repeat: int) -> float:
    """Return the least wall-clock time of a command; a finding's status 1 is no failure."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, check=False)
        times.append(time.perf_counter() - start)
        if done.returncode not in (0, 1):
            raise SystemExit(done.stderr.decode())
    return min(times)


def package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def main() -> None:
    check = [str(Path(sys.executable).parent / "softonce"), "check"]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.py"
        small.write_text(SMALL, encoding="utf-8")
        took = seconds([*check, str(small)], 5)
    print(f"one small file, start included: {took:.3f} s (goal: {SMALL_LIMIT} s)")
    timm = package("timm")
    if timm is None:
        print("timm is not installed: not measured")
        return
    ours = seconds([*check, str(timm)], 3)
    lines = sum(len(p.read_bytes().splitlines()) for p in timm.rglob("*.py"))
    print(f"timm, {lines:,} lines: {ours:.2f} s")
    torchfix = shutil.which("torchfix")
    if torchfix is None:
        print("torchfix is not on PATH: not measured")
        return
    theirs = seconds([torchfix, "--select=ALL", str(timm)], 1)
    print(f"torchfix on the same files: {theirs:.1f} s, {theirs / ours:.0f} times as long", end=" ")
    print(f"(goal: {FACTOR})")


if __name__ == "__main__":
    main()
