"""SIGKILL at random instants, over worker processes and ranks: no bit of the weights changes."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from training.runs import rows, weights

KILLS_EACH = 5
"""Of each number of worker processes."""


def command(processes: int, *words: object) -> list[str]:
    runner = [] if processes == 1 else [
        "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
    ]  # fmt: skip
    return [sys.executable, *runner, "-m", "softonce", "train", *map(str, words), "--quiet"]


def options(photos: Path, output: Path, workers: int) -> list[object]:
    return [
        photos, "--model", "cifar_resnet20", "--size", 16, "--epochs", 12, "--batch-size", 8,
        "--augment", "resized-crop", "--random-erase", 0.5, "--mixup-alpha", 0.4, "--model-ema",
        "--grad-accum-steps", 2, "--workers", workers,
        "--checkpoint-seconds", 0, "--output", output,
    ]  # fmt: skip


def start(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as errors:
        return subprocess.Popen(
            words,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )


def killed_after(seconds: float, words: list[str], run: Path) -> bool:
    """Start a run and kill all its processes after that time; say whether it still went on."""
    process = start(words, log_of(run))
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        while numbers := processes_of(run):  # torchrun's children are in sessions of their own
            for number in numbers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            process.poll()
        process.wait()
        return True
    assert process.returncode == 0, log_of(run).read_text()
    return False


def log_of(run: Path) -> Path:
    return run.with_name(f"{run.name}.log")


def processes_of(run: Path) -> list[int]:
    """Return the processes that have the run's folder on their command line, and live."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and os.fsencode(run) in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def train_through(
    instants: list[float], photos: Path, run: Path, workers: int, processes: int
) -> int:
    """Train, killed so long after each start, to the end; return the number of kills."""
    asked = options(photos, run, workers)
    words, kills = command(processes, *asked), 0
    while killed_after(instants[kills] if kills < len(instants) else 300.0, words, run):
        kills += 1
        assert kills <= len(instants), "the run never ends"
        if (run / "config.toml").exists():
            words = command(processes, "--resume", run, "--workers", workers)
        elif run.exists():
            words = command(processes, *asked, "--overwrite")
    return kills


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_fifteen_kills_change_no_bit(processes: int, photos: Path, tmp_path: Path) -> None:
    seed = time.time_ns()
    sys.stdout.write(f"seed {seed}\n")  # shown if the test fails, to draw the same instants again
    draw = random.Random(seed)
    whole = tmp_path / "whole"
    before = time.monotonic()
    process = start(command(processes, *options(photos, whole, 0)), log_of(whole))
    assert process.wait(timeout=300) == 0
    seconds = time.monotonic() - before
    for workers in (0, 1, 3):
        kills = 0
        for number in itertools.count():  # a run may end before it is killed
            run = tmp_path / f"{workers}-{number}"
            instants = [draw.uniform(1.0, seconds) for _ in range(KILLS_EACH - kills)]
            kills += train_through(instants, photos, run, workers, processes)
            assert weights(run) == weights(whole), workers
            assert rows(run) == rows(whole), workers
            if kills == KILLS_EACH:
                break
