"""Which axis the classes lie on, and whether an operation touches it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from softonce.checker.kinds import NOTHING, ROWS, Axis, Kind
from softonce.checker.static.lattice import int_of
from softonce.checker.static.values import UNKNOWN, Const, External, Scores, Sequence, Value

if TYPE_CHECKING:
    from softonce.checker.static.values import Maker

_LOSES_CLASSES = frozenset({"view", "reshape", "squeeze", "flatten", "resize", "unflatten"})


def same(dim: int, tensor: Scores) -> bool | None:
    """Return whether `dim` is the axis of the classes; None if the rank decides."""
    if tensor.dim is None:
        return None
    if (dim < 0) == (tensor.dim < 0):
        return dim == tensor.dim
    if tensor.rank is not None:
        return dim % tensor.rank == tensor.dim % tensor.rank
    # Axis 0 is the batch wherever the classes are counted from the end.
    return False if 0 in (dim, tensor.dim) else None


def choose(op: str, tensor: Scores, touched: bool | None, maker: Maker) -> Scores:
    """Return the tensor after an operation that reduces or indexes an axis.

    `touched` says whether that axis holds the classes; None leaves both possible.
    """
    row = ROWS[op]
    kind, makers = NOTHING, []
    tables = [row.out] if touched is False else [row.along or row.out]
    if touched is None:
        tables.append(row.out)
    for table in tables:
        for bit in tensor.kind:
            out = table.get(bit, row.rest)
            kind |= out
            old = tensor.maker(bit) or maker
            makers += [(b, old) for b in out if b is not Kind.OTHER]
    if kind == Kind.OTHER or kind == NOTHING:
        return UNKNOWN
    classes = tensor.num_classes if touched is False else None
    direct = tensor.direct and row.axis is Axis.INDEXES
    return Scores(
        kind, tuple(dict(makers).items()), tensor.dim, classes, None, tensor.before, direct
    )


def stacked(tensor: Scores, dim: int | None) -> Scores:
    """Return what lies on the axis of the classes once a new axis `dim` is put in."""
    rank = None if tensor.rank is None else tensor.rank + 1
    # Whether the last axis stays the last, and the one that a loss looks at, is unknown for one.
    classes = None if tensor.num_classes == 1 else tensor.num_classes
    before = tensor.dim is not None and 0 <= (dim or 0) <= tensor.dim
    at = tensor.dim + 1 if before and tensor.dim else tensor.dim
    return replace(tensor, dim=at, rank=rank, num_classes=classes)


def after(op: str, tensor: Scores, dim: int | None, args: list[Value]) -> Scores:
    """Return the tensor with its axis, rank and number of classes after a shape operation."""
    row = ROWS.get(op)
    if op == "flatten" and tensor.kind == Kind.OTHER and len(args) > 1 and int_of(args[1]) == 1:
        return replace(tensor, rank=2)
    if row is None or row.axis is Axis.SAME or tensor.kind == Kind.OTHER:
        return tensor
    if row.axis is Axis.REDUCES:
        lower = tensor.dim is not None and dim is not None and 0 <= dim < tensor.dim
        return replace(tensor, dim=tensor.dim - 1 if lower and tensor.dim else tensor.dim)
    if row.axis is not Axis.MOVES:
        return tensor
    if op in ("unsqueeze", "expand", "expand_as", "flip", "roll"):
        return replace(tensor, dim=None, rank=None)
    rank = tensor.rank
    if op in ("view", "reshape"):
        rank = len(_sizes(args)) or None
    elif op == "permute":
        rank = len(_sizes(args)) or rank
    elif op == "flatten":
        rank = 2 if int_of(args[1] if len(args) > 1 else None) == 1 else None
    elif op in ("squeeze", "unflatten"):
        rank = None
    classes = None if op in _LOSES_CLASSES else tensor.num_classes
    return replace(tensor, dim=_moved(op, tensor, args), rank=rank, num_classes=classes)


def is_one_class(dim: int | None, tensor: Scores) -> bool:
    """Return whether `dim` is surely the axis of the classes, and there is one of them."""
    return tensor.num_classes == 1 and dim is not None and same(dim, tensor) is True


def loss_axis(tensor: Scores) -> int | None:
    """Return where cross_entropy looks for the classes: on axis 1, which of two is the last."""
    return -1 if tensor.dim == -1 and tensor.rank is None else 1


def _moved(op: str, tensor: Scores, args: list[Value]) -> int | None:
    """Return where a transposition leaves the axis of the classes."""
    given = [int_of(arg) for arg in _sizes(args)]
    dim = tensor.dim
    if op in ("t", "T", "mT"):
        first, second = (-1, -2) if dim is not None and dim < 0 else (0, 1)
        return _swapped(dim, first, second) if op != "mT" or first < 0 else None
    if op == "transpose" and len(given) == 2:
        return _swapped(dim, *given)
    if op == "permute" and dim is not None and given:
        at = [axis % len(given) if axis is not None else None for axis in given]
        axis = dim % len(given)
        return at.index(axis) if None not in at and axis in at else None
    return None


def _swapped(dim: int | None, first: int | None, second: int | None) -> int | None:
    """Return where two axes that change places leave `dim`; None if their signs differ from it."""
    if dim is None or first is None or second is None:
        return None
    if len({dim < 0, first < 0, second < 0}) > 1:
        return None
    return second if dim == first else first if dim == second else dim


def _sizes(args: list[Value]) -> list[Value]:
    """Return the arguments after the tensor, be they one list or several numbers."""
    listed = args[1] if len(args) == 2 else None
    return listed.items if isinstance(listed, Sequence) else args[1:]


def indexed(tensor: Scores, key: Value) -> tuple[bool | None, int | None]:
    """Return whether `[key]` touches the axis of the classes, and where that axis is then."""
    parts = key.items if isinstance(key, Sequence) else [key]
    if any(isinstance(p, Const) and p.value is Ellipsis for p in parts):
        positions = [i - len(parts) for i in range(len(parts))]
    else:
        positions = list(range(len(parts)))
    verdicts, dropped, added = [], 0, 0
    for position, part in zip(positions, parts, strict=True):
        if _is_whole(part):
            continue
        if isinstance(part, Const) and part.value is None:
            added += 1
            continue
        verdicts.append(same(position - added if position > 0 else position, tensor))
        before = tensor.dim is not None and 0 <= position < tensor.dim
        dropped += int_of(part) is not None and before
    dim = None if tensor.dim is None or added else tensor.dim - dropped
    if True in verdicts:
        return True, None
    return (None, None) if None in verdicts else (False, dim)


def only_adds(key: Value) -> bool:
    """Return whether `[key]` takes everything and at most adds axes, as in `total[:, None]`."""
    parts = key.items if isinstance(key, Sequence) else [key]
    return all(_is_whole(p) or (isinstance(p, Const) and p.value is None) for p in parts)


def _is_whole(part: Value) -> bool:
    if isinstance(part, External):
        return part.name == "slice.full"
    return isinstance(part, Const) and part.value is Ellipsis
