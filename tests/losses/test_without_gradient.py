"""Nothing is computed for a gradient that nobody can ask for."""

import itertools

import pytest
import torch
from loss_ways import DTYPES, LOSSES, REDUCTIONS, way
from reference import draw, draw_target
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from softonce.losses import linear_cross_entropy, sharded_linear_cross_entropy
from softonce.losses.row_maths import HALF_DTYPES
from softonce.losses.tuning import tuned

N, D, C = 20, 40, 500


class NewMemory(TorchDispatchMode):
    """Remember the most numbers that a tensor of its own memory holds, made by an operator."""

    def __init__(self, *given):
        super().__init__()
        self.given = {tensor.untyped_storage().data_ptr() for tensor in given}
        self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple | list) else (result,):
            if isinstance(made, torch.Tensor):
                storage = made.untyped_storage()
                if storage.data_ptr() not in self.given:
                    self.largest = max(self.largest, storage.nbytes() // made.itemsize)
        return result


def problem(dtype, *, frozen):
    features = draw(1, N, D).to(dtype)
    weight = nn.Parameter(draw(2, C, D).to(dtype), requires_grad=not frozen)
    return features if frozen else features.requires_grad_(), weight


def losses(features, weight, reduction):
    target = draw_target(3, N, num_classes=C)
    probs = draw(4, N, C).softmax(1).to(features.dtype)
    masked = target.masked_fill(target < 50, -100)
    for goal, more in itertools.product((target, probs, masked), ({}, {"return_lse": True})):
        yield linear_cross_entropy(features, weight, goal, reduction=reduction, **more)
    for goal in (target, masked):
        yield sharded_linear_cross_entropy(
            features, weight, goal, class_start=0, class_stop=C, reduction=reduction
        )


@pytest.mark.parametrize("how", ["short", "rows"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, "frozen"], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_one_product_is_made_and_no_gradient(how, mode, dtype, reduction):
    features, weight = problem(dtype, frozen=mode == "frozen")
    guard = torch.enable_grad if mode == "frozen" else mode
    flops = FlopCounterMode(display=False)
    with guard(), way(how), NewMemory(features, weight) as memory, flops:
        found = list(losses(features, weight, reduction))
    assert not any(loss[0].requires_grad for loss in found if isinstance(loss, tuple))
    assert not any(loss.requires_grad for loss in found if not isinstance(loss, tuple))
    is_widened = how == "short" and dtype in HALF_DTYPES  # a small head, for one product
    assert is_widened or memory.largest < weight.numel()
    products = 2 if dtype in HALF_DTYPES else 1  # of half precision one more, for what it rounded
    assert flops.get_total_flops() <= products * 2 * N * D * C * len(found)


@pytest.mark.parametrize("dtype", HALF_DTYPES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_head_of_half_is_never_widened_whole(dtype, reduction):
    features, weight = problem(dtype, frozen=False)
    target = draw_target(3, N, num_classes=C)
    with (
        torch.no_grad(),
        way("rows", is_fast=False),
        tuned(class_blocks_from_of_half=C, class_block_width=(30, 30)),
        NewMemory(features, weight) as memory,
    ):
        linear_cross_entropy(features, weight, target, reduction=reduction)
    assert memory.largest < weight.numel()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("how", ["short", "rows", "classes", "accelerator"])
def test_the_loss_is_the_one_that_has_a_gradient(how, dtype, reduction):
    features, weight = draw(1, 7, 5).to(dtype), nn.Parameter(draw(2, 11, 5).to(dtype))
    features[3:] *= torch.tensor([1, 4, 16, 64])[:, None]  # sure rows, right and wrong ones
    target = (features @ weight.T).detach().argmax(1)
    target[0], target[3] = -100, 10
    for mode in (torch.no_grad, torch.inference_mode):
        with way(how):
            for loss_of in LOSSES.values():
                truth = loss_of(features, weight, target, reduction=reduction)
                with mode():
                    found = loss_of(features, weight, target, reduction=reduction)
                assert truth.requires_grad
                assert not found.requires_grad
                torch.testing.assert_close(found, truth)
