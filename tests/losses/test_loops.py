"""The loops over chunks: every way to cut the logits gives the textbook's loss and gradients."""

import pytest
import reference
import torch
import torch.nn.functional as F
from loss_ways import IN_BLOCKS
from reference import draw, draw_target
from torch.utils._python_dispatch import TorchDispatchMode

from softonce.losses import linear_cross_entropy
from softonce.losses.kernels import products

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 6e-2}


@pytest.fixture(params=["rows", "classes"])
def loop(request, tuned):
    """Cut small problems as if they were large."""
    in_rows = {"chunk_rows": 3, "chunk_bytes": 1, "block_bytes": 64}
    tuned(half_is_fast=True, **(in_rows if request.param == "rows" else IN_BLOCKS))
    return request.param


def problem(dtype, kind="index", num_classes=11, scale=1.0):
    """Return leaves (features, weight, bias) and a target of 10 rows."""
    shapes = ((10, 5), (num_classes, 5), (num_classes,))
    leaves = [
        draw(seed, *shape, scale=scale if seed == 1 else 1.0).to(dtype).requires_grad_()
        for seed, shape in enumerate(shapes)
    ]
    target = draw_target(3, 10, num_classes=num_classes)
    if kind == "probs":
        target = draw(4, 10, num_classes).softmax(1).to(dtype)
    elif kind == "masked":
        target[::3] = -100
    return leaves, target


def assert_near(found, truth, dtype):
    for ours, theirs in zip(found, truth, strict=True):
        floor = 1.0 if dtype.itemsize < 4 else 1e-2
        assert (ours.double() - theirs).norm() <= TOLERANCE[dtype] * (theirs.norm() + floor)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kind", ["index", "masked", "probs"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_every_loop_equals_the_textbook(loop, dtype, kind, weighted, label_smoothing, reduction):
    for scale in (1.0, 8.0):
        leaves, target = problem(dtype, kind, scale=scale)
        options = {
            "weight": torch.linspace(0.1, 2, 11, dtype=dtype) if weighted else None,
            "reduction": reduction,
            "label_smoothing": label_smoothing,
        }
        features, weight, bias = leaves
        loss = linear_cross_entropy(features, weight, target, linear_bias=bias, **options)
        doubles = [leaf.detach().double().requires_grad_() for leaf in leaves]
        truth = reference.linear_cross_entropy(
            doubles[0], doubles[1], target, linear_bias=doubles[2], **options
        )
        upstream = torch.linspace(0.5, 2, truth.numel()).double().reshape(truth.shape)
        found = torch.autograd.grad((loss.double() * upstream).sum(), leaves)
        wanted = torch.autograd.grad((truth * upstream).sum(), doubles)
        assert_near((loss, *found), (truth, *wanted), dtype)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_the_lse_and_its_gradient_are_those_of_the_logits(loop, reduction):
    leaves, target = problem(torch.float64, "masked")
    features, weight, bias = leaves
    options = {"linear_bias": bias, "reduction": reduction, "return_lse": True}
    loss, lse = linear_cross_entropy(features, weight, target, **options)
    found = torch.autograd.grad(loss.sum() + (lse**2).sum(), leaves)
    logits = F.linear(features, weight, bias)
    truth = logits.logsumexp(1).masked_fill(target == -100, 0)
    plain = reference.cross_entropy(logits, target, reduction=reduction)
    torch.testing.assert_close(lse, truth)
    wanted = torch.autograd.grad(plain.sum() + (truth**2).sum(), leaves)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["index", "masked", "probs"])
@pytest.mark.parametrize("return_lse", [False, True])
def test_the_predicted_classes_are_those_of_the_logits(loop, dtype, kind, return_lse):
    (features, weight, bias), target = problem(dtype, kind, num_classes=700)
    features = features.detach().index_copy(0, torch.tensor([1]), torch.zeros_like(features[:1]))
    bias.data[:] = bias.data.round()  # of equal logits, as in row 1, the first class is taken
    options = {"linear_bias": bias, "return_lse": return_lse}
    loss, *lse, pred = linear_cross_entropy(features, weight, target, **options, return_pred=True)
    truth = F.linear(features, weight, bias).argmax(1)
    if kind == "masked":
        truth = truth.masked_fill(target == -100, -1)
    assert torch.equal(pred, truth)
    assert len(lse) == return_lse
    plain = linear_cross_entropy(features, weight, target, linear_bias=bias)
    found = torch.autograd.grad(loss, weight)
    torch.testing.assert_close(found, torch.autograd.grad(plain, weight))


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_the_gradient_may_be_asked_for_again(loop, reduction):
    (features, weight, _), target = problem(torch.float64)
    loss = linear_cross_entropy(features, weight, target, reduction=reduction).sum() * 3
    leaves = (features, weight)
    first = [g.clone() for g in torch.autograd.grad(loss, leaves, retain_graph=True)]
    second = torch.autograd.grad(loss, leaves, retain_graph=True)
    torch.testing.assert_close(list(second), first)
    loss.backward()
    torch.testing.assert_close(features.grad, first[0])


