"""The loop of the sharded loss: chunks of rows, each with one exchange between the ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from softonce.groups import gather_stacked
from softonce.losses.head.predictions import find_largest
from softonce.losses.kernels.interface import Mass
from softonce.losses.kernels.softcap import cap, slope_of
from softonce.losses.row_maths import IndexTarget, accumulation_dtype, as_batch
from softonce.losses.rows.checks import index_target
from softonce.losses.sharding.collectives import sum_parts_
from softonce.losses.sharding.row_parts import combine, describe_, differentiate_
from softonce.losses.tuning import tuning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from softonce.losses.sharding.partition import Arguments, Shards
    from softonce.shapes import Reduction


@dataclass(frozen=True, eq=False)
class ShardedRows:
    """One call: the effective target of the rows that count, and how the rows become a loss.

    Args:
        shards: who holds which classes.
        reduction: `mean`, `sum` or `none`.
        softcap: the bound of the logits; None is none.
        with_gradient: whether forward makes the gradients.
        rows_per_chunk: the same on all ranks, as each chunk is an exchange.
        total: what the mean divides by, ().
        counted: the numbers of the rows that are not ignored; None if all count.
        mass: the effective target of these rows, for this rank's classes.
    """

    shards: Shards
    reduction: Reduction
    softcap: float | None
    with_gradient: bool
    rows_per_chunk: int
    total: Tensor
    counted: Tensor | None
    mass: Mass

    @property
    def given(self) -> tuple[Tensor | None, Tensor | None]:
        """The caller's own tensors that a gradient reads again; class indices are copied."""
        return self.mass.probs, self.mass.keep

    def select(self, rows: Tensor) -> Tensor:
        """Return those of the rows that count."""
        return rows if self.counted is None else rows[self.counted]

    def spread_out(self, rows: Tensor, num_rows: int) -> Tensor:
        """Return all rows: 0 if they are ignored."""
        if self.counted is None:
            return rows
        return rows.new_zeros((num_rows, *rows.shape[1:])).index_copy_(0, self.counted, rows)


class Source(Protocol):
    """What logits come from: a head, or they are given."""

    @property
    def features(self) -> Tensor:
        """What has one row for each row of logits."""

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the gradient of the logits is rounded to."""

    def logits(self, rows: slice) -> Tensor:
        """Return the logits of some rows, to be worked on in place."""

    def places(self, needs: Sequence[bool], /) -> Sums:
        """Return where the gradients go that are needed."""


class Sums(Protocol):
    """Where the gradients of a source are added up."""

    @property
    def features(self) -> Tensor | None:
        """This rank's part of the gradient that all ranks sum, or None."""

    def add_(self, head: Any, dlogits: Tensor, rows: slice, /) -> None:
        """Add what the gradient of some rows of logits says."""

    def scale_(self) -> list[Tensor | None]:
        """Return the gradients in the order of the tensors of a loss."""


@dataclass(frozen=True)
class GivenLogits:
    """The logits of this rank's classes, (n, c), in the place of a head that makes them."""

    features: Tensor

    @property
    def dtype(self) -> torch.dtype:
        """Their own precision."""
        return self.features.dtype

    def logits(self, rows: slice) -> Tensor:
        """Return a copy of some rows, in the precision to sum in."""
        some = self.features[rows]
        return some.to(accumulation_dtype(some.dtype), copy=True)

    def places(self, _needs: Sequence[bool]) -> GivenGradients:
        """Return where their gradient goes."""
        like = self.features
        return GivenGradients(torch.empty_like(like, dtype=accumulation_dtype(like.dtype)))


@dataclass(frozen=True)
class GivenGradients:
    """The gradient of given logits, (n, c), in the precision to sum in."""

    dlogits: Tensor
    features: None = None

    def add_(self, _head: Any, dlogits: Tensor, rows: slice) -> None:
        """Write that of some rows."""
        self.dlogits[rows] = dlogits

    def scale_(self) -> list[Tensor | None]:
        """Return it in the order of the tensors of a loss."""
        return [self.dlogits, None, None]


