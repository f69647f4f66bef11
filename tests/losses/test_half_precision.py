"""Half precision against float64: logits, sums and row losses are as exact as single precision."""

import pytest
import reference
import torch
from loss_ways import REDUCTIONS, WAYS, way
from reference import draw, draw_target

from softonce.errors import ArgumentError
from softonce.losses import CrossEntropyLoss, cross_entropy, linear_cross_entropy
from softonce.losses.kernels import products
from softonce.losses.kernels.memory import Scratch

N, D, C = 96, 64, 200
HALF = (torch.bfloat16, torch.float16)
# the largest error of a row, by products of half and of single precision; that of dX and dW in norm
LIMITS = {torch.bfloat16: ((2e-4, 2e-5), 3e-3), torch.float16: ((3e-5, 2e-5), 4e-4)}


def head_and_batch(dtype, scale=6.0):
    """Return features and a head whose logits are normal with the deviation `scale`."""
    features, weight = draw(1, N, D).to(dtype), draw(2, C, D, scale=scale / D**0.5).to(dtype)
    target = draw_target(3, N, num_classes=C)
    target[5] = -100
    return features, weight, target


@pytest.mark.parametrize("how", [name for name in WAYS if name != "accelerator"])
@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("is_fast", [False, True])
def test_a_heads_logits_are_those_of_single_precision(how, dtype, reduction, is_fast):
    features, weight, target = head_and_batch(dtype)
    ours = [leaf.clone().requires_grad_() for leaf in (features, weight)]
    true = [leaf.double().requires_grad_() for leaf in (features, weight)]
    with way(how, is_fast=is_fast) as run:
        loss = run(linear_cross_entropy)(*ours, target, reduction=reduction)
        found = torch.autograd.grad(loss.sum(), ours)
    truth = reference.linear_cross_entropy(*true, target, reduction=reduction)
    of_rows, of_gradient = LIMITS[dtype]
    assert loss.dtype == torch.float32
    factor = N if reduction == "sum" else 1
    assert (loss.double() - truth).abs().max() < of_rows[not is_fast] * factor
    for mine, wanted in zip(found, torch.autograd.grad(truth.sum(), true), strict=True):
        assert (mine.double() - wanted).norm() < of_gradient * wanted.norm()


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("num_columns", [3, 1000])
def test_a_product_of_half_has_the_digits_of_single(dtype, num_columns, tuned):
    tuned(product_columns=num_columns, rounded_bytes=0)
    left, right, bias = draw(1, 9, 40).to(dtype), draw(2, 17, 40).to(dtype), draw(3, 17).to(dtype)
    truth = left.double() @ right.double().t() + bias.double()
    place = torch.empty(9, 17)
    found = products.wide_product(left, right, bias, place, Scratch())
    assert (found - truth).abs().max() < 2 * torch.finfo(dtype).eps ** 2 * truth.abs().max()


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_loss_of_half_logits_is_single_on_request(how, dtype, reduction):
    logits, target = draw(1, 24, 50, scale=6.0).to(dtype), draw_target(2, 24, num_classes=50)
    leaf = logits.clone().requires_grad_()
    with way(how) as run:
        loss = run(cross_entropy)(leaf, target, reduction=reduction, dtype=torch.float32)
        (found,) = torch.autograd.grad(loss.sum(), leaf)
    double = logits.double().requires_grad_()
    truth = reference.cross_entropy(double, target, reduction=reduction)
    assert loss.dtype == torch.float32
    assert found.dtype == dtype
    assert ((loss.double() - truth).abs() < 1e-5 * (1 + truth.abs())).all()
    (wanted,) = torch.autograd.grad(truth.sum(), double)
    assert (found.double() - wanted).norm() < torch.finfo(dtype).eps * wanted.norm()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_any_dtype_may_be_asked_for_and_the_module_stores_it(dtype):
    logits, target = draw(1, 4, 5, dtype=torch.float32), draw_target(2, 4, num_classes=5)
    loss = cross_entropy(logits, target, dtype=dtype, return_lse=True)
    assert {value.dtype for value in loss} == {dtype}
    module = CrossEntropyLoss(dtype=dtype)
    torch.testing.assert_close(module(logits, target), loss[0])
    assert f"dtype={dtype}" in repr(module)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float8_e4m3fn, torch.complex64], ids=str)
def test_a_dtype_that_no_loss_has_is_refused(dtype):
    with pytest.raises(ArgumentError, match=f"dtype to be one of.*float32.*found {dtype}"):
        cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1]), dtype=dtype)
    with pytest.raises(ArgumentError, match=f"dtype to be one of.*float32.*found {dtype}"):
        CrossEntropyLoss(dtype=dtype)


def test_a_trial_says_which_precision_is_faster():
    products.is_fast.cache_clear()
    assert isinstance(products.is_fast(torch.bfloat16), bool)
    assert products.product_dtype(torch.float64, torch.device("cpu")) == torch.float64
