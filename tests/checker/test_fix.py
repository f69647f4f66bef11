"""`--fix`: what is repaired passes, parses, and is otherwise byte for byte what it was."""

from __future__ import annotations

import ast
import runpy
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from softonce.cli.app import main

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = "import torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n\n"
# Guilty expression -> its repair.
PAIRS = {
    "F.cross_entropy(F.softmax(x, dim=1), y)": "F.cross_entropy(x, y)",
    "F.cross_entropy(x.softmax(dim=1), y)": "F.cross_entropy(x, y)",
    "F.cross_entropy(torch.softmax(x + 1, 1), y)": "F.cross_entropy((x + 1), y)",
    "F.cross_entropy(torch.sigmoid(x), y)": "F.cross_entropy(x, y)",
    "F.nll_loss(F.softmax(x, dim=1), y)": "F.nll_loss(F.log_softmax(x, dim=1), y)",
    "F.nll_loss(x.softmax(1), y)": "F.nll_loss(x.log_softmax(1), y)",
    "F.binary_cross_entropy_with_logits(torch.sigmoid(x), t)": (
        "F.binary_cross_entropy_with_logits(x, t)"
    ),
    "F.kl_div(F.softmax(x, dim=1), t, reduction='batchmean')": (
        "F.kl_div(F.log_softmax(x, dim=1), t, reduction='batchmean')"
    ),
    "F.kl_div(x.log_softmax(1), t.log_softmax(1), reduction='batchmean')": (
        "F.kl_div(x.log_softmax(1), t.log_softmax(1), reduction='batchmean', log_target=True)"
    ),
    "F.cross_entropy(input=F.softmax(x, dim=1), target=y)": "F.cross_entropy(input=x, target=y)",
    "F.cross_entropy(F.softmax(input=x, dim=1), y)": "F.cross_entropy(x, y)",
    "nn.CrossEntropyLoss()(nn.Softmax(dim=1)(x), y)": "nn.CrossEntropyLoss()(x, y)",
    "nn.NLLLoss()(nn.Softmax(dim=1)(x), y)": "nn.NLLLoss()(nn.LogSoftmax(dim=1)(x), y)",
    "nn.BCEWithLogitsLoss()(nn.Sigmoid()(x * 2), t)": "nn.BCEWithLogitsLoss()((x * 2), t)",
    "F.nll_loss(nn.Linear(5, 5)(x), y)": "F.cross_entropy(nn.Linear(5, 5)(x), y)",
    "F.binary_cross_entropy(nn.Linear(5, 5)(x), t)": (
        "F.binary_cross_entropy_with_logits(nn.Linear(5, 5)(x), t)"
    ),
    "-torch.log(F.softmax(x, dim=1)).mean()": "-F.log_softmax(x, dim=1).mean()",
    "-x.softmax(1).log().mean()": "-x.log_softmax(1).mean()",
    "F.softmax(nn.Linear(5, 3)(x.view(7, 5))).sum()": (
        "F.softmax(nn.Linear(5, 3)(x.view(7, 5)), dim=1).sum()"
    ),
}


def program(expression: str) -> str:
    return f"{HEAD}\ndef loss_of(x, y, t):\n    return {expression}  # stays, ü too\n"


@pytest.mark.parametrize("guilty", PAIRS)
def test_a_repair_gives_the_correct_twin_and_its_loss(tmp_path: Path, guilty: str, capsys) -> None:
    path = tmp_path / "train.py"
    path.write_text(program(guilty), encoding="utf-8")
    main(["check", str(path), "--fix"])
    assert path.read_text(encoding="utf-8") == program(PAIRS[guilty])
    assert main(["check", str(path), "--strict"]) == 0
    torch.manual_seed(0)
    inputs = torch.randn(7, 5), torch.arange(7) % 5, torch.rand(7, 5)
    torch.manual_seed(1)
    repaired = runpy.run_path(str(path))["loss_of"](*inputs)
    twin: dict[str, object] = {}
    exec(program(PAIRS[guilty]), twin)
    torch.manual_seed(1)
    assert torch.equal(repaired, twin["loss_of"](*inputs))


