"""The losses against the textbook: values, gradients, properties, and low precision."""

import itertools

import pytest
import reference
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import batch, draw, draw_target, gradient

from softonce.losses import cross_entropy, log_softmax, nll_loss, softmax

REDUCTIONS = ("mean", "sum", "none")
SHAPES = ((), (1,), (7,), (3, 5), (2, 3, 4))
problems = given(
    seed=st.integers(0, 2**31),
    num_rows=st.integers(1, 9),
    num_classes=st.integers(1, 33),
    scale=st.sampled_from([0.1, 1.0, 30.0, 1e4]),
)
few = settings(max_examples=25, deadline=None, database=None)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["index", "probs"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cross_entropy_equals_the_textbook(shape, kind, weighted, label_smoothing, reduction):
    logits, target = batch(shape, kind)
    weight = draw(3, 6).abs() if weighted else None
    options = {"weight": weight, "label_smoothing": label_smoothing, "reduction": reduction}
    truth = reference.cross_entropy(logits, target, **options)
    torch.testing.assert_close(cross_entropy(logits, target, **options), truth)
    torch.testing.assert_close(
        gradient(cross_entropy, logits, target, **options),
        gradient(reference.cross_entropy, logits, target, **options),
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_nll_loss_equals_the_textbook(shape, weighted, reduction):
    logits, target = batch(shape, "index")
    log_probs = log_softmax(logits, dim=min(len(shape), 1))
    options = {"weight": draw(3, 6).abs() if weighted else None, "reduction": reduction}
    truth = reference.nll_loss(log_probs, target, **options)
    torch.testing.assert_close(nll_loss(log_probs, target, **options), truth)
    torch.testing.assert_close(
        gradient(nll_loss, log_probs, target, **options),
        gradient(reference.nll_loss, log_probs, target, **options),
    )


def test_softmax_equals_torchs_with_dim_and_dtype():
    logits = draw(0, 3, 5, dtype=torch.float32)
    for dim, dtype in itertools.product((0, 1, -1), (None, torch.float64)):
        assert torch.equal(softmax(logits, dim, dtype=dtype), F.softmax(logits, dim, dtype=dtype))
        ours = log_softmax(logits, dim, dtype=dtype)
        assert torch.equal(ours, F.log_softmax(logits, dim, dtype=dtype))


@few
@problems
def test_cross_entropy_equals_nll_of_log_softmax(seed, num_rows, num_classes, scale):
    logits = draw(seed, num_rows, num_classes, scale=scale)
    target = draw_target(seed, num_rows, num_classes=num_classes)
    composed = nll_loss(log_softmax(logits, dim=1), target)
    torch.testing.assert_close(cross_entropy(logits, target), composed)


@few
@problems
def test_gradient_is_probs_minus_onehot_and_its_rows_sum_to_zero(
    seed, num_rows, num_classes, scale
):
    logits = draw(seed, num_rows, num_classes, scale=scale)
    target = draw_target(seed, num_rows, num_classes=num_classes)
    grad = gradient(cross_entropy, logits, target, reduction="sum")
    torch.testing.assert_close(grad, reference.row_gradient(logits, target))
    torch.testing.assert_close(grad.sum(1), torch.zeros(num_rows).double(), rtol=0, atol=1e-13)


@few
@problems
def test_a_constant_added_to_a_row_changes_nothing(seed, num_rows, num_classes, scale):
    logits = draw(seed, num_rows, num_classes, scale=scale).round()  # so that adding is exact
    offset = draw(seed + 1, num_rows, 1, scale=1e6).round()
    target = draw_target(seed, num_rows, num_classes=num_classes)
    shifted, plain = logits + offset, logits
    assert torch.equal(cross_entropy(shifted, target), cross_entropy(plain, target))
    assert torch.equal(
        gradient(cross_entropy, shifted, target), gradient(cross_entropy, plain, target)
    )


@few
@problems
def test_permuting_classes_permutes_the_gradient(seed, num_rows, num_classes, scale):
    logits = draw(seed, num_rows, num_classes, scale=scale)
    target = draw_target(seed, num_rows, num_classes=num_classes)
    order = torch.randperm(num_classes, generator=torch.Generator().manual_seed(seed))
    permuted = gradient(cross_entropy, logits[:, order], order.argsort()[target])
    torch.testing.assert_close(permuted, gradient(cross_entropy, logits, target)[:, order])


@few
@problems
def test_huge_logits_and_masked_classes_stay_finite(seed, num_rows, num_classes, scale):
    logits = draw(seed, num_rows, num_classes + 1, scale=1e4, dtype=torch.float32)
    logits[:, -1] = -torch.inf
    target = draw_target(seed, num_rows, num_classes=num_classes)
    onehot = F.one_hot(target, num_classes + 1).float()
    for wanted in (target, onehot):
        assert cross_entropy(logits, wanted).isfinite()
        assert gradient(cross_entropy, logits, wanted).isfinite().all()


@few
@problems
def test_onehot_probabilities_equal_class_indices(seed, num_rows, num_classes, scale):
    logits = draw(seed, num_rows, num_classes, scale=scale)
    target = draw_target(seed, num_rows, num_classes=num_classes)
    onehot = F.one_hot(target, num_classes).double()
    for smoothing in (0.0, 0.2):
        index = gradient(cross_entropy, logits, target, label_smoothing=smoothing)
        probs = gradient(cross_entropy, logits, onehot, label_smoothing=smoothing)
        torch.testing.assert_close(probs, index)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("num_classes", [2, 37, 1001])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_low_precision_is_no_worse_than_torchs(dtype, num_classes, smoothing):
    logits = draw(5, 67, num_classes, scale=4).to(dtype)
    target = draw_target(6, 67, num_classes=num_classes)
    epsilon = torch.finfo(dtype).eps

    def errors(loss_of):
        loss = loss_of(logits, target, label_smoothing=smoothing)
        grad = gradient(loss_of, logits, target, label_smoothing=smoothing)
        truth = reference.cross_entropy(logits, target, label_smoothing=smoothing)
        true_grad = gradient(
            reference.cross_entropy, logits.double(), target, label_smoothing=smoothing
        )
        return abs(loss / truth - 1), (grad - true_grad).norm() / true_grad.norm()

    for ours, torchs in zip(errors(cross_entropy), errors(F.cross_entropy), strict=True):
        assert ours <= torchs + epsilon


def test_small_gradients_of_a_flat_row_keep_their_relative_precision():
    logits = draw(8, 3, 5003, scale=0.1, dtype=torch.float32)
    for target in (logits.argmax(1), logits.argmin(1)):
        truth = reference.row_gradient(logits, target)
        for wanted in (target, F.one_hot(target, 5003).float()):
            grad = gradient(cross_entropy, logits, wanted, reduction="sum")
            torch.testing.assert_close(grad.double(), truth, rtol=3e-6, atol=0)


def test_a_large_common_offset_does_not_lose_the_loss():
    logits = torch.tensor([[2.0**20 + 0.5, 2.0**20]])
    loss = cross_entropy(logits, torch.tensor([0]))
    torch.testing.assert_close(loss.double(), reference.cross_entropy(logits, torch.tensor([0])))


@pytest.mark.parametrize("kind", ["index", "probs"])
def test_an_empty_batch_behaves_as_in_torch(kind):
    logits = torch.zeros(0, 3)
    target = torch.zeros(0, 3) if kind == "probs" else torch.zeros(0, dtype=torch.int64)
    for reduction in REDUCTIONS:
        ours = cross_entropy(logits, target, reduction=reduction)
        torchs = F.cross_entropy(logits, target, reduction=reduction)
        torch.testing.assert_close(ours, torchs, equal_nan=True)


@pytest.mark.parametrize("loss_of", [cross_entropy, nll_loss])
def test_all_ignored_has_nan_mean_zero_sum_and_zero_gradient(loss_of):
    logits, target = torch.randn(4, 3), torch.full((4,), 7)
    assert loss_of(logits, target, ignore_index=7).isnan()
    assert loss_of(logits, target, ignore_index=7, reduction="sum") == 0
    assert torch.equal(gradient(loss_of, logits, target, ignore_index=7), torch.zeros(4, 3))


def test_an_ignore_index_may_be_a_class():
    logits, target = draw(1, 5, 3), torch.tensor([0, 1, 2, 1, 0])
    truth = reference.cross_entropy(logits, target, ignore_index=1)
    torch.testing.assert_close(cross_entropy(logits, target, ignore_index=1), truth)


def test_nll_of_ignored_rows_that_hold_nan_is_exactly_zero():
    log_probs = torch.full((2, 3), torch.nan)
    log_probs[0] = -1.0
    target = torch.tensor([2, -100])
    assert nll_loss(log_probs, target) == 1.0
    expected = torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    assert torch.equal(gradient(nll_loss, log_probs, target), expected)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_bad_logit_in_a_valid_row_is_never_hidden(value):
    for position in (0, 1):
        logits = torch.zeros(1, 3)
        logits[0, position] = value
        assert cross_entropy(logits, torch.tensor([1])).isnan()


def test_an_impossible_target_has_infinite_loss_and_finite_gradient():
    logits, target = torch.tensor([[0.0, 0.0, -torch.inf]]), torch.tensor([2])
    assert cross_entropy(logits, target) == torch.inf
    grad = gradient(cross_entropy, logits, target)
    torch.testing.assert_close(grad, torch.tensor([[0.5, 0.5, -1.0]]))


@pytest.mark.parametrize("target_dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_result_has_torchs_dtype(dtype, target_dtype):
    logits, index = torch.zeros(2, 3, dtype=dtype), torch.tensor([0, 1])
    probs = torch.full((2, 3), 1 / 3, dtype=target_dtype)
    for target in (index, probs):
        ours, torchs = cross_entropy(logits, target), F.cross_entropy(logits, target)
        assert ours.dtype == torchs.dtype
    assert nll_loss(logits, index).dtype == dtype


def test_autocast_returns_single_precision_as_torch_does():
    logits, target = torch.zeros(2, 3, dtype=torch.bfloat16), torch.tensor([0, 1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert cross_entropy(logits, target).dtype == torch.float32
        assert F.cross_entropy(logits, target).dtype == torch.float32
