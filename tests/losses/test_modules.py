"""A module stores options and calls the function of its name."""

import pytest
import torch
from loss_ways import TORCH_HAS_NO_HEAD_LOSS
from torch import nn

from softonce import losses
from softonce.errors import ArgumentError

LOGITS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
TARGET = torch.tensor([0, 1, 2, 1, 0])
WEIGHT = torch.tensor([1.0, 2.0, 0.5])
OPTIONS = {"ignore_index": 1, "reduction": "sum"}


def test_softmax_modules_equal_their_functions():
    assert torch.equal(losses.Softmax(1)(LOGITS), losses.softmax(LOGITS, 1))
    assert torch.equal(losses.LogSoftmax(dim=1)(LOGITS), losses.log_softmax(LOGITS, 1))
    assert (repr(losses.Softmax(1)), repr(losses.LogSoftmax(0))) == (
        "Softmax(dim=1)",
        "LogSoftmax(dim=0)",
    )


def test_nll_loss_equals_its_function():
    module = losses.NLLLoss(WEIGHT, **OPTIONS)
    log_probs = losses.log_softmax(LOGITS, 1)
    assert torch.equal(
        module(log_probs, TARGET), losses.nll_loss(log_probs, TARGET, WEIGHT, **OPTIONS)
    )


def test_cross_entropy_loss_equals_its_function():
    options = OPTIONS | {"label_smoothing": 0.1}
    module = losses.CrossEntropyLoss(WEIGHT, **options)
    assert torch.equal(
        module(LOGITS, TARGET), losses.cross_entropy(LOGITS, TARGET, WEIGHT, **options)
    )


@TORCH_HAS_NO_HEAD_LOSS
@pytest.mark.parametrize("positions", [(), (2,)])
@pytest.mark.parametrize("bias", [False, True])
def test_linear_cross_entropy_loss_equals_torchs_with_the_same_state(positions, bias):
    arguments = {"out_features": positions, "bias": bias, "weight": WEIGHT, "label_smoothing": 0.1}
    ours = losses.LinearCrossEntropyLoss(4, 3, **arguments)
    torchs = nn.LinearCrossEntropyLoss(4, 3, **arguments)
    ours.load_state_dict(torchs.state_dict())
    features = torch.randn(5, 4)
    target = TARGET if not positions else TARGET.unsqueeze(1).expand(5, *positions)
    torch.testing.assert_close(ours(features, target), torchs(features, target))


@pytest.mark.parametrize("name", ["NLLLoss", "CrossEntropyLoss"])
def test_state_dicts_interchange_with_torchs(name):
    ours, torchs = getattr(losses, name)(WEIGHT.clone()), getattr(nn, name)(WEIGHT * 2)
    ours.load_state_dict(torchs.state_dict())
    assert torch.equal(ours.weight, WEIGHT * 2)
    assert getattr(losses, name)().state_dict() == getattr(nn, name)().state_dict()


def test_options_are_checked_when_a_module_is_made():
    with pytest.raises(ArgumentError, match="found 'avg'"):
        losses.NLLLoss(reduction="avg")
    with pytest.raises(ArgumentError, match=r"label_smoothing in \[0, 1\]"):
        losses.CrossEntropyLoss(label_smoothing=2.0)


def test_the_representation_shows_the_options():
    assert repr(losses.NLLLoss()) == "NLLLoss(ignore_index=-100, reduction='mean')"
    module = losses.CrossEntropyLoss(reduction="sum", label_smoothing=0.1)
    assert "reduction='sum', label_smoothing=0.1" in repr(module)
