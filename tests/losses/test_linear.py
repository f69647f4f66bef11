"""linear_cross_entropy is cross_entropy of the head's logits, in every variant."""

import pytest
import reference
import torch
import torch.nn.functional as F
from loss_ways import TORCH_HAS_NO_HEAD_LOSS

from softonce.errors import ArgumentError
from softonce.losses import cross_entropy, linear_cross_entropy
from softonce.losses.head.predictions import Predictions, find_largest


def head_and_batch(num_rows=5, num_features=7, num_classes=4, positions=()):
    """Return features, weight, bias and index target in float64; the second row is ignored."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((num_rows, num_features), (num_classes, *positions, num_features))
    features, weight = (torch.randn(s, generator=generator).double() for s in shapes)
    bias = torch.randn(num_classes, *positions, generator=generator).double()
    target = torch.randint(num_classes, (num_rows, *positions), generator=generator)
    target[1] = -100
    return features, weight, bias, target


def probs_like(target, num_classes=4):
    return F.one_hot(target.clamp(min=0), num_classes).double() * 0.7 + 0.3 / num_classes


@pytest.mark.parametrize("kind", ["index", "probs"])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_it_equals_the_textbook_in_value_and_gradients(
    kind, biased, weighted, label_smoothing, reduction
):
    features, weight, bias, target = head_and_batch()
    leaves = [features.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()][
        : 2 + biased
    ]
    options = {
        "linear_bias": bias if biased else None,
        "weight": torch.tensor([1.0, 0.5, 2.0, 0.1]).double() if weighted else None,
        "label_smoothing": label_smoothing,
        "reduction": reduction,
    }
    target = target if kind == "index" else probs_like(target)
    loss = linear_cross_entropy(features, weight, target, **options)
    truth = reference.linear_cross_entropy(features, weight, target, **options)
    torch.testing.assert_close(loss, truth)
    torch.testing.assert_close(
        torch.autograd.grad(loss.sum(), leaves), torch.autograd.grad(truth.sum(), leaves)
    )


class Distributed(torch.Tensor):
    """What a DTensor is known by."""

    placements = device_mesh = ()
    __torch_function__ = torch._C._disabled_torch_function_impl


def test_a_sharded_head_refuses_what_it_does_not_know():
    features, weight, _, target = head_and_batch()
    weight = weight.as_subclass(Distributed)
    with pytest.raises(ArgumentError, match="no return_lse with classes that are sharded"):
        linear_cross_entropy(features, weight, target, return_lse=True)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_each_position_has_a_predicted_class(reduction):
    features, weight, bias, target = head_and_batch(positions=(2, 3))
    pred = torch.einsum("nd,cxyd->ncxy", features, weight).add(bias).argmax(1)
    *_, found = linear_cross_entropy(
        features, weight, target, linear_bias=bias, reduction=reduction, return_pred=True
    )
    assert torch.equal(found, pred.masked_fill(target == -100, -1))


@pytest.mark.parametrize("rows_in_chunk", [256, 1000])
def test_large_products_make_the_gradients_of_the_textbook(rows_in_chunk, tuned):
    tuned(chunk_rows=rows_in_chunk, chunk_bytes=1)
    shapes = ((600, 128), (2000, 128))
    leaves = [reference.draw(s, *shape).float().requires_grad_() for s, shape in enumerate(shapes)]
    target = reference.draw_target(3, 600, num_classes=2000)
    loss = 3 * linear_cross_entropy(*leaves, target)
    truth = 3 * reference.linear_cross_entropy(*leaves, target)
    for found, wanted in zip(
        torch.autograd.grad(loss, leaves), torch.autograd.grad(truth, leaves), strict=True
    ):
        assert (found - wanted).norm() < 2e-6 * wanted.norm()


@pytest.mark.parametrize("num_classes", [1, 3, 512, 767, 1000])
def test_the_largest_logit_is_found_where_argmax_finds_it(num_classes):
    logits = reference.draw(0, 40, num_classes).mul(2).round()  # with many equal ones
    assert torch.equal(find_largest(logits), logits.argmax(1))


@pytest.mark.parametrize("place", [(0, 3), (1, 300), (2, 511), (3, 690), (4, 699)])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_it_is_found_beside_what_is_no_number(place, value):
    logits = reference.draw(0, 6, 700)
    logits[place] = value
    logits[5] = value
    assert torch.equal(find_largest(logits), logits.argmax(1))
    seen = Predictions(logits)
    for start in (0, 300, 600):
        seen.look(logits[:, start : start + 300], slice(None), start)
    assert torch.equal(seen.classes, logits.argmax(1))


def test_positions_share_the_features():
    features, weight, bias, target = head_and_batch(positions=(2, 3))
    logits = torch.einsum("nd,cxyd->ncxy", features, weight) + bias
    for wanted in (target, probs_like(target).movedim(-1, 1)):
        loss = linear_cross_entropy(features, weight, wanted, linear_bias=bias, reduction="none")
        torch.testing.assert_close(loss, cross_entropy(logits, wanted, reduction="none"))


def test_a_row_with_one_valid_position_keeps_its_features():
    features, weight, _, target = head_and_batch(positions=(2,))
    target[1, 0] = 3
    loss = linear_cross_entropy(features, weight, target)
    logits = torch.einsum("nd,cpd->ncp", features, weight)
    torch.testing.assert_close(loss, F.cross_entropy(logits, target))


def test_a_single_row_needs_no_batch():
    features, weight, bias, target = head_and_batch()
    loss = linear_cross_entropy(features[0], weight, target[0], linear_bias=bias)
    torch.testing.assert_close(loss, cross_entropy(features[0] @ weight.T + bias, target[0]))


def test_an_empty_batch_sums_to_zero():
    features, weight = torch.zeros(0, 7), torch.zeros(4, 7)
    target = torch.zeros(0, dtype=torch.int64)
    assert linear_cross_entropy(features, weight, target, reduction="sum") == 0


@TORCH_HAS_NO_HEAD_LOSS
def test_chunking_options_of_torch_are_taken_and_change_nothing():
    features, weight, _, target = head_and_batch()
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=2)
    chunked = linear_cross_entropy(features, weight, target, options=options)
    assert torch.equal(chunked, linear_cross_entropy(features, weight, target))


@TORCH_HAS_NO_HEAD_LOSS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_no_worse_than_torchs(dtype):
    features, weight, _, target = head_and_batch(num_rows=31, num_features=65, num_classes=33)
    features, weight = features.to(dtype), (weight / 8).to(dtype)
    truth = reference.linear_cross_entropy(features, weight, target)
    ours = linear_cross_entropy(features, weight, target)
    torchs = F.linear_cross_entropy(features, weight, target)
    assert ours.dtype == torch.float32
    assert abs(ours - truth) <= abs(torchs - truth) + torch.finfo(torch.float32).eps


@pytest.mark.parametrize("loss_of", ["head", "logits"])
def test_a_grad_scaler_gets_back_the_gradient_that_it_scaled(loss_of):
    features, weight, _, target = head_and_batch()
    features, weight = features.float(), weight.float().requires_grad_()
    optimizer = torch.optim.SGD([weight], lr=1.0)

    def loss():
        with torch.autocast("cpu", torch.float16):
            if loss_of == "head":
                return linear_cross_entropy(features, weight, target)
            return cross_entropy(F.linear(features, weight), target)

    (expected,) = torch.autograd.grad(loss(), weight)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(loss()).backward()
    torch.testing.assert_close(weight.grad, 1024 * expected, rtol=2e-3, atol=1e-2)
    scaler.unscale_(optimizer)
    torch.testing.assert_close(weight.grad, expected, rtol=2e-3, atol=1e-5)
    before = weight.detach().clone()
    scaler.step(optimizer)
    torch.testing.assert_close(weight.detach(), before - weight.grad)


def test_compiled_in_one_graph_is_the_same():
    torch._dynamo.reset()
    features, weight, bias, target = head_and_batch()
    compiled = torch.compile(linear_cross_entropy, backend="aot_eager", fullgraph=True)
    loss = compiled(features, weight, target, linear_bias=bias)
    torch.testing.assert_close(
        loss, linear_cross_entropy(features, weight, target, linear_bias=bias)
    )


def test_second_order_gradients_are_those_of_the_loss():
    features, weight, bias, target = head_and_batch(num_rows=3, num_features=2)
    leaves = tuple(leaf.requires_grad_() for leaf in (features, weight, bias))

    def loss_of(features, weight, bias):
        return linear_cross_entropy(features, weight, target, linear_bias=bias)

    assert torch.autograd.gradgradcheck(loss_of, leaves)
