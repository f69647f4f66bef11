"""SIGKILL at random instants, over worker processes and ranks: no bit of the weights changes."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from training.runs import rows, weights

NUM_KILLS = 30
WAYS = [(workers, processes) for workers in (0, 1, 3) for processes in (1, 2)]


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


def start(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_after(seconds: float, process: subprocess.Popen[bytes], run: Path) -> bool:
    """Kill all processes of a run after that time; say whether it was still going on."""
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
    assert process.returncode == 0
    return False


def processes_of(run: Path) -> list[int]:
    """Return the processes that have the run's folder on their command line, and live."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and os.fsencode(run) in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_thirty_kills_change_no_bit(photos: Path, tmp_path: Path) -> None:
    draw = random.Random(time.time_ns())
    wholes: dict[int, Path] = {}
    seconds: dict[int, float] = {}
    for processes in (1, 2):
        wholes[processes] = tmp_path / f"whole-{processes}"
        before = time.monotonic()
        process = start(command(processes, *options(photos, wholes[processes], 0)))
        assert process.wait(timeout=300) == 0
        seconds[processes] = time.monotonic() - before
    kills = 0
    number = 0
    while kills < NUM_KILLS:
        workers, processes = WAYS[number % len(WAYS)]
        run = tmp_path / f"killed-{number}"
        words = command(processes, *options(photos, run, workers))
        while kill_after(draw.uniform(1.0, seconds[processes]), start(words), run):
            kills += 1
            assert kills < 10 * NUM_KILLS, "the run never ends"
            if (run / "config.toml").exists():
                words = command(processes, "--resume", run, "--workers", workers)
            elif run.exists():
                words = command(processes, *options(photos, run, workers), "--overwrite")
        assert weights(run) == weights(wholes[processes]), (workers, processes)
        assert rows(run) == rows(wholes[processes]), (workers, processes)
        number += 1
