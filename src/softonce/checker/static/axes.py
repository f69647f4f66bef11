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
    """Return whether `dim` is the axis of the classes; None where the rank decides."""
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
        sizes = args[1].items if len(args) == 2 and isinstance(args[1], Sequence) else args[1:]
        rank = len(sizes) if sizes else None
    elif op == "flatten":
        rank = 2 if int_of(args[1] if len(args) > 1 else None) == 1 else None
    elif op in ("squeeze", "unflatten"):
        rank = None
    classes = None if op in _LOSES_CLASSES else tensor.num_classes
    return replace(tensor, dim=_moved(op, tensor, args), rank=rank, num_classes=classes)


def _moved(op: str, tensor: Scores, args: list[Value]) -> int | None:
    """Return where a transposition leaves the axis of the classes."""
    given = [int_of(arg) for arg in args[1:]]
    if op in ("t", "T") and tensor.dim in (0, 1):
        return 1 - tensor.dim
    if op == "transpose" and len(given) == 2 and None not in given and tensor.dim in given:
        return given[1 - given.index(tensor.dim)]
    if op == "permute" and tensor.dim is not None and None not in given and given:
        axis = tensor.dim % len(given)
        return given.index(axis) if axis in given else None
    return None


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


def _is_whole(part: Value) -> bool:
    if isinstance(part, External):
        return part.name == "slice.full"
    return isinstance(part, Const) and part.value is Ellipsis
