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


@pytest.fixture
def calls(monkeypatch):
    """Note the losses that were computed this way."""
    noted, plain_block = [], fast_path.plain_block

    def call(*args):
        rows = plain_block(*args)
        noted.append(args)
        return rows

    monkeypatch.setattr(fast_path, "plain_block", call)
    return noted


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_it_is_the_loss_of_the_textbook(calls, reduction, dtype):
    leaf = LOGITS.to(dtype).requires_grad_()
    loss = cross_entropy(leaf, TARGET, reduction=reduction)
    assert len(calls) == 1
    truth = leaf.detach().double().requires_grad_()
    true_loss = F.cross_entropy(truth, TARGET, reduction=reduction)
    torch.testing.assert_close(loss, true_loss.to(dtype))
    (found,) = torch.autograd.grad(2 * loss, leaf)
    (true_grad,) = torch.autograd.grad(2 * true_loss, truth)
    torch.testing.assert_close(found, true_grad.to(dtype))


@pytest.mark.parametrize("bias", [None, BIAS])
def test_so_is_that_of_a_small_head(calls, bias):
    leaf, head = LOGITS.clone().requires_grad_(), HEAD.clone().requires_grad_()
    loss = linear_cross_entropy(leaf, head, TARGET, linear_bias=bias)
    assert len(calls) == 1
    truth = F.cross_entropy(F.linear(leaf, head, bias), TARGET)
    torch.testing.assert_close(loss, truth)
    for ours, theirs in zip(
        torch.autograd.grad(loss, (leaf, head)),
        torch.autograd.grad(truth, (leaf, head)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


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


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_ignored_rows_count_nothing_whatever_they_hold(calls, reduction):
    target = TARGET.clone()
    target[3] = -100
    leaf = LOGITS.clone().requires_grad_()
    expected = F.cross_entropy(leaf, target, reduction=reduction)
    (gradient,) = torch.autograd.grad(expected, leaf)
    wild = LOGITS.clone()
    wild[3] = torch.nan
    wild.requires_grad_()
    for loss in (
        cross_entropy(wild, target, reduction=reduction),
        linear_cross_entropy(wild, HEAD, target, reduction=reduction),
    ):
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(torch.autograd.grad(loss, wild)[0], gradient)
    assert len(calls) == 2


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
        {"reduction": "none"},
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
        (LOGITS.bfloat16(), TARGET),
        (LOGITS, TARGET.int()),
        (LOGITS, F.one_hot(TARGET, 7).float()),
        (torch.zeros(2**10, 2**9), torch.zeros(2**10, dtype=torch.int64)),
    ],
    ids=["one row", "half precision", "another integer", "probabilities", "large"],
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
