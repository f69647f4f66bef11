"""One call of torch, as the transfer table knows it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from softonce.checker.flow import ATEN, DIMS
from softonce.checker.kinds import JOINS, ROWS, SINKS, Kind, keeps_values
from softonce.checker.moves import ORDERED_BY, order_after
from softonce.checker.names import canonical
from softonce.checker.runtime.indexing import order_of, touched_axes
from softonce.checker.tags import Call, Operand, Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ARITHMETIC = frozenset({"add", "sub", "mul", "div", "matmul"})
KEEPS = frozenset(op for op in ROWS if keeps_values(op))
_KNOWN = frozenset(ROWS) | JOINS | ARITHMETIC | frozenset(SINKS) | {"normalize", "setitem"}
# Operation -> the names of its lower and its upper bound, in the order of its arguments.
_BOUNDS = {
    "clamp": ("min", "max"),
    "clamp_min": ("min",),
    "hardtanh": ("min_val", "max_val"),
}
_SWAPPED = frozenset({"rsub", "__rsub__"})


def name_of(function: Any) -> str:
    """Return the table's name of a function of torch, or "" if the table does not have it."""
    name = getattr(function, "__name__", "")
    if name == "__get__":
        name = function.__self__.__name__
    op = canonical(name)
    if not name.startswith("__"):  # `__index__` is a number of Python's, no index of a tensor
        op = ATEN.get(op, op)
    return op if op in _KNOWN else ""


def is_swapped(function: Any) -> bool:
    """Return whether the first argument stands on the right, as in `1 - x`."""
    return getattr(function, "__name__", "") in _SWAPPED


def is_tempering(call: Call) -> bool:
    """Return whether a call divides probabilities by a number.

    Example:
        >>> is_tempering(Call("div", (Scores(Kind.P), 2.0)))
        True
    """
    if call.op != "div" or len(call.operands) < 2:
        return False
    scores, number = call.operands[:2]
    is_number = isinstance(number, float) and math.isfinite(number) and number != 1
    return is_number and isinstance(scores, Scores) and scores.kind == Kind.P


def call_of(
    op: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    scores_of: Callable[[Tensor], Scores | None],
    *,
    swapped: bool,
) -> Call:
    """Return the call with what is known of its operands; `after` and `made` are still open."""
    if op in ("max", "min") and len(args) > 1 and isinstance(args[1], Tensor):
        op = f"{op}imum"
    if op == "normalize" and kwargs.get("p", args[1] if len(args) > 1 else 2) == 1:
        op = "l1_normalize"
    given = _given(op, args, kwargs)
    given = given[::-1] if swapped else given
    operands = tuple(_operand(value, scores_of) for value in given)
    if op == "matmul" and any(isinstance(operand, float) for operand in operands):
        op = "linear"
    shapes = tuple(tuple(x.shape) if isinstance(x, Tensor) else None for x in given)
    call = Call(op, operands, shapes=shapes)
    if op == "where":
        return call._replace(mask=tuple(args[0].shape) if isinstance(args[0], Tensor) else None)
    rank = len(call.before or ())
    if op == "getitem" and len(args) > 1:
        touched = touched_axes(args[1], rank)
        order = order_of(args[1], rank)
        return call._replace(dim=touched, order=order, op="getitem" if touched else "view")
    return call._replace(dim=_dim(op, args, kwargs, rank), order=_order(op, args, kwargs, rank))


def _given(op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the arguments that the table asks about."""
    if op in ("cat", "stack"):
        listed = args[0] if args else kwargs.get("tensors", ())
        # One without entries, which a loop puts others behind, says nothing of what is joined.
        filled = [x for x in listed if not (isinstance(x, Tensor) and x.numel() == 0)]
        return tuple(filled or listed)
    if op == "where":
        return args[1:3]
    first = args[0] if args else kwargs.get("input")
    if op in _BOUNDS:
        bounds = dict(zip(_BOUNDS[op], args[1:], strict=False)) | dict(kwargs)
        limits = (bounds.get(name) for name in _BOUNDS[op])
        return (first, *limits)
    if op in ARITHMETIC or op in JOINS:
        other = args[1] if len(args) > 1 else kwargs.get("other")
        return (first, other if kwargs.get("alpha", 1) == 1 else None)
    return (first,)


def _operand(value: Any, scores_of: Callable[[Tensor], Scores | None]) -> Operand:
    """Return the scores, or a number: a weight and a tensor without axes are numbers, unknown."""
    if not isinstance(value, Tensor):
        return float(value) if isinstance(value, (int, float)) else None
    known = scores_of(value)
    if known is None and (value.ndim == 0 or isinstance(value, torch.nn.Parameter)):
        return math.nan
    return known


def _dim(op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], rank: int) -> tuple[int, ...]:
    if op == "one_hot":
        return (-1,)
    if op not in DIMS:
        return ()
    position, default = DIMS[op]
    given = args[position] if len(args) > position else default
    dim = next((kwargs[name] for name in ("dim", "axis", "dims") if name in kwargs), given)
    if dim is None and op in ("softmax", "softmin", "log_softmax"):
        dim = 0 if rank in (0, 1, 3) else 1  # as torch.nn.functional guesses
    if isinstance(dim, int) and not isinstance(dim, bool):
        return (dim,)
    return tuple(dim) if isinstance(dim, (tuple, list)) else ()


def _order(op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], rank: int) -> tuple[int, ...]:
    """Return the new order of the axes, if the call permutes them."""
    given = args[1:] if op in ORDERED_BY else ()
    if op == "permute" and len(given) > 1:
        given = (given,)
    # `swapaxes` has names of its own; the order of its axes makes no difference.
    names = (*ORDERED_BY.get(op, ()), "axis0", "axis1")
    named = (kwargs[name] for name in names if name in kwargs)
    return order_after(op, rank, *map(_listed, (*given, *named)))


def _listed(dims: Any) -> tuple[int, ...]:
    return tuple(dims) if isinstance(dims, (tuple, list)) else (dims,)