def set_up_rows(arguments: Arguments, shards: Shards) -> ShardedRows:
    """Make the effective target: of `(1 - eps) w q + eps w / C` this rank's classes."""
    features, num_classes = arguments.features, shards.num_classes
    options = arguments.options
    dtype, weight = accumulation_dtype(features.dtype), arguments.weight
    weight = None if weight is None else weight.to(features.device, dtype)
    features, target = as_batch(features), arguments.target
    counted, total = None, features.new_tensor(len(features), dtype=dtype)
    classes: IndexTarget | Tensor
    if arguments.has_probs:
        classes = as_batch(target)
        classes = classes[:, shards.own] if classes.shape[1] == num_classes else classes
    else:
        classes, counted = _select_counted(target, num_classes, options.ignore_index)
        index = classes.safe.squeeze(1)
        total = total.new_tensor(len(index)) if weight is None else weight[index].sum()
    mass = Mass.of(classes, num_classes, weight, options.label_smoothing, dtype)
    fitting = max(tuning().chunk_rows, tuning().shard_chunk_logits // max(1, shards.widest))
    return ShardedRows(
        shards=shards,
        reduction=options.reduction,
        softcap=options.softcap,
        with_gradient=torch.is_grad_enabled() and options.reduction != "none",
        rows_per_chunk=arguments.rows_per_chunk or fitting,
        total=total,
        counted=counted,
        mass=mass.narrow_classes(shards.own),
    )


def _select_counted(
    target: Tensor, num_classes: int, ignore_index: int
) -> tuple[IndexTarget, Tensor | None]:
    """Return the class indices of the rows that count, and these rows; None if all do."""
    whole = index_target(target, num_classes, ignore_index)
    safe, ignored, outside = whole.parts
    if ignored is None:
        return whole, None
    counted = (~ignored.squeeze(1)).nonzero().squeeze(1)
    return IndexTarget(safe[counted], None, None if outside is None else outside[counted]), counted


def _predict(logits: Tensor, shards: Shards) -> Tensor:
    """Return each row's class: of the ranks with the largest logit the one with the first classes.

    Args:
        logits: of this rank's classes, (n, c), before any bound, which makes equals of large ones.
        shards: who holds which classes.
    """
    if logits.shape[1] == 0:
        place = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
        top = logits.new_full((len(logits),), -torch.inf)
    else:
        place = find_largest(logits)
        top = logits.gather(1, place.unsqueeze(1)).squeeze(1)
    own = torch.stack([top.double(), (place + shards.own.start).double()])  # exact, both
    order = torch.tensor(shards.in_order, device=logits.device)
    tops, classes = gather_stacked(own, shards.group)[order].unbind(1)
    return classes.gather(0, tops.argmax(0, keepdim=True)).squeeze(0).long()


def run(
    plan: ShardedRows,
    head: Source,
    gradients: Sums | None = None,
    row_scale: Tensor | None = None,
    pred: Tensor | None = None,
) -> Tensor:
    """Return each row's loss; make the gradients of their sum, each row times its scale.

    Args:
        plan: the effective target.
        head: of this rank's classes, or their logits.
        gradients: where they are added up; None makes none.
        row_scale: a factor of each row, or None.
        pred: where the class of each row's largest logit is written; None writes none.
    """
    shards = plan.shards
    losses = plan.total.new_empty(len(head.features))
    for start in range(0, len(losses), plan.rows_per_chunk):
        rows = slice(start, min(start + plan.rows_per_chunk, len(losses)))
        logits, mass = head.logits(rows), plan.mass.narrow(rows)
        if pred is not None:
            pred[rows] = _predict(logits, shards)
        logits, slope = cap(logits, plan.softcap), None
        if plan.softcap is not None and gradients is not None:
            slope = slope_of(logits, plan.softcap)
        part, anchor = describe_(logits, mass)
        whole = combine(gather_stacked(torch.stack(part), shards.group))
        losses[rows] = whole.loss
        if gradients is not None:
            dlogits = differentiate_(logits, part, anchor, whole, mass, shards.rank)
            if slope is not None:
                dlogits.mul_(slope)
            if row_scale is not None:
                dlogits.mul_(row_scale[rows].unsqueeze(1))
            gradients.add_(head, dlogits, rows)
    if gradients is not None and gradients.features is not None:
        sum_parts_(gradients.features, shards.group)
    return losses