def picked(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean of the entries of the targets, negated."""
    return -x[torch.arange(len(y)), y].mean()


def by_hand(x: Tensor) -> Tensor:
    return x - x.exp().sum(dim=1, keepdim=True).log()


def bce(x: Tensor, t: Tensor) -> Tensor:
    return ((1 + x.exp()).log() - t * x).mean()


def kl(x: Tensor, t: Tensor, log_t: Tensor) -> Tensor:
    return (t * (log_t - by_hand(x))).sum() / len(x)


# Guilty expression -> what it is meant to be, written by hand from the definitions.
TWINS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "F.cross_entropy(F.softmax(x, dim=1), y)": lambda x, y, t: picked(by_hand(x), y),
    "F.cross_entropy(x.softmax(dim=1), y)": lambda x, y, t: picked(by_hand(x), y),
    "F.cross_entropy(torch.softmax(x + 1, 1), y)": lambda x, y, t: picked(by_hand(x + 1), y),
    "F.cross_entropy(torch.sigmoid(x), y)": lambda x, y, t: picked(by_hand(x), y),
    "F.nll_loss(F.softmax(x, dim=1), y)": lambda x, y, t: picked(by_hand(x), y),
    "F.nll_loss(x.softmax(1), y)": lambda x, y, t: picked(by_hand(x), y),
    "F.binary_cross_entropy_with_logits(torch.sigmoid(x), t)": lambda x, y, t: bce(x, t),
    "F.kl_div(F.softmax(x, dim=1), t, reduction='batchmean')": lambda x, y, t: kl(x, t, t.log()),
    "F.kl_div(x.log_softmax(1), t.log_softmax(1), reduction='batchmean')": (
        lambda x, y, t: kl(x, by_hand(t).exp(), by_hand(t))
    ),
    "F.cross_entropy(input=F.softmax(x, dim=1), target=y)": lambda x, y, t: picked(by_hand(x), y),
    "F.cross_entropy(F.softmax(input=x, dim=1), y)": lambda x, y, t: picked(by_hand(x), y),
    "nn.CrossEntropyLoss()(nn.Softmax(dim=1)(x), y)": lambda x, y, t: picked(by_hand(x), y),
    "nn.NLLLoss()(nn.Softmax(dim=1)(x), y)": lambda x, y, t: picked(by_hand(x), y),
    "nn.BCEWithLogitsLoss()(nn.Sigmoid()(x * 2), t)": lambda x, y, t: bce(x * 2, t),
    "F.nll_loss(nn.Linear(5, 5)(x), y)": lambda x, y, t: picked(by_hand(nn.Linear(5, 5)(x)), y),
    "F.binary_cross_entropy(nn.Linear(5, 5)(x), t)": lambda x, y, t: bce(nn.Linear(5, 5)(x), t),
    "-torch.log(F.softmax(x, dim=1)).mean()": lambda x, y, t: -by_hand(x).mean(),
    "-x.softmax(1).log().mean()": lambda x, y, t: -by_hand(x).mean(),
    "F.softmax(nn.Linear(5, 3)(x.view(7, 5))).sum()": (
        lambda x, y, t: by_hand(nn.Linear(5, 3)(x)).exp().sum()
    ),
}
STEPS = 30


def trained(loss_of: Callable[[Tensor, Tensor, Tensor], Tensor]) -> list[float]:
    """Return the loss of every step of a small training, in float64."""
    torch.manual_seed(0)
    net = nn.Linear(6, 5)
    images, y, t = torch.randn(7, 6), torch.arange(7) % 5, torch.rand(7, 5)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    losses = []
    for step in range(STEPS):
        torch.manual_seed(step % 2)
        loss = loss_of(net(images), y, t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_every_repair_has_a_twin() -> None:
    assert TWINS.keys() == PAIRS.keys()


@pytest.mark.parametrize("guilty", TWINS)
def test_a_repair_trains_to_the_loss_of_its_twin(tmp_path: Path, guilty: str, capsys) -> None:
    path = tmp_path / "train.py"
    path.write_text(program(guilty), encoding="utf-8")
    main(["check", str(path), "--fix"])
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        repaired = trained(runpy.run_path(str(path))["loss_of"])
        assert repaired == pytest.approx(trained(TWINS[guilty]), abs=1e-9)
    finally:
        torch.set_default_dtype(before)


def test_all_other_bytes_stay(tmp_path: Path) -> None:
    raw = (
        b"\xef\xbb\xbfimport torch.nn.functional as F\r\n"
        b"loss = F.cross_entropy(F.softmax( x ,\tdim = 1 ) , y)   # \xc3\xa9\r\n\x0c\r\n"
    )
    path = tmp_path / "windows.py"
    path.write_bytes(raw)
    assert main(["check", str(path), "--fix"]) == 0
    assert path.read_bytes() == raw.replace(b"F.softmax( x ,\tdim = 1 )", b"x")


def test_diff_prints_a_patch_and_changes_nothing(tmp_path: Path, capsys) -> None:
    path = tmp_path / "train.py"
    path.write_text(program("F.cross_entropy(F.softmax(x, dim=1), y)"), encoding="utf-8")
    before = path.read_bytes()
    assert main(["check", str(path), "--diff"]) == 0
    out = capsys.readouterr().out
    assert "+    return F.cross_entropy(x, y)" in out
    assert path.read_bytes() == before


NAMED = f"""{HEAD}
def loss_of(x, y):
    scores = x * 3
    probs = F.softmax(scores, dim=1)  # used once
    return F.cross_entropy(probs, y)
"""


def test_a_name_that_serves_the_loss_alone_is_repaired(tmp_path: Path, capsys) -> None:
    path = tmp_path / "train.py"
    path.write_text(NAMED)
    assert main(["check", str(path), "--fix"]) == 0
    assert path.read_text() == NAMED.replace("F.softmax(scores, dim=1)", "scores")


@pytest.mark.parametrize("reader", ["print(probs)", "later = lambda: probs", "probs = probs + 0"])
def test_a_name_that_is_read_elsewhere_is_left_alone(tmp_path: Path, capsys, reader: str) -> None:
    path = tmp_path / "train.py"
    text = NAMED.replace("    return", f"    {reader}\n    return")
    path.write_text(text)
    main(["check", str(path), "--fix"])
    assert path.read_text() == text


# Body of a function -> what is left of it; each name is bound or read more than once.
BOUND_TWICE = {
    "x = m(x).softmax(1)\nreturn F.cross_entropy(x, y)": "x = m(x)\nreturn F.cross_entropy(x, y)",
    "x = m(x)\nx = F.softmax(x, dim=1)\nreturn F.cross_entropy(x, y)": (
        "x = m(x)\nreturn F.cross_entropy(x, y)"
    ),
    "x = F.softmax(x, dim=1)  # why\nreturn F.cross_entropy(x, y)": (
        "x = x  # why\nreturn F.cross_entropy(x, y)"
    ),
    "for x, y in m:\n    p = F.softmax(m(x), 1)\n    loss = F.cross_entropy(p, y)\n"
    "for x, y in m:\n    p = m(x)\n    print(p)": (
        "for x, y in m:\n    p = m(x)\n    loss = F.cross_entropy(p, y)\n"
        "for x, y in m:\n    p = m(x)\n    print(p)"
    ),
    "for x, y in m:\n    x = m(x).softmax(1)\n    F.cross_entropy(x, y).backward()": (
        "for x, y in m:\n    x = m(x)\n    F.cross_entropy(x, y).backward()"
    ),
    "if y is None:\n    print(x)\nelse:\n    x = x.softmax(1)\n    return F.cross_entropy(x, y)": (
        "if y is None:\n    print(x)\nelse:\n    return F.cross_entropy(x, y)"
    ),
    "f = lambda z: z\np = x.softmax(1)\nreturn F.cross_entropy(p, y)": (
        "f = lambda z: z\np = x\nreturn F.cross_entropy(p, y)"
    ),
}
READ_ELSEWHERE = [
    "x = m(x).softmax(1)\nloss = F.cross_entropy(x, y)\nreturn x",
    "x = m(x).softmax(1)\nloss = F.cross_entropy(x, y)\nx += 1\nreturn loss",
    "while y is not None:\n    print(x)\n    x = m(x).softmax(1)\n    F.cross_entropy(x, y)",
    "while x.sum() > 0:\n    x = m(y).softmax(1)\n    F.cross_entropy(x, y)",
    "for y in m:\n    x = m(y).softmax(1)\n    F.cross_entropy(x, y)\nreturn x",
    "for x in m:\n    x = m(x).softmax(1)\n    F.cross_entropy(x, y)\nelse:\n    print(x)",
    "try:\n    x = m(x).softmax(1)\n    F.cross_entropy(x, y)\nexcept E:\n    print(x)",
    "try:\n    x = m(x).softmax(1)\n    F.cross_entropy(x, y)\nfinally:\n    print(x)",
    "x = m(x).softmax(1)\nif y:\n    return F.cross_entropy(x, y)\nelse:\n    return x",
    "def later():\n    return x\nx = m(x).softmax(1)\nreturn F.cross_entropy(x, y), later",
    "global x\nx = m(y).softmax(1)\nreturn F.cross_entropy(x, y)",
    "x = m(x).softmax(1)\nreturn F.cross_entropy(x, y), [x for _ in y]",
]


def in_function(body: str) -> str:
    arguments = "y, m" if "global x" in body else "x, y, m"
    return f"{HEAD}\ndef loss_of({arguments}):\n{textwrap.indent(body, '    ')}\n"


@pytest.mark.parametrize("body", BOUND_TWICE)
def test_a_value_that_goes_to_the_loss_only_is_repaired(tmp_path: Path, body: str, capsys) -> None:
    path = tmp_path / "train.py"
    path.write_text(in_function(body))
    assert main(["check", str(path), "--fix"]) == 0
    assert path.read_text() == in_function(BOUND_TWICE[body])


@pytest.mark.parametrize("body", READ_ELSEWHERE)
def test_a_value_that_somebody_else_may_see_is_left_alone(
    tmp_path: Path, body: str, capsys
) -> None:
    path = tmp_path / "train.py"
    path.write_text(in_function(body))
    assert main(["check", str(path), "--fix"]) == 1  # it was found, and is still there
    assert path.read_text() == in_function(body)


def test_what_is_not_inline_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    text = f"{HEAD}probs = F.softmax(x, dim=1)\nloss = F.cross_entropy(probs, y)\n"
    path.write_text(text)
    assert main(["check", str(path), "--fix"]) == 1
    assert path.read_text() == text
    ast.parse(text)
