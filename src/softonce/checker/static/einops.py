"""einops: where `rearrange` leaves the axis of the classes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from softonce.checker.kinds import Kind
from softonce.checker.static.lattice import as_scores
from softonce.checker.static.values import UNKNOWN, Const, Scores, Value

if TYPE_CHECKING:
    import ast

    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame

_AXIS = re.compile(r"\([^()]*\)|[\w.]+")


def call(run: Run, frame: Frame, name: str, args: list[Value], node: ast.expr) -> Value | None:
    """Return `rearrange(x, "b c h w -> b (h w) c")`; None for other functions."""
    if name != "rearrange" or len(args) < 2:
        return None
    tensor, pattern = as_scores(args[0]), args[1]
    if tensor.kind == Kind.OTHER or not isinstance(pattern, Const):
        return UNKNOWN
    before, arrow, after = str(pattern.value).partition("->")
    return rearranged(tensor, before, after) if arrow else UNKNOWN


def rearranged(tensor: Scores, before: str, after: str) -> Scores:
    """Return the tensor with its axes in another order; the classes are lost in a merged axis.

    Example:
        >>> rearranged(Scores(Kind.P, dim=1), "b c h w", "b (h w) c").dim
        2
    """
    left, right = _AXIS.findall(before), _AXIS.findall(after)
    is_known = tensor.dim is not None and -len(left) <= tensor.dim < len(left)
    axis = left[tensor.dim] if is_known and tensor.dim is not None else ""
    dim = right.index(axis) if axis in right and axis != "..." and "..." not in right else None
    classes = None if dim is None else tensor.num_classes
    return replace(tensor, dim=dim, rank=len(right), num_classes=classes)
