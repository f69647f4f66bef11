"""Each rule that a running script can show, in a small training of its own."""

from __future__ import annotations

import contextlib
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision_beside import torchvision_or_skip

import softonce.losses
from softonce import floors
from softonce.checker.runtime import watch

if TYPE_CHECKING:
    from collections.abc import Callable

C = 5
TARGET = torch.arange(20) % C
IMAGES = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
ONEHOT = F.one_hot(TARGET, C).float()


def train(loss_of: Callable[[Tensor], Tensor], *, steps: int = 25, **options) -> watch:
    """Train a linear layer through `loss_of(scores)`, watched."""
    torch.manual_seed(0)
    net = nn.Linear(8, options.pop("classes", C))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with watch(report=False, **options) as session:
        for _ in range(steps):
            loss = loss_of(net(IMAGES))
            optimizer.zero_grad()
            if loss.requires_grad:
                loss.backward()
            optimizer.step()
    return session


def codes(session: watch) -> list[str]:
    return [finding.code for finding in session.findings]


def one_class(scores: Tensor) -> Tensor:
    return F.cross_entropy(scores[:, :1], torch.zeros(20, dtype=torch.long))


def by_hand(scores: Tensor) -> Tensor:
    exponents = (scores - scores.amax(1, keepdim=True)).exp()
    return exponents / exponents.sum(1).unsqueeze(1)


def two_classes(scores: Tensor) -> Tensor:
    p = scores[:, 0].sigmoid()
    return torch.stack([1 - p, p], 1)


GUILTY = [
    ("SO101", lambda x: nn.CrossEntropyLoss()(nn.Softmax(dim=1)(x), TARGET)),
    ("SO102", lambda x: F.nll_loss(x.softmax(1), TARGET)),
    ("SO103", lambda x: F.nll_loss(x, TARGET)),
    ("SO104", lambda x: F.binary_cross_entropy_with_logits(x.sigmoid(), ONEHOT)),
    ("SO105", lambda x: F.binary_cross_entropy(x, ONEHOT)),
    ("SO106", lambda x: F.cross_entropy(torch.sigmoid(x), TARGET)),
    ("SO107", lambda x: F.kl_div(x.softmax(1), ONEHOT, reduction="batchmean")),
    (
        "SO108",
        lambda x: F.kl_div(
            x.log_softmax(1), x.detach().softmax(1), reduction="batchmean", log_target=True
        ),
    ),
    ("SO109", lambda x: F.cross_entropy((x > 0).float(), TARGET)),
    ("SO110", one_class),
    ("SO201", lambda x: F.cross_entropy(x.relu(), TARGET)),
    ("SO202", lambda x: (x.softmax(1).softmax(1) * ONEHOT).sum()),
    ("SO203", lambda x: F.nll_loss(x.log_softmax(0), TARGET)),
    ("SO204", lambda x: -(x.softmax(1).log() * ONEHOT).sum()),
    ("SO206", lambda x: -((x.softmax(1) / 2.0).log_softmax(1) * ONEHOT).sum()),
    ("SO206", lambda x: F.cross_entropy(x.softmax(1) / 0.5, TARGET)),
    ("SO101", lambda x: F.nll_loss(F.log_softmax(x.softmax(1), 1), TARGET)),
    ("SO101", lambda x: F.cross_entropy(x.softmax(1) - 1e-8, TARGET)),
    ("SO101", lambda x: F.cross_entropy((x.softmax(1) + x.flip(1).softmax(1)) / 2, TARGET)),
    ("SO101", lambda x: F.cross_entropy(x.exp() / x.exp().sum(1, keepdim=True), TARGET)),
    ("SO101", lambda x: F.cross_entropy(by_hand(x), TARGET)),
    ("SO101", lambda x: F.cross_entropy(two_classes(x), TARGET.remainder(2))),
    ("SO104", lambda x: F.binary_cross_entropy(x.sigmoid().sigmoid(), ONEHOT)),
    ("SO201", lambda x: F.nll_loss(F.log_softmax(x.relu(), 1), TARGET)),
    ("SO202", lambda x: -F.log_softmax(x.softmax(1), 1).gather(1, TARGET[:, None]).mean()),
    ("SO302", lambda x: F.cross_entropy(x.log_softmax(1), TARGET)),
    ("SO602", lambda x: F.cross_entropy(x, TARGET + 1)),
    ("SO601", lambda x: F.cross_entropy(x * math.nan, TARGET)),
]


