"""Where the axis of the classes is after an operation that moves, takes or adds axes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from softonce.checker.kinds import ROWS, Axis

if TYPE_CHECKING:
    from softonce.checker.tags import Call, Shape

_SAME_AXIS = frozenset({"flip", "roll", "narrow", "index_select", "gather", "take_along_dim"})
"""What leaves every axis where it is."""
_IN_ORDER = frozenset(
    {"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as"}
)
"""What leaves every entry in its order, so that the sizes tell where an axis went."""
_RESHAPES = frozenset({"view", "reshape", "flatten", "unflatten", "view_as", "reshape_as"})
"""What may split the axis of the classes, or merge it with another one."""
_REORDERS = frozenset({"transpose", "permute", "t", "T", "mT", "movedim"})
"""What may put axes of one size into another order, so that the sizes tell nothing."""

ORDERED_BY = {
    "permute": ("dims",),
    "transpose": ("dim0", "dim1"),
    "movedim": ("source", "destination"),
}
"""Operation -> the parameters that say how it orders the axes, as `order_after` takes them."""


class Moved(NamedTuple):
    """Where the classes are.

    Attributes:
        axis: counted from the end, or None if that is not known.
        is_lost: whether no axis holds them any more: they were split, or merged with another; None
            if that is not known.
    """

    axis: int | None
    is_lost: bool | None = False


def keeps_order(op: str) -> bool:
    """Return whether the operation leaves every entry in its order.

    Example:
        >>> keeps_order("view"), keeps_order("detach"), keeps_order("permute")
        (True, True, False)
    """
    row = ROWS.get(op)
    return op in _IN_ORDER or (row is not None and row.axis is Axis.SAME)


def is_along(call: Call, axis: int | None) -> bool | None:
    """Return whether the call's own axis is that of the classes; None if that is not known."""
    if not call.dim:
        takes_all = ROWS[call.op].axis is Axis.REDUCES or call.op == "masked_select"
        return True if takes_all else None
    if axis is None or call.before is None:
        return None
    rank = len(call.before)
    if call.op == "narrow" and call.after is not None and len(call.after) == rank:
        size = call.before[axis]
        if size == call.after[axis] != -1:
            return False  # a slice of everything
    return axis in [dim if dim < 0 else dim - rank for dim in call.dim]


def moved(call: Call, axis: int | None) -> Moved:
    """Return where the axis of the classes is after the call.

    Example:
        >>> from softonce.checker.tags import Call
        >>> moved(Call("permute", (), shapes=((8, 10, 4),), order=(0, 2, 1)), -2)
        Moved(axis=-1, is_lost=False)
        >>> moved(Call("unsqueeze", (), shapes=((8, 10),), after=(8, 10, 1)), -1)
        Moved(axis=-2, is_lost=False)
        >>> moved(Call("view", (), shapes=((8, 10),), after=(80,)), -1)
        Moved(axis=None, is_lost=True)
    """
    before, after = call.before, call.after
    if call.op == "roll" and not call.dim:
        return Moved(None, is_lost=True)  # it rolls over the edges of the rows
    if axis is None or before is None or not -len(before) <= axis:
        return _unknown(call)
    if call.order:
        return _reordered(call, before, axis)
    if after is None or call.op in _REORDERS:
        return _unknown(call)
    if call.op in _SAME_AXIS and len(before) == len(after):
        return Moved(axis)
    if call.op in ("expand", "expand_as"):
        is_repeated = len(after) >= -axis and after[axis] != before[axis]
        return Moved(None, is_lost=True) if is_repeated else Moved(axis)
    if call.op in _IN_ORDER:
        return _in_order(before, after, axis)
    if len(before) == len(after):
        return Moved(axis if before[axis] == after[axis] else None)
    return _without_axes(call, before, after, axis)


def _unknown(call: Call) -> Moved:
    """Return what holds of axes or sizes that are not known: a new shape may cut up the rows."""
    is_same = call.before is not None and call.before == call.after and -1 not in call.before
    return Moved(None, is_lost=None if call.op in _RESHAPES and not is_same else False)


def _reordered(call: Call, before: tuple[int, ...], axis: int) -> Moved:
    place = len(before) + axis
    if place not in call.order:
        return Moved(None, is_lost=True)
    return Moved(call.order.index(place) - len(call.order))


