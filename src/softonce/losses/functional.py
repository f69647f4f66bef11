"""softmax, log_softmax, nll_loss and cross_entropy: the plain readable maths.

One formula serves every variant. With the effective target `a` (smoothing and class weights are
in it), `s = sum(a)`, `d = logits - max(logits)` and `S = sum(exp(d))`, a row's loss is
`s log S - sum(a d)` and its gradient is `s softmax(logits) - a`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from softonce.losses.overrides import overridable
from softonce.losses.reduction import (
    accumulation_dtype,
    as_batch,
    check_index_target,
    check_options,
    check_probs_target,
    check_scores,
    class_weight,
    index_target,
    reduce_rows,
    result_dtype,
    row_shape,
)

if TYPE_CHECKING:
    from torch import Tensor

    from softonce.shapes import ClassIndex, Logits, LogProbs, Probs, Reduction


def softmax(logits: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """Return the probabilities along `dim`.

    Equals `exp(logits) / exp(logits).sum(dim, keepdim=True)`.

    Args:
        logits: unnormalised scores.
        dim: the dimension whose entries shall sum to 1.
        dtype: convert the logits to it first.

    Example:
        >>> softmax(torch.tensor([0.0, 0.0, 0.0, 0.0]), dim=0)
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    return torch.softmax(logits, dim, dtype=dtype)


