"""A loss that is recorded is right for other values than those that it was recorded with."""

import pytest
import torch
from loss_ways import compiled
from reference import draw, draw_target
from torch.fx.experimental.proxy_tensor import make_fx

from softonce.losses import cross_entropy, linear_cross_entropy

HEAD = draw(5, 7, 4)
LOSSES = {
    "logits": lambda x, target: cross_entropy(x @ HEAD.T, target),
    "head": lambda x, target: linear_cross_entropy(x, HEAD, target),
    "smoothed": lambda x, target: linear_cross_entropy(x, HEAD, target, label_smoothing=0.1),
}
FEATURES, TARGET = draw(1, 9, 4), draw_target(2, 9, num_classes=7)
LATER = TARGET.flip(0).masked_fill(torch.arange(9) % 3 == 0, -100)


def traced(function):
    return torch.jit.trace(function, (FEATURES, TARGET), check_trace=False)


def fx(function, **options):
    return make_fx(function, **options)(FEATURES, TARGET)


RECORDERS = {
    "jit.trace": traced,
    "make_fx": fx,
    "make_fx before dispatch": lambda f: fx(f, pre_dispatch=True),
    "compile": compiled,
}


@pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning",
    "ignore:.*torch.jit:DeprecationWarning",
    "ignore:.*torch.jit:FutureWarning",  # which it is from torch 2.14 on
)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("recorder", RECORDERS)
def test_ignored_rows_may_come_later(recorder, loss):
    record = RECORDERS[recorder](LOSSES[loss])
    for target in (TARGET, LATER):
        found = record(FEATURES * 2, target)
        torch.testing.assert_close(found, LOSSES[loss](FEATURES * 2, target))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "transform", [torch.func.grad, torch.func.grad_and_value], ids=["grad", "grad_and_value"]
)
def test_a_compiled_transform_is_the_transform(transform, loss):
    gradient_of = transform(LOSSES[loss])
    found = compiled(gradient_of)(FEATURES, LATER)
    torch.testing.assert_close(found, gradient_of(FEATURES, LATER))
