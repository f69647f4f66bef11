"""einops: where a pattern such as `b c h w -> b (h w) c` leaves the axis of the classes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from softonce.checker.kinds import Kind
from softonce.checker.static import axes
from softonce.checker.static.lattice import as_scores
from softonce.checker.static.operations import maker_of
from softonce.checker.static.values import (
    UNKNOWN,
    Const,
    External,
    Maker,
    Partial,
    Scores,
    Value,
)

if TYPE_CHECKING:
    import ast

    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame

_FUNCTIONS = frozenset({"rearrange", "repeat", "reduce"})
_LAYERS = frozenset({"Rearrange", "Reduce"})
_REDUCTIONS = frozenset({"mean", "sum", "max", "min"})
_AXIS = re.compile(r"\([^()]*\)|[\w.]+")


def call(
    run: Run,
    frame: Frame,
    name: str,
    args: list[Value],
    kwargs: dict[str, Value],
    node: ast.expr,
) -> Value | None:
    """Return what `rearrange(x, "b c h w -> b (h w) c")`, `repeat` or `reduce` gives.

    None for other functions. A layer, `Rearrange("b c -> c b")`, is the function without a tensor.
    """
    if name in _LAYERS:
        given = dict(zip(("pattern", "reduction"), args, strict=False))
        return Partial(External(f"einops.{name.lower()}"), [], {**given, **kwargs})
    if name not in _FUNCTIONS:
        return None
    given = {**dict(zip(("tensor", "pattern", "reduction"), args, strict=False)), **kwargs}
    tensor, pattern = as_scores(given.get("tensor")), given.get("pattern")
    if tensor.kind == Kind.OTHER or not isinstance(pattern, Const):
        return UNKNOWN
    before, arrow, after = str(pattern.value).partition("->")
    result = rearranged(tensor, before, after) if arrow else UNKNOWN
    if name == "reduce":
        is_lost = None if tensor.dim is None else result.dim is None
        reduction = given.get("reduction")
        return _reduced(result, reduction, is_lost, maker_of(frame, node, "reduce"))
    return result


def _reduced(tensor: Scores, reduction: Value | None, is_lost: bool | None, maker: Maker) -> Scores:
    """Return the mean, or the like, over the axes that the pattern leaves out.

    `is_lost` says whether the classes are among them.
    """
    op = reduction.value if isinstance(reduction, Const) else None
    if op not in _REDUCTIONS:
        return UNKNOWN
    made = axes.choose(op, tensor, is_lost, maker)
    return replace(made, dim=tensor.dim, rank=tensor.rank, num_classes=tensor.num_classes)


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
