"""What the values of a tensor, and autograd's record of it, say of its kind."""

from __future__ import annotations

import re
from typing import NamedTuple

import torch
from torch import Tensor

from softonce.checker.flow import ATEN
from softonce.checker.kinds import NOTHING, ROWS, Kind, transfer
from softonce.checker.names import canonical
from softonce.checker.runtime.events import KEEPS
from softonce.checker.tags import Scores

MAX_ROWS = 4096
"""Rows whose values are looked at: to sum more would be felt in a step of a segmentation."""
MAX_NODES = 64
"""Nodes of autograd's graph that are walked from the loss; what normalises is near."""
TOLERANCE = 1e-3
"""How far the sum of a row of float32 probabilities may be from 1."""
LOW_PRECISION_TOLERANCE = 2e-2
"""The same for half precision: a thousand bfloat16 entries of 8 bits each."""
_ALMOST_ONE = 0.999
"""Rows whose largest entry is above it are one-hot targets, not answers of a network."""


class Values(NamedTuple):
    """What the values look like.

    Attributes:
        kind: P, ONEHOT, BP (within [0, 1]), LOGP, NONNEG (with exact zeros), or OTHER.
        deviation: the largest distance of a row's sum from 1 (of its logsumexp from 0).
        rows: how many rows were looked at.
        is_finite: whether every value is a number.
        low: the smallest value.
        high: the largest value.
    """

    kind: Kind
    deviation: float = 0.0
    rows: int = 0
    is_finite: bool = True
    low: float = 0.0
    high: float = 0.0


@torch.no_grad()
def look_at(tensor: Tensor, axis: int) -> Values:
    """Look at the values along an axis, at no more than some thousands of rows.

    Example:
        >>> look_at(torch.tensor([[2.0, 0.0]]).softmax(dim=1), -1).kind
        <Kind.P: 16>
        >>> look_at(torch.tensor([[2.0, -1.0]]), -1).kind
        <Kind.OTHER: 2048>
    """
    values = tensor.detach()
    if values.ndim == 0 or values.numel() == 0 or not values.is_floating_point():
        return Values(Kind.OTHER)
    tolerance = TOLERANCE if values.element_size() > 2 else LOW_PRECISION_TOLERANCE
    rows = values.movedim(axis, -1).reshape(-1, values.shape[axis])[:MAX_ROWS].float()
    low, high = (float(bound) for bound in rows.aminmax())
    seen = Values(Kind.OTHER, 0.0, len(rows), bool(torch.isfinite(rows).all()), low, high)
    if not seen.is_finite:
        return seen
    if low >= -tolerance and high <= 1 + tolerance:
        return _within_one(rows, seen, tolerance)
    if high <= tolerance:
        deviation = float(rows.logsumexp(dim=-1).abs().max())
        return (
            seen._replace(kind=Kind.LOGP, deviation=deviation) if deviation <= tolerance else seen
        )
    if low >= 0 and bool((rows == 0).any()):
        return seen._replace(kind=Kind.NONNEG)
    return seen


def _within_one(rows: Tensor, seen: Values, tolerance: float) -> Values:
    deviation = float((rows.sum(dim=-1) - 1).abs().max())
    if rows.shape[1] > 1 and deviation <= tolerance:
        is_onehot = float(rows.amax(dim=-1).min()) > _ALMOST_ONE
        return seen._replace(kind=Kind.ONEHOT if is_onehot else Kind.P, deviation=deviation)
    return seen._replace(kind=Kind.BP)


_AGREES = {
    Kind.P: Kind.P | Kind.ONEHOT,
    Kind.BP: Kind.P | Kind.ONEHOT | Kind.BP,
    Kind.LOGP: Kind.LOGP,
}


def agreeing(scores: Scores, tensor: Tensor, axis: int) -> Kind:
    """Return the possibilities that the values do not contradict.

    Example:
        >>> agreeing(Scores(Kind.P, -1), torch.tensor([[2.0, -1.0]]), -1)
        <Kind: 0>
    """
    along = axis if scores.axis is None else scores.axis
    seen = look_at(tensor, along if -tensor.ndim <= along < tensor.ndim else axis)
    if not seen.is_finite or scores.kind & (Kind.HARD | Kind.INDEX | Kind.ONEHOT):
        return scores.kind
    left = NOTHING
    for bit in scores.kind:
        is_single = bit in (Kind.P, Kind.LOGP) and tensor.shape[along] == 1
        if bit not in _AGREES or is_single or seen.kind in _AGREES[bit]:
            left |= bit
    # A slice of probabilities may be single ones; if the rows still sum to 1 it is not.
    return left & ~Kind.BP if Kind.P in left and seen.kind is Kind.P else left


def recorded(tensor: Tensor) -> tuple[Scores, int] | None:
    """Walk autograd's record back to what made the kind.

    Returns:
        The scores and the number of operations walked over, or None if the record ends before.

    Example:
        >>> logits = torch.zeros(2, 3, requires_grad=True)
        >>> recorded(logits.softmax(dim=1).view(3, 2))[0].kind
        <Kind.P: 16>
    """
    node = tensor.grad_fn
    crossed: list[str] = []
    for walked in range(MAX_NODES):
        if node is None:
            return None
        op = _op_of(node.name())
        if op not in ROWS:
            return None
        made = transfer(op, Kind.OTHER)
        if Kind.OTHER not in made and op not in KEEPS:
            return _folded(made, node, crossed, tensor), walked
        crossed.append(op)
        node = node.next_functions[0][0] if node.next_functions else None
    return None


def _folded(
    kind: Kind, node: torch.autograd.graph.Node, crossed: list[str], last: Tensor
) -> Scores:
    """Send the kind through the operations that were walked over."""
    for op in reversed(crossed):
        kind = (
            transfer(op, kind) | transfer(op, kind, along=True)
            if op in KEEPS
            else transfer(op, kind)
        )
    dim = getattr(node, "_saved_dim", None)
    axis = None
    if isinstance(dim, int) and not any(op in KEEPS and op not in _SHAPELESS for op in crossed):
        dim = dim - 2**64 if dim >= 2**63 else dim
        axis = dim if dim < 0 else dim - last.ndim
    return Scores(kind, axis, node.name(), direct=not crossed)


_SHAPELESS = frozenset({"clone", "to", "detach", "contiguous", "identity"})


def _op_of(name: str) -> str:
    """Return the table's name of a node: `LogSoftmaxBackward0` is `log_softmax`."""
    bare = re.sub(r"Backward\d*$", "", name)
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", bare).lower()
    op = canonical(snake)
    return ATEN.get(op, op)
