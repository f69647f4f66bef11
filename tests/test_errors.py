"""The tree of errors is as drawn; the floor of a second softmax is what its losses reach."""

from __future__ import annotations

import inspect
import re

import pytest
import torch

from softonce import errors
from softonce.errors import SoftonceError, UnknownNameError
from softonce.floors import double_softmax_floor
from softonce.losses import cross_entropy, softmax


def test_the_drawn_tree_is_that_of_the_classes() -> None:
    drawn, path = {}, ["SoftonceError"]
    branch = re.compile(r"^( +(?:│   )*)[├└]── (\w+)", re.MULTILINE)
    for indent, name in branch.findall(errors.__doc__ or ""):
        depth = len(indent) // 4
        drawn[name] = path[depth - 1]
        path[depth:] = [name]
    classes = {
        name: kind.__bases__[0].__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, SoftonceError) and kind is not SoftonceError
    }
    assert drawn == classes


def test_an_unknown_name_without_a_near_one_lists_all() -> None:
    message = str(UnknownNameError.of("model", "zzz", iter(["resnet18", "resnet50"])))
    assert message == "expected a known model, found 'zzz'; known: resnet18, resnet50"


@pytest.mark.parametrize("num_classes", [1, 2, 3, 10, 1000])
def test_no_second_softmax_gets_below_its_floor(num_classes: int) -> None:
    floor, target = double_softmax_floor(num_classes), torch.tensor([0])
    sure = 1e4 * torch.nn.functional.one_hot(target, num_classes).double()
    twice = cross_entropy(softmax(sure, dim=1), target)  # noqa: SO101 - the mistake is the subject
    assert twice.item() == pytest.approx(floor, rel=1e-12)
    logits = 9 * torch.randn(500, num_classes, generator=torch.Generator().manual_seed(0)).double()
    others = cross_entropy(softmax(logits, dim=1), target.expand(500), reduction="none")  # noqa: SO101 - as above
    assert (others >= floor - 1e-12).all()


def test_a_floor_needs_a_class() -> None:
    with pytest.raises(ValueError, match="expected at least 1 class, found 0"):
        double_softmax_floor(0)
