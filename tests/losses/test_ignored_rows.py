"""An ignored row is never multiplied: whatever it holds, nothing of it is in a gradient."""

import pytest
import torch
from loss_ways import DTYPES, REDUCTIONS, WAYS, way
from reference import draw, draw_target

from softonce.losses import cross_entropy, linear_cross_entropy

N, D, C = 9, 5, 7
WILD = (torch.inf, -torch.inf, torch.nan)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    "options", [{}, {"label_smoothing": 0.1, "weight": torch.ones(C)}], ids=["plain", "all options"]
)
def test_its_features_may_hold_anything(how, dtype, reduction, options):
    options = {k: v.to(dtype) if isinstance(v, torch.Tensor) else v for k, v in options.items()}
    leaves = [draw(s, *shape).to(dtype) for s, shape in enumerate(((N, D), (C, D), (C,)))]
    target = draw_target(3, N, num_classes=C)
    target[1::3] = -100
    with way(how) as run:
        loss_of = run(linear_cross_entropy)
        tame = gradients(loss_of, leaves, target, reduction=reduction, **options)
        for row, value in zip((1, 4, 7), WILD, strict=True):
            leaves[0][row] = value
        wild = gradients(loss_of, leaves, target, reduction=reduction, **options)
    for found, truth in zip(wild, tame, strict=True):
        assert torch.equal(found, truth)
        assert found.isfinite().all()
    assert (wild[1][1::3] == 0).all()


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_so_may_its_logits(how, dtype, reduction):
    target = draw_target(3, N, num_classes=C)
    target[1::3] = -100
    with way(how) as run:
        loss_of = run(cross_entropy)
        found = []
        for value in (1.0, *WILD):
            logits = draw(1, N, C).to(dtype)
            logits[1::3] = value
            leaf = logits.requires_grad_()
            loss = loss_of(leaf, target, reduction=reduction)
            found.append((loss, *torch.autograd.grad(loss.sum(), leaf)))
    for loss, gradient in found:
        assert torch.equal(loss, found[0][0])
        assert torch.equal(gradient, found[0][1])
        assert (gradient[1::3] == 0).all()


def gradients(loss_of, tensors, target, **options):
    """Return the loss, and the gradients of features, weight and bias."""
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    loss = loss_of(leaves[0], leaves[1], target, linear_bias=leaves[2], **options)
    return loss, *torch.autograd.grad((loss * 3).sum(), leaves)
