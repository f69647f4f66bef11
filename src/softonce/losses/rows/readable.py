"""The cross-entropy as plain maths, which everything in torch can differentiate and compile.

One formula serves every variant. With the effective target `a` (smoothing and class weights are
in it), `s = sum(a)`, `d = logits - max(logits)` and `S = sum(exp(d))`, a row's loss is
`s log S - sum(a d)` and its gradient is `s softmax(logits) - a`. The kernels compute the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from softonce.losses.row_maths import IndexTarget, times, weight_of_rows

if TYPE_CHECKING:
    from torch import Tensor


def cross_entropy_rows(
    logits: Tensor, target: IndexTarget | Tensor, weight: Tensor | None, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """Return the loss and the log-sum-exp of each row, both (N, 1, ...).

    Args:
        logits: (N, C, ...), in the precision to compute in.
        target: a checked index target, or class probabilities in the shape of the logits.
        weight: a factor for each class, broadcast to the logits, or None.
        label_smoothing: in [0, 1].
    """
    if isinstance(target, IndexTarget):
        rows, lse = _index_rows(target.blank(logits), target, weight, label_smoothing)
        return target.write(rows), target.write(lse)
    return _probs_rows(logits, target, weight, label_smoothing)


def _index_rows(
    logits: Tensor, classes: IndexTarget, weight: Tensor | None, smoothing: float
) -> tuple[Tensor, Tensor]:
    row_weight = weight_of_rows(weight, classes.safe)
    others, gap, log_sum, top = _split(logits, classes.safe)
    if smoothing == 0.0:
        return times(row_weight, log_sum - gap), top + log_sum
    weight = torch.ones_like(logits[:1]) if weight is None else weight
    spread = weight * (smoothing / logits.shape[1])
    at_target = (1 - smoothing) * (1 if row_weight is None else row_weight)
    rows = (at_target + spread.sum(1, keepdim=True)) * log_sum - times(at_target, gap)
    rows = rows - times(spread, others.scatter(1, classes.safe, gap)).sum(1, keepdim=True)
    return rows, top + log_sum


def _probs_rows(
    logits: Tensor, probs: Tensor, weight: Tensor | None, smoothing: float
) -> tuple[Tensor, Tensor]:
    mass = probs.to(logits.dtype) * (1 - smoothing) + smoothing / logits.shape[1]
    mass = mass if weight is None else mass * weight
    total = mass.sum(1, keepdim=True)
    largest = logits.argmax(1, keepdim=True)
    others, gap, log_sum, top = _split(logits, largest, 2 * mass.gather(1, largest) > total)
    differences = others.scatter(1, largest, gap)
    return total * log_sum - times(mass, differences).sum(1, keepdim=True), top + log_sum


def _split(
    logits: Tensor, anchor: Tensor, is_expected: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return `d = logits - top`, -inf at the `anchor`; `d` at it; `log(sum(exp(d)))`; and the top.

    A row is confident if its anchor is its maximum, and expected. There the sum is 1 plus the
    others', which may be far below the rounding error of 1: so log1p sees only the others, and the
    anchor's gradient comes through their differences only, as minus the sum of theirs.
    """
    largest = logits.detach().amax(1, keepdim=True)
    at_anchor = logits.gather(1, anchor)
    gap = at_anchor - largest
    confident = gap == 0 if is_expected is None else (gap == 0) & is_expected
    gap = gap.masked_fill(confident, 0)
    top = torch.where(confident, at_anchor, largest)
    others = (logits - top).scatter(1, anchor, -torch.inf)
    log_sum = (others.exp().sum(1, keepdim=True) + gap.expm1()).log1p()
    return others, gap, log_sum, top