def _in_order(before: tuple[int, ...], after: tuple[int, ...], axis: int) -> Moved:
    """Find the axis of the same size with as many entries before it and after it."""
    inner = _product(before[len(before) + axis + 1 :])
    outer = _product(before[: len(before) + axis])
    is_open = -1 in before or -1 in after
    for place in range(-1, -len(after) - 1, -1):
        rest = _product(after[len(after) + place + 1 :])
        ahead = _product(after[: len(after) + place])
        # One side may be unknown, such as the batch; if both are known, they have to agree.
        sides = _agree(rest, inner), _agree(ahead, outer)
        if after[place] == before[axis] and True in sides and False not in sides:
            return Moved(place)
    return Moved(None, is_lost=None if is_open else True)


def _product(sizes: tuple[int, ...]) -> int | None:
    return None if -1 in sizes else math.prod(sizes)


def _agree(one: int | None, other: int | None) -> bool | None:
    return None if one is None or other is None else one == other


def _without_axes(call: Call, before: tuple[int, ...], after: tuple[int, ...], axis: int) -> Moved:
    """Count the axes behind the classes that the call has taken away."""
    removed = {dim % len(before) for dim in call.dim}
    if len(before) - len(after) != len(removed):
        return Moved(None)
    return Moved(axis + sum(dim > axis % len(before) for dim in removed))


def stacked(axis: int | None, dim: tuple[int, ...], after: Shape) -> int | None:
    """Return where the classes are after `stack` put a new axis at `dim`.

    Example:
        >>> stacked(-1, (0,), (2, 8, 10)), stacked(-1, (-1,), (8, 10, 2))
        (-1, -2)
    """
    if axis is None or not dim or after is None:
        return None
    new = from_end(dim[0], after)
    return axis - 1 if new is None or new >= axis else axis


def from_end(dim: int, shape: Shape) -> int | None:
    """Return the axis counted from the end; None if it takes an unknown shape to know.

    Example:
        >>> from_end(1, (8, 10)), from_end(-2, None), from_end(1, None)
        (-1, -2, None)
    """
    if shape is None:
        return dim if dim < 0 else None
    axis = dim if dim < 0 else dim - len(shape)
    return axis if -len(shape) <= axis < 0 else None


def order_after(op: str, rank: int, *dims: tuple[int, ...]) -> tuple[int, ...]:
    """Return for each axis of what comes out the axis that it was; empty if none changes places.

    Args:
        op: the operation.
        rank: how many axes there are; of a scalar torch lets axis 0 be named, and moves nothing.
        dims: what the parameters of `ORDERED_BY` are given; each is a tuple.

    Example:
        >>> order_after("permute", 3, (0, -1, 1)), order_after("transpose", 3, (0,), (-1,))
        ((0, 2, 1), (2, 1, 0))
        >>> order_after("movedim", 3, (0,), (-1,)), order_after("movedim", 0, (0,), (0,))
        ((1, 2, 0), ())
        >>> order_after("t", 2), order_after("mT", 3), order_after("view", 3)
        ((1, 0), (0, 2, 1), ())
    """
    if rank == 0:
        return ()
    if op == "permute":
        return tuple(dim % rank for dim in dims[0])
    if op == "transpose":
        (one,), (other,) = dims
        return _swapped(rank, one, other)
    if op == "movedim":
        return _after_movedim(rank, *dims)
    return _transposed(op, rank)


def _transposed(op: str, rank: int) -> tuple[int, ...]:
    """Return the order of the axes after `t`, `T` or `mT`; empty for other operations."""
    if op == "T" or (op == "t" and rank < 2):
        return tuple(reversed(range(rank)))
    return _swapped(rank, -2, -1) if op in ("t", "mT") else ()


def _swapped(rank: int, one: int, other: int) -> tuple[int, ...]:
    """Return the order of the axes after `transpose`."""
    order = list(range(rank))
    order[one], order[other] = order[other], order[one]
    return tuple(order)


def _after_movedim(
    rank: int, sources: tuple[int, ...], destinations: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the order of the axes after `movedim`."""
    old, new = ([dim % rank for dim in dims] for dims in (sources, destinations))
    placed = dict(zip(new, old, strict=True))
    others = iter([dim for dim in range(rank) if dim not in old])
    return tuple(placed[place] if place in placed else next(others) for place in range(rank))