def log_softmax(logits: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """Return the log-probabilities along `dim`, in nats.

    Equals `log(softmax(logits, dim))`, and stays finite where that would underflow.

    Args:
        logits: unnormalised scores.
        dim: the dimension whose probabilities shall sum to 1.
        dtype: convert the logits to it first.

    Example:
        >>> log_softmax(torch.tensor([0.0, 1000.0]), dim=0)
        tensor([-1000.,     0.])
    """
    return torch.log_softmax(logits, dim, dtype=dtype)


@overridable
def nll_loss(
    log_probs: LogProbs,
    target: ClassIndex,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the negative log-likelihood of the target classes.

    Equals `-log_probs[n, target[n]]`, averaged over the rows.

    Args:
        log_probs: what `log_softmax` returns, (C,), (N, C) or (N, C, ...); never probabilities.
        target: class indices of any integer dtype, of shape (), (N,) or (N, ...).
        weight: a factor for each class; the mean divides by the sum of the rows' factors.
        ignore_index: rows with this target have loss 0 and gradient 0, whatever they hold.
        reduction: `mean` over the rows that are not ignored, `sum`, or `none`.

    Returns:
        The loss in nats, in the dtype of `log_probs`; half precision is summed in single precision.

    Raises:
        ArgumentError: where shapes, dtypes or options do not fit, or, on the CPU, where a class
            index is out of range; on an accelerator that row becomes NaN.

    Example:
        >>> log_probs = torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log()
        >>> nll_loss(log_probs, torch.tensor([1, 0]), reduction="none")
        tensor([0.2877, 0.6931])
    """
    check_options(reduction)
    check_scores("log_probs", log_probs)
    check_index_target("log_probs", log_probs.shape, target)
    shape, dtype = row_shape(log_probs.shape), result_dtype(log_probs, target)
    log_probs, target = as_batch(log_probs, target)
    log_probs = log_probs.to(accumulation_dtype(dtype))
    classes = index_target(target, log_probs.shape[1], ignore_index)
    row_weight = _row_weight(class_weight(weight, log_probs), classes.safe)
    rows = classes.write(-_times(row_weight, log_probs.gather(1, classes.safe)))
    return reduce_rows(rows, classes.total(row_weight), reduction, shape).to(dtype)


@overridable
def cross_entropy(
    logits: Logits,
    target: ClassIndex | Probs,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross-entropy between the target and the softmax of the logits.

    Equals `nll_loss(log_softmax(logits, dim=1), target)`; the softmax happens here, and once.

    Args:
        logits: unnormalised scores, (C,), (N, C) or (N, C, ...); the output of a `Linear` layer.
        target: class indices of any integer dtype, of shape (), (N,) or (N, ...); or class
            probabilities in the shape of the logits, which may carry a gradient.
        weight: a factor for each class; with class indices the mean divides by the sum of the
            target classes' factors, with probabilities by the number of rows.
        ignore_index: rows with this class index have loss 0 and gradient 0, whatever they hold.
        reduction: `mean` over the rows that are not ignored, `sum`, or `none`.
        label_smoothing: the share of the target that is spread evenly over all classes.

    Returns:
        The loss in nats, in the dtype of the logits; half precision is summed in single precision.

    Raises:
        ArgumentError: where shapes, dtypes or options do not fit, or, on the CPU, where a class
            index is out of range; on an accelerator that row becomes NaN.

    Example:
        >>> logits = torch.tensor([[20.0, 0.0], [0.0, 0.0]])
        >>> cross_entropy(logits, torch.tensor([0, 1]), reduction="none")
        tensor([2.0612e-09, 6.9315e-01])

    Source:
        Label smoothing: Szegedy et al., "Rethinking the Inception Architecture", section 7.
    """
    check_options(reduction, label_smoothing)
    check_scores("logits", logits)
    has_probs = target.shape == logits.shape
    if has_probs:
        check_probs_target(target, ignore_index)
    else:
        check_index_target("logits", logits.shape, target)
    shape, dtype = row_shape(logits.shape), result_dtype(logits, target)
    logits, target = as_batch(logits, target)
    logits = logits.to(accumulation_dtype(dtype))
    factors = class_weight(weight, logits)
    if has_probs:
        rows, total = _probs_rows(logits, target, factors, label_smoothing), None
    else:
        rows, total = _index_rows(logits, target, factors, ignore_index, label_smoothing)
    return reduce_rows(rows, total, reduction, shape).to(dtype)


def _index_rows(
    logits: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, smoothing: float
) -> tuple[Tensor, Tensor | None]:
    """Return each row's loss and the sum of the rows' weights, for class indices."""
    classes = index_target(target, logits.shape[1], ignore_index)
    row_weight = _row_weight(weight, classes.safe)
    others, gap, log_sum = _split(classes.blank(logits), classes.safe)
    if smoothing == 0.0:
        rows = _times(row_weight, log_sum - gap)
    else:
        weight = torch.ones_like(logits[:1]) if weight is None else weight
        spread = weight * (smoothing / logits.shape[1])
        at_target = (1 - smoothing) * (1 if row_weight is None else row_weight)
        rows = (at_target + spread.sum(1, keepdim=True)) * log_sum - _times(at_target, gap)
        rows = rows - _times(spread, others.scatter(1, classes.safe, gap)).sum(1, keepdim=True)
    return classes.write(rows), classes.total(row_weight)


def _probs_rows(logits: Tensor, probs: Tensor, weight: Tensor | None, smoothing: float) -> Tensor:
    """Return each row's loss for class probabilities."""
    mass = probs.to(logits.dtype) * (1 - smoothing) + smoothing / logits.shape[1]
    mass = mass if weight is None else mass * weight
    total = mass.sum(1, keepdim=True)
    largest = logits.argmax(1, keepdim=True)
    others, gap, log_sum = _split(logits, largest, 2 * mass.gather(1, largest) > total)
    differences = others.scatter(1, largest, gap)
    return total * log_sum - _times(mass, differences).sum(1, keepdim=True)


def _split(
    logits: Tensor, anchor: Tensor, is_expected: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return `d = logits - max`, -inf at the `anchor`; `d` at the anchor; and `log(sum(exp(d)))`.

    A row is confident where its anchor is its maximum, and expected. There the sum is 1 plus the
    others', which may be far below the rounding error of 1: so log1p sees the others alone, and the
    anchor's gradient comes through their differences only, as minus the sum of theirs.
    """
    largest = logits.detach().amax(1, keepdim=True)
    at_anchor = logits.gather(1, anchor)
    gap = at_anchor - largest
    confident = gap == 0 if is_expected is None else (gap == 0) & is_expected
    gap = gap.masked_fill(confident, 0)
    others = logits - torch.where(confident, at_anchor, largest)
    others = others.scatter(1, anchor, -torch.inf)
    log_sum = (others.exp().sum(1, keepdim=True) + gap.expm1()).log1p()
    return others, gap, log_sum


def _times(mass: Tensor | float | None, differences: Tensor) -> Tensor:
    """Return `mass * differences`, where no mass on an impossible class counts 0, not NaN."""
    if mass is None:
        return differences
    nothing = differences.isinf() & (mass == 0)
    return mass * differences.masked_fill(nothing, 0)


def _row_weight(weight: Tensor | None, index: Tensor) -> Tensor | None:
    """Return the class weight of each row's target."""
    if weight is None:
        return None
    return weight.expand(index.shape[0], -1, *index.shape[2:]).gather(1, index)
