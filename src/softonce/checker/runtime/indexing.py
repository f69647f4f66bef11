"""What `x[...]` does to the axes of a tensor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def touched_axes(index: Any, rank: int) -> tuple[int, ...]:
    """Return the axes of which an index takes some entries only.

    Example:
        >>> touched_axes((slice(None), 1), 2), touched_axes((..., 0), 3), touched_axes(None, 2)
        ((1,), (2,), ())
    """
    return tuple(axis for part, axes in _parts(index, rank) if not _is_whole(part) for axis in axes)


def order_of(index: Any, rank: int) -> tuple[int, ...]:
    """Return for each axis of what comes out the axis that it was, -1 for a new one.

    Empty if arrays stand apart, which puts what they pick in front.

    Example:
        >>> order_of((slice(None), None, 0), 3), order_of((..., [2, 0]), 2)
        ((0, -1, 2), (0, 1))
    """
    parts = _parts(index, rank)
    if sum(_is_array(part) for part, _ in parts) > 1 or any(part is True for part, _ in parts):
        return ()
    order: list[int] = []
    for part, axes in parts:
        if part is None:
            order.append(-1)
        elif _is_array(part):
            order += _picked(part, axes)
        elif not _is_number(part):
            order += axes
    return tuple(order)


def _picked(part: Any, axes: tuple[int, ...]) -> list[int]:
    """Return the axes that an array puts in place of those that it indexes."""
    if isinstance(part, Tensor) and part.dtype != torch.bool:
        rank = part.ndim
    elif isinstance(part, Tensor):
        rank = 1
    else:
        rank = _depth(part)
    return list(axes) if rank == len(axes) == 1 else [-1] * rank


def _depth(part: Any) -> int:
    return getattr(part, "ndim", None) or (1 + _depth(part[0]) if isinstance(part, list) else 0)


def _parts(index: Any, rank: int) -> list[tuple[Any, tuple[int, ...]]]:
    """Return each part of the index with the axes that it is about."""
    parts = index if isinstance(index, tuple) else (index,)
    used = sum(_num_axes(part) for part in parts)
    paired: list[tuple[Any, tuple[int, ...]]] = []
    axis = 0
    for part in parts:
        number = rank - used if part is Ellipsis else _num_axes(part)
        paired.append((part, tuple(range(axis, axis + number))))
        axis += number
    return [*paired, (slice(None), tuple(range(axis, rank)))]


def _num_axes(part: Any) -> int:
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, Tensor) and part.dtype == torch.bool else 1


def _is_whole(part: Any) -> bool:
    return part is None or part is Ellipsis or (isinstance(part, slice) and part == slice(None))


def _is_number(part: Any) -> bool:
    if isinstance(part, Tensor):
        return part.ndim == 0 and part.dtype != torch.bool
    return hasattr(part, "__index__") and getattr(part, "ndim", 0) == 0


def _is_array(part: Any) -> bool:
    return not (part is None or part is Ellipsis or isinstance(part, slice) or _is_number(part))
