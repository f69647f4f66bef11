"""The example runs as a script, prints what the README shows, and its asserts can fail."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "why_no_softmax.py"


@pytest.fixture
def torch_as_before():
    """The example seeds torch and sets how it prints; put both back."""
    with torch.random.fork_rng():
        yield
    torch.set_printoptions(profile="default")


def test_it_prints_every_equality():
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(EXAMPLE)]
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    lines = finished.stdout.splitlines()
    log_of_softmax, log_softmax = lines[1:4], lines[5:8]
    assert log_of_softmax == log_softmax
    composed, direct = (line.split()[-2:] for line in lines if line.endswith("2.2729"))
    assert composed == direct == ["2.2729", "2.2729"]
    assert "a second softmax: loss 1.7014 instead of 2.2729" in finished.stdout
    assert lines[-1] == "and the loss can never fall below ln(1 + (C-1)/e) = 0.9048"


@pytest.mark.usefixtures("torch_as_before", "capsys")
@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (
            "assert_close(torch.log(softmax(z, dim=1)),",
            "assert_close(softmax(z, dim=1),",
            "not close",
        ),
        ("= nll_loss(log_softmax(z, dim=1), y),", "= nll_loss(softmax(z, dim=1), y),", "not close"),
        ("F.cross_entropy(z, y)\n", "F.cross_entropy(z, y) + 1e-3\n", "not close"),
        ("CrossEntropyLoss()(leaf, y)", "CrossEntropyLoss(label_smoothing=0.1)(leaf, y)", "^$"),
        (
            "best.item(), double_softmax_floor(5)",
            "best.item(), double_softmax_floor(6)",
            "not close",
        ),
        ("cross_entropy(softmax(leaf, dim=1), y)", "cross_entropy(9 * leaf, y)", "^$"),
    ],
)
def test_its_asserts_can_fail(right, wrong, message, tmp_path):
    source = EXAMPLE.read_text(encoding="utf-8")
    assert source.count(right) == 1
    mutant = tmp_path / "mutant.py"
    mutant.write_text(source.replace(right, wrong), encoding="utf-8")
    with pytest.raises(AssertionError, match=message):
        runpy.run_path(str(mutant))