def test_the_gradient_has_a_gradient(loop):
    (features, weight, bias), target = problem(torch.float64, "masked")

    def loss_of(*leaves):
        return linear_cross_entropy(leaves[0], leaves[1], target, linear_bias=leaves[2])

    assert torch.autograd.gradgradcheck(loss_of, (features, weight, bias))


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_frozen_side_gets_no_gradient_and_changes_none(loop, frozen):
    leaves, target = problem(torch.float64)
    truth = torch.autograd.grad(linear_cross_entropy(leaves[0], leaves[1], target), leaves[:2])
    leaves[frozen].requires_grad_(requires_grad=False)
    linear_cross_entropy(leaves[0], leaves[1], target).backward()
    assert leaves[frozen].grad is None
    torch.testing.assert_close(leaves[1 - frozen].grad, truth[1 - frozen])


def test_an_impossible_class_is_left_out(loop):
    (features, weight, _), target = problem(torch.float64)
    target = target.clamp(max=8)
    bias = torch.zeros(11).double()
    bias[9:] = -torch.inf
    loss = linear_cross_entropy(features, weight, target, linear_bias=bias)
    short = linear_cross_entropy(features, weight[:9], target)
    torch.testing.assert_close(loss, short)
    found = torch.autograd.grad(loss, weight)[0]
    torch.testing.assert_close(found, torch.autograd.grad(short, weight)[0])


def test_autocast_sums_the_head_in_single_precision(loop):
    (features, weight, _), target = problem(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(features, weight, target)
    rounded = [leaf.detach().bfloat16().double().requires_grad_() for leaf in (features, weight)]
    truth = reference.linear_cross_entropy(*rounded, target)
    assert loss.dtype == torch.float32
    found = torch.autograd.grad(loss, (features, weight))
    assert {gradient.dtype for gradient in found} == {torch.float32}
    assert_near((loss, *found), (truth, *torch.autograd.grad(truth, rounded)), torch.bfloat16)


@pytest.mark.parametrize("small", [0, 2**20])
def test_a_processor_without_half_precision_multiplies_in_single(tuned, small):
    tuned(small_head=small, half_is_fast=False)
    (features, weight, _), target = problem(torch.float32)
    exact = linear_cross_entropy(features, weight, target)
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(features, weight, target)
    assert torch.equal(loss, exact)
    found = torch.autograd.grad(loss, (features, weight))
    for ours, theirs in zip(found, torch.autograd.grad(exact, (features, weight)), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("num_classes", [3, 7, 8])
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_wide_product_is_that_of_its_columns(tuned, num_classes, has_bias):
    tuned(product_columns=3, onednn=False)
    left, right, bias = draw(0, 4, 5), draw(1, num_classes, 5), draw(2, num_classes)
    left, right, bias = left.float(), right.float(), bias.float() if has_bias else None
    place = torch.full((4, num_classes), torch.nan)
    found = products.product(left, right, bias, place)
    torch.testing.assert_close(found, F.linear(left, right, bias))
    assert found.data_ptr() == place.data_ptr()


def test_ignored_rows_leave_a_small_head_to_the_short_way():
    (features, weight, _), target = problem(torch.float64, "masked")
    kept = target >= 0
    for options in ({}, {"reduction": "sum"}, {"weight": draw(7, 11).abs()}):
        found = linear_cross_entropy(features, weight, target, **options)
        short = linear_cross_entropy(features[kept], weight, target[kept], **options)
        torch.testing.assert_close(found, short, rtol=1e-14, atol=0)


def test_autocast_rounds_nothing_but_the_factors_of_the_head(loop):
    leaves, target = problem(torch.bfloat16)
    features, weight, bias = (leaf.detach() for leaf in leaves)
    options = {"label_smoothing": 0.3, "reduction": "none"}
    exact = linear_cross_entropy(features, weight, target, linear_bias=bias, **options)
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(
            features.float(), weight.float(), target, linear_bias=bias.float(), **options
        )
    torch.testing.assert_close(loss, exact, rtol=1e-6, atol=1e-6)


def test_a_loss_scale_keeps_small_gradients_of_half_precision(loop):
    (features, weight, _), target = problem(torch.float16)
    rows = features.repeat(3000, 1)
    loss = linear_cross_entropy(rows, weight, target.repeat(3000)) * 65536
    truth = reference.linear_cross_entropy(features.double(), weight.double(), target) * 65536
    of_rows, of_weight = torch.autograd.grad(loss, (rows, weight))
    true_rows, true_weight = torch.autograd.grad(truth, (features, weight))
    for ours, theirs in ((of_rows[:10] * 3000, true_rows), (of_weight, true_weight)):
        assert (ours.double() - theirs).norm() < 1e-2 * theirs.double().norm()


class _Largest(TorchDispatchMode):
    """Remember the largest tensor that an operator makes."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple | list) else (result,):
            if isinstance(made, torch.Tensor):
                self.numel = max(self.numel, made.numel())
        return result


def test_no_tensor_holds_all_logits(loop):
    (features, weight, bias), target = problem(torch.float32, num_classes=13)
    with _Largest() as largest:
        linear_cross_entropy(features, weight, target, linear_bias=bias).backward()
    assert largest.numel <= 13 * 5  # the head's own gradient
    with _Largest() as largest:
        reference.linear_cross_entropy(features, weight, target)
    assert largest.numel == 13 * 10
