"""Collectives with gradients, for processes that each compute the same loss.

What all processes hold alike is one variable of one computation, as if a single process ran it; its
gradient is whole, and alike, in each of them. (`torch.distributed.nn` differentiates the sum of the
processes' losses instead, which counts the same loss once for each process.) Each operation's
gradient is another of them, so every order of gradient is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch.autograd import Function

from softonce.errors import ArgumentError
from softonce.groups import agree, num_processes, own_rank
from softonce.groups import gather_rows as gather_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    Group = dist.ProcessGroup | None

_ONE_KIND_OF_ROWS = ("feature width", "feature bytes", "target width", "target bytes")


def gather_rows(
    features: Tensor,
    target: Tensor,
    *,
    averaged: bool,
    group: dist.ProcessGroup | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the features and targets of all processes, one process after the other.

    In data parallel training each process has images of its own, and a head whose classes are
    sharded needs all rows in every process: gather them, then call the sharded loss.

    Args:
        features: this process's rows, (n, D); n may differ, and may be 0.
        target: their class indices, (n,), or class probabilities, (n, C).
        averaged: whether the gradients of the layers below will be averaged over the processes, as
            DistributedDataParallel does; they are then multiplied by the number of processes here,
            so that the average is the gradient of the one loss. False if they will be summed.
        group: the processes that take part; None is all of them.

    Returns:
        Features, (N, D), whose gradient flows back to the process that they came from; and targets.

    Raises:
        ArgumentError: in every process, if the rows of one do not fit its targets or the others.

    Example:
        >>> import torch
        >>> gather_rows(torch.ones(2, 3), torch.tensor([0, 1]), averaged=True)
        (tensor([[1., 1., 1.], [1., 1., 1.]]), tensor([0, 1]))

    Source:
        An et al., "Partial FC", section 3 (https://arxiv.org/abs/2010.05222).
    """
    counts = _row_counts(features, target, group)
    scale = float(num_processes(group)) if averaged else 1.0
    return apply(_Gather, features, 0, counts, group, scale), gather_values(target, counts, group)


def gather_columns(part: Tensor, counts: Sequence[int], group: Group = None) -> Tensor:
    """Return the columns of all processes side by side, (N, sum of counts)."""
    gathered: Tensor = apply(_Gather, part, 1, counts, group, 1.0)
    return gathered


def to_parts(whole: Tensor, group: Group = None) -> Tensor:
    """Return `whole`, of which every process now uses what is its own: its gradients are summed."""
    used: Tensor = apply(_ToParts, whole, group)
    return used


def sum_parts_(part: Tensor, group: Group = None) -> Tensor:
    """Sum the parts of all processes, in place."""
    if num_processes(group) > 1:
        dist.all_reduce(part, group=group)
    return part


def apply(function: Any, *arguments: Any) -> Any:
    """Return `function.apply(*arguments)`, which torch leaves untyped."""
    return function.apply(*arguments)


def _row_counts(features: Tensor, target: Tensor, group: Group) -> list[int]:
    """Return the number of rows of each process."""
    problem = None
    facts = dict.fromkeys(("rows", *_ONE_KIND_OF_ROWS), 0.0)
    if features.dim() != 2 or target.dim() == 0 or len(target) != len(features):
        problem = ArgumentError(
            "expected features of shape (n, D) and a target for each of the n rows, found features "
            f"{tuple(features.shape)} and target {tuple(target.shape)}: pass one target a row"
        )
    else:
        facts = {
            "rows": len(features),
            "feature width": features.shape[1],
            "feature bytes": features.dtype.itemsize,
            "target width": target.shape[1] if target.dim() > 1 else 0,
            "target bytes": target.dtype.itemsize,
        }
    table = agree(facts, problem, group, device=features.device)
    for name in _ONE_KIND_OF_ROWS:
        found = [int(row[name]) for row in table]
        if len(set(found)) > 1:
            raise ArgumentError(
                f"expected rows of one kind on every rank, found {name} {found} in the order of "
                "ranks: use one model, one dtype and one kind of target in all processes"
            )
    return [int(row["rows"]) for row in table]


class _Gather(Function):
    """All parts, one after the other along a dimension; the gradient takes the own one back."""

    @staticmethod
    def forward(
        ctx: Any, part: Tensor, dim: int, counts: Sequence[int], group: Group, scale: float
    ) -> Tensor:
        ctx.options = dim, counts, group, scale
        return gather_values(part.movedim(dim, 0), counts, group).movedim(0, dim)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return apply(_Take, *upstream, *ctx.options), None, None, None, None


class _Take(Function):
    """The own part of what all hold alike, times a scale; the gradient gathers all parts."""

    @staticmethod
    def forward(
        ctx: Any, whole: Tensor, dim: int, counts: Sequence[int], group: Group, scale: float
    ) -> Tensor:
        ctx.options = dim, counts, group, scale
        rank = own_rank(group)
        return whole.narrow(dim, sum(counts[:rank]), counts[rank]) * scale

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        *options, scale = ctx.options
        return apply(_Gather, upstream[0] * scale, *options, 1.0), None, None, None, None


class _ToParts(Function):
    """The same values; the gradient sums those of all processes."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return whole.view_as(whole)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return apply(_SumParts, *upstream, ctx.group), None


class _SumParts(Function):
    """The sum over all processes; the gradient is the same for each part."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return sum_parts_(part.clone(), group)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return apply(_ToParts, *upstream, ctx.group), None
