"""A bound of the logits, in every way of computing, equals the textbook's on bounded logits."""

import pytest
import reference
import torch
from loss_ways import LOSSES, REDUCTIONS, WAYS, way
from reference import draw, draw_target

from softonce import losses
from softonce.errors import ArgumentError
from softonce.losses import cross_entropy, linear_cross_entropy, sharded_linear_cross_entropy

N, D, C, CAP = 7, 5, 11, 3.0
OPTIONS = {"plain": {}, "all": {"label_smoothing": 0.1, "weight": draw(9, C).abs()}}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2}


def problem(dtype, kind):
    leaves = [draw(seed, *shape).to(dtype) for seed, shape in ((1, (N, D)), (2, (C, D)))]
    target = draw_target(3, N, num_classes=C)
    target[2] = -100
    return leaves, target if kind == "index" else draw(4, N, C).softmax(1).to(dtype)


def textbook(features, head, target, **options):
    return reference.linear_cross_entropy(features, head, target, softcap=CAP, **options)


def sharded(features, head, target, **options):
    return sharded_linear_cross_entropy(
        features, head, target, class_start=0, class_stop=len(head), **options
    )


@pytest.mark.parametrize("loss", [*LOSSES, "shards"])
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kind", ["index", "probs"])
def test_it_is_the_loss_of_bounded_logits(loss, how, dtype, kind):
    if loss == "shards" and how in {"compiled", "accelerator"}:
        pytest.skip("processes exchange in eager mode, and by no kernel")
    leaves, target = problem(dtype, kind)
    for reduction in REDUCTIONS:
        for plain in OPTIONS.values():
            options = {k: v.to(dtype) if k == "weight" else v for k, v in plain.items()}
            options["reduction"] = reduction
            ours = [leaf.clone().requires_grad_() for leaf in leaves]
            true = [leaf.double().clone().requires_grad_() for leaf in leaves]
            with way(how) as run:
                loss_of = run(LOSSES.get(loss, sharded))
                found = loss_of(*ours, target, softcap=CAP, **options)
                gradients = torch.autograd.grad(3 * found.double().sum(), ours)
            truth = textbook(*true, target, **options)
            wanted = torch.autograd.grad(3 * truth.sum(), true)
            for mine, right in zip((found, *gradients), (truth, *wanted), strict=True):
                error = (mine.double() - right).norm()
                assert error <= TOLERANCE[dtype] * (right.norm() + 1e-2)


@pytest.mark.parametrize("how", ["rows", "compiled"])
def test_lse_and_classes_are_those_of_bounded_logits(how):
    leaves, target = problem(torch.float64, "index")
    with way(how) as run:
        options = {"softcap": CAP, "return_lse": True, "return_pred": True}
        ours = [leaf.clone().requires_grad_() for leaf in leaves]
        loss, lse, pred = run(linear_cross_entropy)(*ours, target, **options)
        found = torch.autograd.grad(loss + lse.square().sum(), ours)
    true = [leaf.clone().requires_grad_() for leaf in leaves]
    capped = CAP * (true[0] @ true[1].T / CAP).tanh()
    true_lse = capped.logsumexp(1).masked_fill(target == -100, 0)
    torch.testing.assert_close(lse, true_lse)
    assert torch.equal(pred, capped.argmax(1).masked_fill(target == -100, -1))
    truth = textbook(*true, target) + true_lse.square().sum()
    torch.testing.assert_close(found, torch.autograd.grad(truth, true))


def test_it_has_both_orders_of_gradient_and_every_transform():
    (features, head), target = problem(torch.float64, "index")
    leaves = features.requires_grad_(), head.requires_grad_()

    def loss_of(*tensors):
        return linear_cross_entropy(*tensors, target, softcap=CAP)

    assert torch.autograd.gradcheck(loss_of, leaves)
    assert torch.autograd.gradgradcheck(loss_of, leaves)
    detached = features.detach(), head.detach()
    for transform in (torch.func.grad, torch.func.jacrev):
        found = transform(loss_of)(*detached)
        truth = transform(lambda *tensors: textbook(*tensors, target))(*detached)
        torch.testing.assert_close(found, truth)


def test_modules_store_it_and_show_it():
    (features, head), target = problem(torch.float64, "index")
    module = losses.CrossEntropyLoss(softcap=CAP)
    logits = features @ head.T
    torch.testing.assert_close(module(logits, target), textbook(features, head, target))
    assert "softcap=3.0" in repr(module)
    linear = losses.LinearCrossEntropyLoss(D, C, softcap=CAP).double()
    found = linear(features, target)
    torch.testing.assert_close(found, textbook(features, linear.linear.weight, target))


@pytest.mark.parametrize("softcap", [0.0, -1.0, torch.inf, torch.nan])
def test_no_bound_that_bounds_nothing(softcap):
    with pytest.raises(ArgumentError, match="expected a softcap above 0, found"):
        cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1]), softcap=softcap)
