"""What a loss is asked for, checked: one record for the readable form and for the kernels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import torch

from softonce.losses.kernels.choice import kernel_for
from softonce.losses.kernels.interface import Mass
from softonce.losses.kernels.softcap import cap, with_softcap
from softonce.losses.row_maths import (
    IndexTarget,
    accumulation_dtype,
    as_batch,
    per_class,
    reduce_rows,
    result_dtype,
    row_shape,
    weight_of_rows,
)
from softonce.losses.rows.checks import (
    check_device,
    check_index_target,
    check_probs_target,
    check_scores,
    check_weight,
    index_target,
)
from softonce.losses.rows.options import LossOptions
from softonce.losses.rows.readable import cross_entropy_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from softonce.losses.kernels.interface import Kernel, Rows


Loss: TypeAlias = "Tensor | tuple[Tensor, ...]"
"""The loss; with `return_lse` the log-sum-exp of each row, with `return_pred` its class too."""

NO_CLASS = -1
"""The predicted class of an ignored row."""


@dataclass(frozen=True)
class Objective:
    """The target of a batch of rows, and how their losses become one.

    Args:
        target: class indices, (N, 1) or (N, 1, L); or class probabilities, (N, C) or (N, C, L).
        weight: a factor for each class, (C,), or None.
        options: what is asked for.
        total: what the mean divides by; None is the number of rows.
        num_classes: C.
        shape: of the losses that are not reduced.
        dtype: of the loss.
    """

    target: IndexTarget | Tensor
    weight: Tensor | None
    options: LossOptions
    total: Tensor | None
    num_classes: int
    shape: torch.Size
    dtype: torch.dtype

    @property
    def compute_dtype(self) -> torch.dtype:
        """The precision of sums: single if the loss has half."""
        return accumulation_dtype(self.dtype)

    @property
    def device(self) -> torch.device:
        """Where the target is."""
        target = self.target
        return (target.wanted if isinstance(target, IndexTarget) else target).device

    @property
    def is_plain_sum(self) -> bool:
        """Whether one number follows from the rows, so that the gradient can be made with them."""
        return self.options.reduction != "none" and not self.options.return_lse

    @property
    def given(self) -> tuple[Tensor | None, ...]:
        """The caller's own tensors that a gradient reads again; a seen target is a copy."""
        target = self.target
        if isinstance(target, IndexTarget):
            return (None if target.is_seen else target.wanted, self.weight)
        return (target, self.weight)

    def kept_rows(self) -> Tensor | None:
        """Return the indices of the rows that count, if that is cheap and leaves rows out."""
        target = self.target
        if not isinstance(target, IndexTarget) or not target.is_seen or target.ignored is None:
            return None
        has_values = target.outside is None and type(target.ignored) is torch.Tensor
        if not has_values or target.ignored.device.type != "cpu":
            return None
        return (~target.ignored).squeeze(1).nonzero().squeeze(1)

    def rows(self, kept: Tensor) -> Objective:
        """Return the objective of the rows that count, from their indices."""
        assert isinstance(self.target, IndexTarget)  # noqa: S101 - others have no such rows
        target = IndexTarget(self.target.safe[kept])
        counts_rows = self.total is not None and self.weight is None
        total = None if counts_rows and self.total == len(kept) else self.total
        return replace(self, target=target, total=total, shape=kept.shape)

    def widen(self, loss: Loss, kept: Tensor) -> Loss:
        """Put what `rows(kept)` gave back into all rows: nothing if they are ignored."""
        loss, *others = loss if isinstance(loss, tuple) else (loss,)
        if self.options.reduction == "none":
            loss = self._spread(loss, kept)
        return _together(loss, [self._spread(values, kept) for values in others])

    def _spread(self, rows: Tensor, kept: Tensor) -> Tensor:
        nothing = 0 if rows.is_floating_point() else NO_CLASS
        whole = rows.new_full((self.shape.numel(),), nothing)
        return whole.index_copy(0, kept, rows).reshape(self.shape)

    def gather(self, losses: Sequence[Loss]) -> Loss:
        """Put the losses of all positions together."""
        pairs = [loss if isinstance(loss, tuple) else (loss,) for loss in losses]
        loss, *others = (torch.stack(parts, -1) for parts in zip(*pairs, strict=True))
        loss = loss.reshape(self.shape) if self.options.reduction == "none" else loss.sum()
        return _together(loss, [values.reshape(self.shape) for values in others])

    def position(self, place: int) -> Objective:
        """Return the objective of one position of (N, C, L), whose sums add up to the whole."""
        target: IndexTarget | Tensor
        if isinstance(self.target, IndexTarget):
            target = self.target.position(place)
        else:
            target = self.target[..., place]
        total = self.total
        if total is None and self.options.reduction == "mean":
            total = torch.tensor(float(self.shape.numel()), device=self.device)
        return replace(self, target=target, total=total, shape=self.shape[:1])

    @property
    def is_ordinary(self) -> bool:
        """Whether every row has one class that is there, and nothing else is asked for."""
        target = self.target
        has_plain_rows = (
            isinstance(target, IndexTarget) and target.is_seen and target.parts[1:] == (None, None)
        )
        asked = replace(self.options, reduction="mean", ignore_index=-100, dtype=None)
        has_options = self.weight is not None or self.total is not None or asked != LossOptions()
        return has_plain_rows and not has_options

    @cached_property
    def mass(self) -> Mass:
        """The effective target for the kernels."""
        smoothing, dtype = self.options.label_smoothing, self.compute_dtype
        return Mass.of(self.target, self.num_classes, self.weight, smoothing, dtype)

    def kernel(self, like: Tensor) -> Kernel:
        """Return the kernel for logits that are where `like` is."""
        return with_softcap(kernel_for(like), self.options.softcap)

    def readable(self, logits: Tensor) -> Loss:
        """Return the loss of the logits by plain maths; (N, C) or (N, C, L), of any dtype."""
        logits = logits.to(self.compute_dtype)
        weight = per_class(self.weight, logits)
        capped = cap(logits, self.options.softcap)
        rows, lse = cross_entropy_rows(capped, self.target, weight, self.options.label_smoothing)
        pred = logits.argmax(1, keepdim=True) if self.options.return_pred else None
        return self.reduce_rows(rows, lse, pred)

    def scale(self, num_rows: int) -> float | Tensor | None:
        """Return what the reduction multiplies each row with; None is 1.

        The mean of nothing is NaN, and its gradient 0.
        """
        if self.options.reduction != "mean":
            return None
        if self.total is None:
            return 1 / max(1, num_rows)
        return self.total.reciprocal().nan_to_num_(torch.nan, 0.0, 0.0)

    def upstream_of_rows(
        self, upstream: Sequence[Tensor | None], rows: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return the factors of the rows' own gradients, from those of the loss and the lse."""
        of_loss, of_lse = (*upstream, None)[:2]
        if of_lse is not None:
            of_lse = of_lse.to(rows.dtype).reshape(rows.shape)
        if of_loss is None:
            return torch.zeros_like(rows), of_lse
        of_loss, scale = of_loss.to(rows.dtype), self.scale(rows.numel())
        of_loss = of_loss if scale is None else of_loss * scale
        is_row = self.options.reduction == "none"
        return of_loss.reshape(rows.shape) if is_row else of_loss.expand(rows.shape), of_lse

    def reduce(self, rows: Rows, pred: Tensor | None = None) -> Loss:
        """Return the loss, and what else is asked for, of all rows."""
        lse = rows.lse if self.options.return_lse else None
        if self.options.reduction == "mean" and self.total is not None and self.weight is None:
            # a count of rows: the mean of nothing is 0 / 0, and has no gradient to take care of
            loss = (rows.loss.sum() / self.total).to(self.dtype)
            return self._with_others(loss, lse, pred)
        return self.reduce_rows(rows.loss, lse, pred)

    def reduce_rows(
        self, rows: Tensor, lse: Tensor | None = None, pred: Tensor | None = None
    ) -> Loss:
        """Return the loss of tensors that hold one value for each row."""
        loss = reduce_rows(rows, self.total, self.options.reduction, self.shape).to(self.dtype)
        return self._with_others(loss, lse, pred)

    def _with_others(self, loss: Tensor, lse: Tensor | None, pred: Tensor | None) -> Loss:
        others = []
        if lse is not None and self.options.return_lse:
            others.append(lse.reshape(self.shape).to(self.dtype))
        if pred is not None:
            ignored = self.target.ignored if isinstance(self.target, IndexTarget) else None
            if ignored is not None:
                pred = pred.masked_fill(ignored.reshape(pred.shape), NO_CLASS)
            others.append(pred.reshape(self.shape))
        return _together(loss, others)


def objective_of(
    logits_shape: torch.Size,
    target: Tensor,
    weight: Tensor | None,
    options: LossOptions,
    *,
    like: Tensor,
) -> Objective:
    """Check the options and the target against logits of a shape, and prepare them.

    Args:
        logits_shape: (C,), (N, C) or (N, C, ...).
        target: as in `cross_entropy`.
        weight: as in `cross_entropy`.
        options: what is asked for.
        like: its dtype and device are those of the logits.

    Raises:
        ArgumentError: if one does not fit.
    """
    options.check()
    check_scores("logits", like, logits_shape)
    num_classes = logits_shape[:2][-1]
    check_weight(weight, num_classes, like)
    check_device("target", target, like)
    prepared: IndexTarget | Tensor
    looks_like_probs = target.is_floating_point() and target.dim() == len(logits_shape)
    if target.shape == logits_shape or looks_like_probs:
        check_probs_target(target, logits_shape, options.ignore_index)
        prepared = as_batch(target)
    else:
        check_index_target("logits", logits_shape, target)
        prepared = index_target(target, num_classes, options.ignore_index)
    return Objective(
        target=prepared,
        weight=weight,
        options=options,
        total=_total(prepared, weight, like) if options.reduction == "mean" else None,
        num_classes=num_classes,
        shape=row_shape(logits_shape),
        dtype=options.dtype or result_dtype(like, target),
    )


def _total(target: IndexTarget | Tensor, weight: Tensor | None, like: Tensor) -> Tensor | None:
    """Return the sum of the weights of the rows that count; None if each row counts 1."""
    if not isinstance(target, IndexTarget):
        return None
    dtype = accumulation_dtype(like.dtype)
    if weight is None:
        return target.total(None, dtype)
    of_class = weight.to(dtype).view(1, -1, *[1] * (target.wanted.dim() - 2))
    return target.total(weight_of_rows(of_class, target.safe), dtype)


def _together(loss: Tensor, others: Sequence[Tensor]) -> Loss:
    return (loss, *others) if others else loss
