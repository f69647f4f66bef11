"""Where torch's losses stand, ours may: its keywords, its positional order, its classes."""

import copy
import inspect

import pytest
import torch
import torch.nn.functional as F
from loss_ways import HEAD_LOSS
from reference import draw, draw_target
from torch import nn

from softonce import losses
from softonce.errors import ArgumentError

LOGITS, TARGET = draw(1, 5, 3), draw_target(2, 5, num_classes=3)
WEIGHT = torch.tensor([1.0, 2.0, 0.5]).double()
HEAD = draw(3, 3, 3)
CALLS = {
    "softmax": {"dim": 1},
    "log_softmax": {"dim": 1},
    "nll_loss": {"target": TARGET},
    "cross_entropy": {"target": TARGET},
    "linear_cross_entropy": {"linear_weight": HEAD, "target": TARGET},
}
NAMES = [HEAD_LOSS if name == "linear_cross_entropy" else name for name in CALLS]
MODULES = {
    "Softmax": (1,),
    "LogSoftmax": (1,),
    "NLLLoss": (),
    "CrossEntropyLoss": (),
    "LinearCrossEntropyLoss": (3, 3),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_first_argument_may_be_called_input(name):
    found = getattr(losses, name)(input=LOGITS, **CALLS[name])
    torch.testing.assert_close(found, getattr(F, name)(input=LOGITS, **CALLS[name]))
    torch.testing.assert_close(found, getattr(losses, name)(LOGITS, **CALLS[name]))


@pytest.mark.parametrize("name", NAMES)
def test_the_signature_says_what_is_taken(name):
    ours = inspect.signature(getattr(losses, name)).parameters
    theirs = [p for p in inspect.signature(getattr(F, name)).parameters if p != "_stacklevel"]
    assert next(iter(ours)) in {"logits", "log_probs", "features"}
    assert list(ours)[1 : len(theirs)] == theirs[1:]
    with pytest.raises(TypeError, match="multiple values for argument"):
        getattr(losses, name)(LOGITS, input=LOGITS, **CALLS[name])


def test_torchs_positional_order_is_taken():
    call = (LOGITS, TARGET, WEIGHT, None, 1, None, "sum", 0.1)
    torch.testing.assert_close(losses.cross_entropy(*call), F.cross_entropy(*call))
    torch.testing.assert_close(losses.nll_loss(*call[:-1]), F.nll_loss(*call[:-1]))
    ours, theirs = losses.CrossEntropyLoss(*call[2:]), nn.CrossEntropyLoss(*call[2:])
    torch.testing.assert_close(ours(LOGITS, TARGET), theirs(LOGITS, TARGET))
    ours, theirs = losses.NLLLoss(*call[2:-1]), nn.NLLLoss(*call[2:-1])
    torch.testing.assert_close(ours(LOGITS, TARGET), theirs(LOGITS, TARGET))


@pytest.mark.parametrize("loss_of", [losses.cross_entropy, losses.nll_loss])
@pytest.mark.parametrize(
    ("old", "wanted"),
    [
        ({"size_average": True}, "mean"),
        ({"size_average": False}, "sum"),
        ({"reduce": False}, "none"),
        ({"reduce": True}, "mean"),
        ({"size_average": False, "reduce": True}, "sum"),
        ({"size_average": True, "reduce": False}, "none"),
    ],
    ids=str,
)
def test_deprecated_names_are_refused_with_what_to_write_instead(loss_of, old, wanted):
    assert (
        nn.modules.loss._Reduction.legacy_get_string(
            old.get("size_average"), old.get("reduce"), emit_warning=False
        )
        == wanted
    )
    with pytest.raises(ArgumentError, match=f"write reduction='{wanted}' instead"):
        loss_of(LOGITS, TARGET, **old)
    module = losses.CrossEntropyLoss if loss_of is losses.cross_entropy else losses.NLLLoss
    with pytest.raises(ArgumentError, match=f"write reduction='{wanted}' instead"):
        module(**old)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_an_instance_of_torchs(name):
    module = getattr(losses, name)(*MODULES[name]).double()
    assert isinstance(module, getattr(nn, name, nn.Module))  # the head's loss is from 2.13 on
    more = {"target": TARGET} if "Loss" in name else {}
    found = module(LOGITS, **more)
    torch.testing.assert_close(copy.deepcopy(module)(LOGITS, **more), found)
    torch.testing.assert_close(module(input=LOGITS, **more), found)


def test_somebody_elses_trainer_takes_it():
    def train(criterion: nn.Module):
        assert isinstance(criterion, nn.CrossEntropyLoss)
        model = nn.Linear(3, 3).double()
        loss = criterion.to("cpu")(model(LOGITS), target=TARGET)
        loss.backward()
        return (
            criterion.weight,
            criterion.reduction,
            criterion.ignore_index,
            criterion.label_smoothing,
        )

    assert train(losses.CrossEntropyLoss()) == (None, "mean", -100, 0.0)
