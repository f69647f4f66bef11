"""One call of torch, as the transfer table knows it."""

from __future__ import annotations

import math
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from softonce.checker.findings import Place
from softonce.checker.flow import ATEN, DIMS, Call, Operand, Scores, keeps_values
from softonce.checker.kinds import JOINS, ROWS, SINKS, Kind
from softonce.checker.names import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

ARITHMETIC = frozenset({"add", "sub", "mul", "div", "matmul"})
KEEPS = frozenset(op for op in ROWS if keeps_values(op))
_KNOWN = frozenset(ROWS) | JOINS | ARITHMETIC | frozenset(SINKS)
_SWAPPED = frozenset({"rsub", "__rsub__"})
_TORCH = str(Path(torch.__file__).parent)
_CHECKER = str(Path(__file__).parents[1])
_RUNNER = str(Path(__file__).with_name("script.py"))
_LIBRARIES = tuple({sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"), _TORCH, _CHECKER})
_MAX_FRAMES = 64


def name_of(function: Any) -> str:
    """Return the table's name of a function of torch, or "" where the table does not have it."""
    name = getattr(function, "__name__", "")
    if name == "__get__":
        name = function.__self__.__name__
    op = canonical(name)
    op = ATEN.get(op, op)
    return op if op in _KNOWN else ""


def is_swapped(function: Any) -> bool:
    """Say whether the first argument stands on the right, as in `1 - x`."""
    return getattr(function, "__name__", "") in _SWAPPED


def is_tempering(call: Call) -> bool:
    """Say whether a call divides probabilities by a number.

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
    operands = _operands(op, args, scores_of)
    if op == "matmul" and any(isinstance(operand, float) for operand in operands):
        op = "linear"
    first = next((x for x in args if isinstance(x, Tensor)), None)
    before = None if first is None else tuple(first.shape)
    call = Call(op, operands[::-1] if swapped else operands, before=before)
    if op == "getitem" and first is not None:
        touched = touched_axes(args[1], first.ndim)
        return call._replace(dim=touched) if touched else call._replace(op="view")
    return call._replace(dim=_dim(op, args, kwargs), order=_order(op, args, kwargs, before))


def _operands(
    op: str, args: tuple[Any, ...], scores_of: Callable[[Tensor], Scores | None]
) -> tuple[Operand, ...]:
    given: tuple[Any, ...] = args[:1]
    if op in ("cat", "stack"):
        given = tuple(args[0])
    elif op == "where":
        given = args[1:3]
    elif op in ARITHMETIC or op in JOINS:
        given = args[:2]
    return tuple(_operand(value, scores_of) for value in given)


def _operand(value: Any, scores_of: Callable[[Tensor], Scores | None]) -> Operand:
    """Return the scores, or a number: a weight and a tensor without axes are numbers, unknown."""
    if not isinstance(value, Tensor):
        return float(value) if isinstance(value, (int, float)) else None
    known = scores_of(value)
    if known is None and (value.ndim == 0 or isinstance(value, torch.nn.Parameter)):
        return math.nan
    return known


def _dim(op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[int, ...]:
    if op not in DIMS:
        return ()
    position, default = DIMS[op]
    dim = kwargs.get("dim", args[position] if len(args) > position else default)
    if isinstance(dim, int) and not isinstance(dim, bool):
        return (dim,)
    return tuple(dim) if isinstance(dim, (tuple, list)) else ()


def _order(
    op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], before: tuple[int, ...] | None
) -> tuple[int, ...]:
    """Return the new order of the axes, where the call permutes them."""
    rank = len(before or ())
    order = list(range(rank))
    if op in ("t", "T", "mT") and rank > 1:
        order[-2:] = reversed(order[-2:]) if op != "T" else order[-2:]
        return tuple(order if op != "T" else reversed(order))
    if op == "permute":
        dims = kwargs.get("dims", args[1] if len(args) == 2 else args[1:])
        return tuple(dims if isinstance(dims, (tuple, list)) else (dims,))
    if op == "transpose" and len(args) == 3:
        a, b = args[1:]
        order[a], order[b] = order[b], order[a]
        return tuple(order)
    return ()


def touched_axes(index: Any, rank: int) -> tuple[int, ...]:
    """Return the axes of which an index takes some entries only.

    Example:
        >>> touched_axes((slice(None), 1), 2), touched_axes((..., 0), 3), touched_axes(None, 2)
        ((1,), (2,), ())
    """
    parts = index if isinstance(index, tuple) else (index,)
    used = sum(_num_axes(part) for part in parts)
    touched: list[int] = []
    axis = 0
    for part in parts:
        if part is Ellipsis:
            axis += rank - used
        elif part is not None:
            whole = isinstance(part, slice) and part == slice(None)
            touched += [] if whole else range(axis, axis + _num_axes(part))
            axis += _num_axes(part)
    return tuple(touched)


def _num_axes(part: Any) -> int:
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, Tensor) and part.dtype == torch.bool else 1


def user_lines() -> tuple[Place, ...]:
    """Return the lines of the user's own files on the stack, the innermost first.

    Where all of the stack is library code, the innermost line outside of torch.
    """
    found: list[Place] = []
    outside: Place | None = None
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - what frames are got by
    for _ in range(_MAX_FRAMES):
        name = frame.f_code.co_filename if frame is not None else _RUNNER
        if frame is None or name == _RUNNER:
            break  # what runs the script is no line of the script
        if not _is_library(name):
            found.append(Place(name, frame.f_lineno))
        elif outside is None and not name.startswith((_TORCH, _CHECKER)):
            outside = Place(name, frame.f_lineno)
        frame = frame.f_back
    return tuple(found) or ((outside,) if outside else ())


@lru_cache(maxsize=4096)
def _is_library(name: str) -> bool:
    return name.startswith((*_LIBRARIES, "<frozen")) or "site-packages" in name
