"""The everyday call: it is found, it is right, and what is of another kind it leaves alone."""

import pytest
import reference
import torch
import torch.nn.functional as F
from reference import draw, draw_target

from softonce.errors import ArgumentError
from softonce.losses import cross_entropy, linear_cross_entropy
from softonce.losses.rows import fast_path

LOGITS, TARGET = draw(0, 5, 7, dtype=torch.float32), draw_target(1, 5, num_classes=7)
HEAD, BIAS = torch.eye(7), torch.zeros(7)


@pytest.fixture(autouse=True, params=["by rows", "by columns"])
def _layout(request, tuned):
    tuned(vector=0) if request.param == "by rows" else tuned(vector=16, column_logits=(1, 1))


@pytest.fixture
def calls(monkeypatch):
    """Note the losses that were computed this way."""
    noted, loss_of = [], fast_path._loss

    def call(*args):
        loss = loss_of(*args)
        noted.extend([] if loss is None else [loss])
        return loss

    monkeypatch.setattr(fast_path, "_loss", call)
    return noted


# which way: single precision, double, the kernel, and where the kernel is the fastest
SURE = [0.0, 4.0, 30.0]
MANY = (2**9, 2**8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("gap", [*SURE, None])
def test_it_is_the_loss_of_the_textbook(calls, reduction, dtype, gap):
    logits, target = LOGITS.to(dtype, copy=True), TARGET
    if gap is None:
        logits, target = draw(0, *MANY).to(dtype), draw_target(1, MANY[0], num_classes=MANY[1])
    else:
        logits[2, target[2]] += gap
    leaf = logits.clone().requires_grad_()
    loss = cross_entropy(leaf, target, reduction=reduction)
    is_left = dtype.itemsize == 2 and gap in (30.0, None)  # half precision has no kernel here
    assert len(calls) == (not is_left)
    assert loss.dtype == dtype
    truth = logits.double().requires_grad_()
    true_loss = F.cross_entropy(truth, target, reduction=reduction)
    upstream = torch.linspace(1, 2, loss.numel(), dtype=dtype).reshape(loss.shape)
    torch.testing.assert_close(loss, true_loss.to(dtype))
    torch.testing.assert_close(cross_entropy(logits, target, reduction=reduction), loss.detach())
    (found,) = torch.autograd.grad(loss, leaf, upstream)
    (true_grad,) = torch.autograd.grad(true_loss, truth, upstream.double())
    torch.testing.assert_close(found, true_grad.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bias", [None, BIAS])
def test_so_is_that_of_a_small_head(calls, bias, dtype):
    leaf, head = (x.to(dtype, copy=True).requires_grad_() for x in (LOGITS, HEAD))
    bias = None if bias is None else bias.to(dtype)
    loss = linear_cross_entropy(leaf, head, TARGET, linear_bias=bias)
    assert len(calls) == 1
    true = [x.detach().double().requires_grad_() for x in (leaf, head)]
    truth = F.cross_entropy(F.linear(*true), TARGET)
    torch.testing.assert_close(loss, truth.to(loss.dtype))
    for ours, theirs in zip(
        torch.autograd.grad(loss, (leaf, head)), torch.autograd.grad(truth, true), strict=True
    ):
        torch.testing.assert_close(ours, theirs.to(dtype))


@pytest.mark.parametrize("gap", [0.5, 5.0, 30.0, 60.0])
def test_a_confident_row_is_exact(calls, gap):
    logits = LOGITS.clone()
    logits[2, TARGET[2]] = gap
    leaf = logits.requires_grad_()
    loss = cross_entropy(leaf[2:3], TARGET[2:3], reduction="sum")
    (grad,) = torch.autograd.grad(loss, leaf)
    assert len(calls) == 1
    others = torch.cat([LOGITS[2, : TARGET[2]], LOGITS[2, TARGET[2] + 1 :]])
    true_loss, true_grad = reference.confident_row(gap - others.double())
    assert abs(loss.double() / true_loss - 1) < 1e-6
    assert abs(grad[2, TARGET[2]].double() / true_grad - 1) < 1e-6


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_row_without_a_loss_has_none(value):
    logits = LOGITS.clone()
    logits[1, 0] = value
    assert cross_entropy(logits, TARGET).isnan()


def test_it_may_be_differentiated_twice_in_either_sense(calls):
    leaf = LOGITS.clone().requires_grad_()
    loss = cross_entropy(leaf, TARGET)
    first = torch.autograd.grad(loss, leaf, torch.tensor(3.0), retain_graph=True)[0].clone()
    again = torch.autograd.grad(loss, leaf, torch.tensor(3.0), retain_graph=True)[0]
    assert torch.equal(first, again)
    double = LOGITS.double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: cross_entropy(x, TARGET), double)
    assert len(calls) > 2


def test_it_takes_logits_as_they_lie(calls):
    leaf = LOGITS.t().contiguous().t().requires_grad_()
    loss = cross_entropy(leaf, TARGET)
    (found,) = torch.autograd.grad(loss, leaf)
    assert len(calls) == 1
    contiguous = LOGITS.clone().requires_grad_()
    (expected,) = torch.autograd.grad(F.cross_entropy(contiguous, TARGET), contiguous)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_ignored_rows_count_nothing_whatever_they_hold(calls, reduction, dtype):
    target = TARGET.clone()
    target[3] = -100
    leaf = LOGITS.to(dtype).double().requires_grad_()
    expected = F.cross_entropy(leaf, target, reduction=reduction)
    (gradient,) = torch.autograd.grad(expected.sum(), leaf)
    wild = LOGITS.to(dtype, copy=True)
    wild[3] = torch.nan
    wild.requires_grad_()
    for loss in (
        cross_entropy(wild, target, reduction=reduction),
        linear_cross_entropy(wild, HEAD.to(dtype), target, reduction=reduction),
    ):
        torch.testing.assert_close(loss, expected.to(loss.dtype))
        (found,) = torch.autograd.grad(loss.sum(), wild)
        torch.testing.assert_close(found, gradient.to(dtype))
    assert len(calls) >= 2


def test_where_all_rows_are_ignored_the_mean_is_of_nothing():
    target = torch.full((5,), -100)
    assert cross_entropy(LOGITS, target).isnan()
    assert linear_cross_entropy(LOGITS, HEAD, target, reduction="sum").item() == 0


def test_an_ignored_class_above_the_others_is_ignored():
    target = TARGET.clone()
    target[3] = 255
    expected = F.cross_entropy(LOGITS, target, ignore_index=255)
    torch.testing.assert_close(cross_entropy(LOGITS, target, ignore_index=255), expected)


@pytest.mark.parametrize("value", [7, -1])
def test_a_class_that_is_not_there_is_named(value):
    target = TARGET.clone()
    target[3] = value
    with pytest.raises(ArgumentError, match=f"found {value} in row 3"):
        cross_entropy(LOGITS, target)
    with pytest.raises(ArgumentError, match=f"found {value} in row 3"):
        linear_cross_entropy(LOGITS, HEAD, target)


@pytest.mark.parametrize(
    "options",
    [
        {"weight": torch.ones(7)},
        {"label_smoothing": 0.1},
        {"ignore_index": int(TARGET[0])},
        {"return_lse": True},
    ],
    ids=str,
)
def test_options_are_for_the_general_way(calls, options):
    cross_entropy(LOGITS, TARGET, **options)
    linear_cross_entropy(LOGITS, HEAD, TARGET, **options)
    assert not calls


@pytest.mark.parametrize(
    ("logits", "target"),
    [
        (LOGITS[0], TARGET[0]),
        (LOGITS, TARGET.int()),
        (LOGITS, F.one_hot(TARGET, 7).float()),
        (torch.zeros(2**10, 2**9), torch.zeros(2**10, dtype=torch.int64)),
    ],
    ids=["one row", "another integer", "probabilities", "large"],
)
def test_so_are_other_tensors(calls, logits, target):
    assert cross_entropy(logits, target).isfinite()
    assert not calls


def test_so_is_what_looks_at_the_computation(calls):
    rows = torch.func.vmap(lambda row, index: cross_entropy(row[None], index[None]))(LOGITS, TARGET)
    torch.testing.assert_close(rows, F.cross_entropy(LOGITS, TARGET, reduction="none"))
    with torch.autocast("cpu", torch.bfloat16):
        linear_cross_entropy(LOGITS, HEAD, TARGET)
    assert not calls


@pytest.mark.parametrize("wrong", [(LOGITS, TARGET[:4]), (LOGITS, TARGET.float()), (None, TARGET)])
def test_so_are_wrong_arguments(wrong):
    with pytest.raises(ArgumentError):
        cross_entropy(*wrong)
    with pytest.raises(ArgumentError):
        linear_cross_entropy(wrong[0], HEAD, wrong[1])