@pytest.mark.parametrize(("code", "loss_of"), GUILTY)
def test_rule_is_reported(code: str, loss_of: Callable[[Tensor], Tensor]) -> None:
    session = None
    try:
        session = train(loss_of, steps=3)
    except (IndexError, RuntimeError):
        # torch itself refuses; what was seen before the call is reported all the same.
        with watch(report=False) as session, pytest.raises((IndexError, RuntimeError), match=r"."):
            loss_of(nn.Linear(8, C)(IMAGES))
    assert codes(session) == [code]


INNOCENT = {
    "logits": lambda x: F.cross_entropy(x, TARGET),
    "softmax as the target": lambda x: F.cross_entropy(x, x.detach().softmax(1)),
    "log_softmax then nll": lambda x: F.nll_loss(F.log_softmax(x, 1), TARGET),
    "one minus p": lambda x: (1 + F.nll_loss(x.softmax(1), TARGET, reduction="none")).mean(),
    "logged before nll": lambda x: F.nll_loss((x.softmax(1) + 1e-8).log(), TARGET),
    "sigmoid then bce": lambda x: F.binary_cross_entropy(x.sigmoid(), ONEHOT),
    "focal weight": lambda x: (
        x.detach().sigmoid() * F.binary_cross_entropy_with_logits(x, ONEHOT, reduction="none")
    ).mean(),
    "other slices": lambda x: (
        F.binary_cross_entropy_with_logits(x[:, 2:], ONEHOT[:, 2:]) + x[:, :2].sigmoid().mean()
    ),
    "softmax after the loss": lambda x: F.cross_entropy(x, TARGET) + 0 * x.softmax(1).sum(),
    "a temperature before the softmax": lambda x: F.cross_entropy(x / 2.0, TARGET),
    "half of two": lambda x: ((x.softmax(1) + x.tanh().softmax(1)) / 2.0).log().mean(),
    "pooled at the end": lambda x: F.cross_entropy(
        F.adaptive_avg_pool2d(x.relu()[..., None, None], 1).flatten(1), TARGET
    ),
    "a number as an index": lambda x: F.cross_entropy(x[: torch.tensor(20)], TARGET),
    "log_softmax by hand": lambda x: F.nll_loss(x - x.logsumexp(1, keepdim=True), TARGET),
    "attention": lambda x: F.cross_entropy((x @ x.T).softmax(-1) @ x, TARGET),
    "kl of logarithms": lambda x: F.kl_div(x.log_softmax(1), ONEHOT, reduction="batchmean"),
    "changed in place": lambda x: F.cross_entropy(x.softmax(1).clone().mul_(9.0).sub_(3.0), TARGET),
}


@pytest.mark.parametrize("name", INNOCENT)
def test_what_is_right_is_not_reported(name: str) -> None:
    session = train(INNOCENT[name])
    assert codes(session) == []
    assert session.ledger.num_blind == 0


def test_finding_names_both_lines_and_the_floor() -> None:
    def loss_of(scores: Tensor) -> Tensor:
        probs = scores.softmax(dim=1)
        return F.cross_entropy(probs.view(-1, C)[:], TARGET)

    (finding,) = train(loss_of).findings
    assert finding.made is not None
    assert finding.place.line == finding.made.line + 1
    assert {Path(p.path).resolve() for p in (finding.place, finding.made)} == {Path(__file__)}
    assert finding.witness == "tag"
    assert f"{floors.double_softmax_floor(C):.3f}" in finding.message


def test_absent_class_is_reported_where_the_sample_is_large() -> None:
    session = train(lambda x: F.cross_entropy(x, TARGET), classes=C + 1)
    assert codes(session) == ["SO603"]
    assert "class 5 of 6 among the 400 targets" in session.findings[0].message


def test_eval_only_softmax_has_its_own_rule() -> None:
    net = nn.Linear(8, C)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with watch(report=False, steps=2) as session:
        for _ in range(5):
            F.cross_entropy(net(IMAGES), TARGET).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            F.cross_entropy(net(IMAGES).softmax(1), TARGET)
    assert codes(session) == ["SO207"]


OWN = {
    "SO101": lambda x: softonce.losses.cross_entropy(x.softmax(1), TARGET),
    "SO102": lambda x: softonce.losses.NLLLoss()(x.softmax(1), TARGET),
    "SO106": lambda x: softonce.losses.CrossEntropyLoss()(x.sigmoid(), TARGET),
    "SO602": lambda x: softonce.losses.cross_entropy(x, TARGET + 1),
}


@pytest.mark.parametrize("code", OWN)
def test_our_own_losses_are_seen_as_they_are_called(code: str) -> None:
    with watch(report=False) as session, contextlib.suppress(IndexError, RuntimeError, ValueError):
        OWN[code](nn.Linear(8, C)(IMAGES))
    assert codes(session) == [code]
    assert [site.loss for site in session.ledger.sites.values()] == [
        "nll_loss" if code == "SO102" else "cross_entropy"
    ]


