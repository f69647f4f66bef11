"""Each error rule in a training script of its own, under `softonce watch`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from softonce.checker.catalog import RULES
from softonce.checker.rule import Severity
from softonce.cli.app import main

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """\
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
images = torch.randn(64, 8)
target = images[:, :4].argmax(1)
onehot = F.one_hot(target, 4).float()
RATE = 0.1


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = self.head(self.body(x))
        {end}


def loss_of(out, y, t):
    {loss}


net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
for epoch in range(5):
    net.train()
    for rows in torch.arange(64).split(16):
        loss = loss_of(net(images[rows]), target[rows], onehot[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        loss_of(net(images), target, onehot)
print("done")
"""
RAW = "return x"
RIGHT = "return F.cross_entropy(out, y)"
# Rule -> how forward ends, and the loss.
GUILTY = {
    "SO101": ("return F.softmax(x, dim=1)", RIGHT),
    "SO102": ("return x.softmax(-1)", "return F.nll_loss(out, y)"),
    "SO103": (RAW, "return nn.NLLLoss()(out, y)"),
    "SO104": ("return x.sigmoid()", "return nn.BCEWithLogitsLoss()(out, t)"),
    "SO105": ("return x", "return F.binary_cross_entropy(out, t)"),
    "SO106": ("return torch.sigmoid(x)", RIGHT),
    "SO107": ("return x.softmax(1)", "return nn.KLDivLoss(reduction='batchmean')(out, t)"),
    "SO108": (
        "return x.log_softmax(1)",
        "return F.kl_div(out, out.detach().exp(), reduction='batchmean', log_target=True)",
    ),
    "SO109": (RAW, "return F.cross_entropy((out > 0).float(), y) + 0 * out.sum()"),
    "SO110": ("return x[:, :1]", "return F.cross_entropy(out, torch.zeros_like(y))"),
    "SO203": ("return x.log_softmax(0)", "return F.nll_loss(out, y)"),
    "SO207": ("return x if self.training else x.softmax(1)", RIGHT),
    "SO601": (RAW, RIGHT),
    "SO602": (RAW, "return F.cross_entropy(out, y + 1)"),
}
WATCHED = {code for code, rule in RULES.items() if rule.severity is Severity.ERROR} - {
    "SO306", "SO401", "SO402", "SO403", "SO404",
}  # fmt: skip


def test_every_error_rule_that_a_script_can_show_has_a_script() -> None:
    assert GUILTY.keys() >= WATCHED


@pytest.mark.parametrize("code", GUILTY)
def test_rule_is_caught_in_its_script(code: str, tmp_path: Path, capfd) -> None:
    end, loss = GUILTY[code]
    text = SCRIPT.format(end=end, loss=loss)
    if code == "SO601":
        text = text.replace("RATE = 0.1", "RATE = 1e30")
    script = tmp_path / "train.py"
    script.write_text(text)
    status = main(["watch", "--json", str(script)])
    out, err = capfd.readouterr()
    findings = json.loads(err[err.index("[\n") if "[\n" in err else err.index("[]") :])
    assert {finding["code"] for finding in findings} == {code}
    assert {finding["place"]["path"] for finding in findings} == {str(script)}
    # torch itself refuses such targets, and values outside of [0, 1]; else the script ends.
    assert (status, out) == ((1, "") if code in ("SO105", "SO602") else (0, "done\n"))


def test_right_script_has_no_finding(tmp_path: Path, capfd) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(end=RAW, loss=RIGHT))
    assert main(["watch", "--json", str(script)]) == 0
    assert capfd.readouterr().err.strip() == "[]"


MODULE_LEVEL = """\
import torch
from torch.nn import functional as F
probs = torch.zeros(4, 3, requires_grad=True).softmax(1)
F.cross_entropy(probs, torch.tensor([0, 1, 2, 0])).backward()
"""


def test_what_runs_the_script_is_not_named(tmp_path: Path, capfd) -> None:
    script = tmp_path / "train.py"
    script.write_text(MODULE_LEVEL)
    assert main(["watch", str(script)]) == 0
    err = capfd.readouterr().err
    assert "train.py:4" in err
    assert "cli/watch.py" not in err
    assert "script.py" not in err
