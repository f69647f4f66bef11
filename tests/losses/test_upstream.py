"""The gradient from above meets the sums in their own precision, whatever precision follows."""

import pytest
import torch
from loss_ways import DTYPES, LOSSES, REDUCTIONS, WAYS, way
from reference import draw, draw_target

from softonce.losses import cross_entropy, linear_cross_entropy

N, D, C = 40, 16, 30
FACTORS = (2.0**16, 1 / 3, 1 / 7, 0.3, 0.0, -1.0, torch.linspace(-1.3, 2, N))


def factors(reduction, how):
    """Return what may be upstream: one number, or one for each row; half can hold no 2^16 rows."""
    rows = reduction == "none"
    some = [f for f in FACTORS if rows or not isinstance(f, torch.Tensor)]
    if how == "accelerator":  # interpreted
        some = [*some[:2], some[-1]]
    return some if reduction == "mean" else some[1:]


ROUNDING = {2: 2.0**-8, 4: 2.0**-20, 8: 2.0**-45}


def check(found, truth, dtype):
    """Hold the gradient to the truth."""
    assert found.dtype == dtype
    assert (found.double() - truth).norm() <= ROUNDING[dtype.itemsize] * truth.norm()


def check_scale(found, base, factor, dtype):
    """Hold the scale to far less than the dtype would round the factor by."""
    found, base = found.double(), base.double()
    scale = (found * base).sum() / (base * base).sum()
    assert abs(scale - factor) <= ROUNDING[dtype.itemsize] / 8 * abs(factor)


def check_rounding(found, truth, dtype):
    """Hold each number of half precision to one rounding."""
    if dtype.itemsize == 2:
        unit = truth.abs().clamp(min=torch.finfo(dtype).tiny) * torch.finfo(dtype).eps
        assert ((found.double() - truth).abs() <= 0.502 * unit).all()


def head_and_batch(dtype):
    leaves = [draw(seed, *shape).to(dtype) for seed, shape in ((1, (N, D)), (2, (C, D)))]
    target = draw_target(3, N, num_classes=C)
    target[::4] = -100
    return leaves, target


def gradients(loss_of, leaves, target, factor, **options):
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    return torch.autograd.grad((loss_of(*leaves, target, **options) * factor).sum(), leaves)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_factor_reaches_every_gradient_unrounded(loss, how, dtype, reduction):
    leaves, target = head_and_batch(dtype)
    options = {"reduction": reduction}
    if loss == "logits":  # which are leaves themselves
        leaves = [leaves[0] @ leaves[1].T]
        options["dtype"] = torch.promote_types(dtype, torch.float32)
    plain = cross_entropy if loss == "logits" else linear_cross_entropy
    with way(how) as run:
        loss_of = run(plain)
        base = gradients(loss_of, leaves, target, 1.0, **options)
        for factor in factors(reduction, how):
            found = gradients(loss_of, leaves, target, factor, **options)
            doubles = [leaf.double() for leaf in leaves]
            truth = gradients(plain, doubles, target, factor, reduction=reduction)
            for ours, true, once in zip(found, truth, base, strict=True):
                if how == "accelerator" and dtype == torch.bfloat16:
                    continue  # the interpreter cuts off what a GPU rounds
                check(ours, true, dtype)
                if loss == "logits":
                    check_rounding(ours, true, dtype)
                elif not isinstance(factor, torch.Tensor):
                    check_scale(ours, once, factor, dtype)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_mean_of_nothing_is_nan_and_its_gradient_zero(loss, how, dtype):
    leaves = [draw(1, N, D).to(dtype).requires_grad_(), draw(2, C, D).to(dtype).requires_grad_()]
    with way(how) as run:
        loss_of = run(LOSSES[loss])
        for weight in (None, torch.ones(C, dtype=dtype)):
            found = loss_of(*leaves, torch.full((N,), -100), weight=weight)
            assert found.isnan()
            for gradient in torch.autograd.grad(found, leaves):
                assert (gradient == 0).all()