def test_our_own_losses_report_nothing_where_they_get_logits() -> None:
    weight = torch.zeros(C, 8, requires_grad=True)
    with watch(report=False) as session:
        scores = nn.Linear(8, C)(IMAGES)
        softonce.losses.cross_entropy(scores, TARGET).backward()
        softonce.losses.linear_cross_entropy(IMAGES, weight, TARGET).backward()
        softonce.losses.sharded_linear_cross_entropy(
            IMAGES, weight, TARGET, class_start=0, class_stop=C
        ).backward()
    assert codes(session) == []
    assert [site.loss for site in session.ledger.sites.values()] == [
        "cross_entropy", "linear_cross_entropy", "sharded_linear_cross_entropy"
    ]  # fmt: skip


def test_loss_at_the_floor_is_reported_where_nothing_tells_what_made_the_scores() -> None:
    # As of a second softmax that is sure of itself, behind a detour through numpy.
    certain = (30 * F.one_hot(TARGET, C).float().numpy()).copy()

    def loss_of(scores: Tensor) -> Tensor:
        exponents = np.exp(certain - certain.max(axis=1, keepdims=True))
        probs = torch.from_numpy(exponents / exponents.sum(axis=1, keepdims=True))
        return F.cross_entropy(probs + 0 * scores.sum(), TARGET)

    assert codes(train(loss_of)) == ["SO604"]


def test_threshold_on_logits_is_reported_where_they_are_trained_as_such() -> None:
    def loss_of(scores: Tensor) -> Tensor:
        _ = scores > 0.5
        return F.binary_cross_entropy_with_logits(scores, ONEHOT)

    assert codes(train(loss_of)) == ["SO205"]


def test_autograd_is_the_witness_where_the_mode_saw_nothing() -> None:
    net = nn.Linear(8, C)
    probs = net(IMAGES).softmax(dim=1)
    with watch(report=False) as session:
        F.cross_entropy(probs.view(C * 4, C).clone(), TARGET)
    (finding,) = session.findings
    assert (finding.code, finding.witness) == ("SO101", "grad_fn")


def test_values_are_the_witness_where_autograd_has_no_record() -> None:
    probs = torch.randn(20, C).softmax(dim=1).detach()
    with watch(report=False) as session:
        for _ in range(2):
            F.cross_entropy(probs, TARGET)
    (finding,) = session.findings
    assert (finding.code, finding.witness) == ("SO101", "value")


def test_one_batch_of_such_values_is_no_witness() -> None:
    probs = torch.randn(20, C).softmax(dim=1).detach()
    with watch(report=False) as session:
        F.cross_entropy(probs, TARGET)
    assert session.findings == []


def test_sums_of_layers_are_followed() -> None:
    other = nn.Linear(8, C)
    session = train(lambda x: F.nll_loss(x + other(IMAGES), TARGET), steps=1)
    assert codes(session) == ["SO103"]
    assert session.findings[0].witness == "tag"
    assert session.ledger.num_blind == 0


def test_line_of_a_layer_is_the_one_that_made_it() -> None:
    with watch(report=False) as session:
        last = nn.Softmax(dim=1)
        line = last_line()
        F.cross_entropy(nn.Sequential(nn.Linear(8, C), last)(IMAGES), TARGET)
    (finding,) = session.findings
    assert finding.made is not None
    assert finding.made.line == line - 1


def last_line() -> int:
    return sys._getframe(1).f_lineno


def test_classes_are_counted_over_all_losses_of_a_network() -> None:
    def loss_of(scores: Tensor) -> Tensor:
        real = F.cross_entropy(scores, TARGET)
        return real + F.cross_entropy(scores, torch.full((20,), C))

    assert codes(train(loss_of, classes=C + 1)) == []


@pytest.mark.parametrize("name", ["LabelSmoothingCrossEntropy", "SoftTargetCrossEntropy"])
def test_losses_of_timm_are_followed_into_their_own_softmax(name: str) -> None:
    torchvision_or_skip()
    loss: Any = pytest.importorskip("timm.loss", reason="needs timm")
    target = ONEHOT if name.startswith("Soft") else TARGET
    criterion = getattr(loss, name)()
    assert codes(train(lambda x: criterion(x.softmax(1), target), steps=2)) == ["SO101"]
    assert codes(train(lambda x: criterion(x, target), steps=2)) == []


def test_what_could_not_be_looked_at_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("a tensor of another maker")

    monkeypatch.setattr("softonce.checker.runtime.mode.call_of", fail)
    session = train(lambda x: F.cross_entropy(x.relu(), TARGET), steps=1)
    assert re.search(r"1 call of relu at \S+test_rules.py:\d+ could not", session.summary())
