"""Small logits: torch's operators where they are right, the kernels where they are not."""

import pytest
import reference
import torch
import torch.nn.functional as F
from reference import draw, draw_target

from softonce.losses import cross_entropy, fused, linear, linear_cross_entropy

LOGITS, TARGET = draw(0, 5, 7, dtype=torch.float32), draw_target(1, 5, num_classes=7)


@pytest.fixture
def calls(monkeypatch):
    """Count the losses that torch computes."""
    counted, nll_loss = [], F.nll_loss

    def call(*args, **options):
        counted.append(args)
        return nll_loss(*args, **options)

    monkeypatch.setattr(fused.F, "nll_loss", call)  # torch.nn.functional's own
    return counted


def test_the_bounds_are_those_of_the_product():
    assert fused._SMALL > 0 < linear._SMALL


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ordinary_rows_are_left_to_torch(calls, reduction):
    leaf = LOGITS.clone().requires_grad_()
    loss = cross_entropy(leaf, TARGET, reduction=reduction)
    assert len(calls) == 1
    torch.testing.assert_close(loss, F.cross_entropy(LOGITS, TARGET, reduction=reduction))
    head = torch.eye(7).requires_grad_()
    again = linear_cross_entropy(leaf, head, TARGET, reduction=reduction)
    assert len(calls) == 2
    torch.testing.assert_close(again, loss)
    found = torch.autograd.grad(again.sum(), leaf)
    torch.testing.assert_close(found, torch.autograd.grad(loss.sum(), leaf))


def test_a_confident_row_is_not(calls):
    logits = LOGITS.clone()
    logits[2, TARGET[2]] = 30
    leaf = logits.requires_grad_()
    loss = cross_entropy(leaf, TARGET, reduction="none")
    (grad,) = torch.autograd.grad(loss.sum(), leaf)
    others = torch.cat([LOGITS[2, : TARGET[2]], LOGITS[2, TARGET[2] + 1 :]])
    true_loss, true_grad = reference.confident_row(30 - others.double())
    assert abs(loss[2].double() / true_loss - 1) < 1e-6
    assert abs(grad[2, TARGET[2]].double() / true_grad - 1) < 1e-6


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_neither_is_a_row_without_a_loss(value):
    logits = LOGITS.clone()
    logits[1, 0] = value
    assert cross_entropy(logits, TARGET).isnan()


@pytest.mark.parametrize(
    "options",
    [
        {"weight": torch.ones(7)},
        {"label_smoothing": 0.1},
        {"ignore_index": int(TARGET[0])},
        {"return_lse": True},
    ],
    ids=str,
)
def test_options_are_for_the_kernels(calls, options):
    cross_entropy(LOGITS, TARGET, **options)
    assert not calls
