"""What backward reads is saved for it: a change before it is an error, or changes nothing."""

import pytest
import torch
from loss_ways import REDUCTIONS, way
from reference import draw, draw_target

from softonce.losses import cross_entropy, linear_cross_entropy, sharded_linear_cross_entropy

NAMES = ("features", "head", "bias", "target", "class weight")


def of_head(tensors, reduction, **more):
    features, head, bias, target, weight = tensors
    options = {"linear_bias": bias, "weight": weight, "reduction": reduction}
    return linear_cross_entropy(features, head, target, **options, **more)


def of_logits(tensors, reduction, **more):
    features, _, _, target, weight = tensors
    return cross_entropy(features, target, weight, reduction=reduction, **more)


def of_shards(tensors, reduction):
    features, head, bias, target, weight = tensors
    options = {"linear_bias": bias, "weight": weight, "reduction": reduction}
    return sharded_linear_cross_entropy(
        features, head, target, class_start=0, class_stop=len(head), **options
    )


LOSSES = {"head": of_head, "logits": of_logits, "shards": of_shards}
CASES = [(how, loss) for how in ("short", "rows", "classes", "accelerator") for loss in LOSSES]


def problem(dtype, kind, *, weighted):
    shapes = ((7, 9), (9, 9), (9,))
    leaves = [draw(s, *shape).to(dtype).requires_grad_() for s, shape in enumerate(shapes)]
    target = draw_target(3, 7, num_classes=9)
    if kind == "probs":
        target = draw(4, 7, 9).softmax(1).to(dtype)
    return [*leaves, target, draw(5, 9).abs().to(dtype) if weighted else None]


@pytest.mark.parametrize(("how", "loss"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", ["index", "probs"])
@pytest.mark.parametrize("weighted", [False, True])
def test_backward_raises_or_is_right(how, loss, dtype, kind, weighted):
    if how == "accelerator" and (dtype, weighted) != (torch.float16, True):
        pytest.skip("interpreted, and alike for all")
    loss_of = LOSSES[loss]
    for reduction in REDUCTIONS:
        for more in ({}, {"return_lse": True}) if loss != "shards" else ({},):
            truth = gradients(
                loss_of, problem(dtype, kind, weighted=weighted), how, reduction, more
            )
            for changed in range(5):
                tensors = problem(dtype, kind, weighted=weighted)
                if tensors[changed] is None:
                    continue
                try:
                    found = gradients(loss_of, tensors, how, reduction, more, changed)
                except RuntimeError as error:
                    assert "modified by an inplace operation" in str(error)  # noqa: PT017 - or right
                    continue
                assert all(map(torch.equal, found, truth)), NAMES[changed]


def gradients(loss_of, tensors, how, reduction, more, changed=None):
    with way(how):
        loss = loss_of(tensors, reduction, **more)
        loss = loss if isinstance(loss, torch.Tensor) else loss[0].float() + loss[1].float().mean()
        if changed is not None:
            with torch.no_grad():
                tensors[changed].zero_()
        found = torch.autograd.grad(loss.float().sum(), tensors[:3], allow_unused=True)
    return [gradient for gradient in found if gradient is not None]
