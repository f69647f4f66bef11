"""Benchmarks that most machines cannot run: that they would, and say so where they cannot."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

GPU_LOSSES = Path(__file__).parents[1] / "benchmarks" / "gpu_losses.py"


def run(*options):
    env = {**os.environ, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, GPU_LOSSES, *options]
    return subprocess.run(
        command, env=env, check=False, capture_output=True, text=True, timeout=300
    )


def test_a_dry_run_of_the_losses_meets_every_contender():
    pytest.importorskip("triton", reason="triton is made for Linux")
    done = run("--dry-run")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    assert record["benchmark"] == "gpu_losses_dry_run"
    problems = [figures for figures in record["figures"].values() if isinstance(figures, dict)]
    assert len(problems) == 4
    for measured in problems:
        losses = [figures["loss"] for figures in measured.values() if isinstance(figures, dict)]
        assert len(losses) >= 3
        assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-6)
        refusals = [found for found in measured.values() if isinstance(found, str)]
        assert all(found.startswith("absent: ") for found in refusals)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to measure on")
def test_without_a_gpu_nothing_is_measured():
    done = run()
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("expected a GPU that torch can use, found none")
