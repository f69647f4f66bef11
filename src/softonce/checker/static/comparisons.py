"""Comparisons: decided if both sides are known, decisions if one is a tensor of scores."""

from __future__ import annotations

import ast
import operator
from typing import TYPE_CHECKING, Any

from softonce.checker.kinds import transfer
from softonce.checker.static.lattice import as_scores, number_of
from softonce.checker.static.operations import fold, maker_of
from softonce.checker.static.values import (
    UNKNOWN,
    Const,
    Mapping,
    Scores,
    Sequence,
    Value,
    scores,
)

if TYPE_CHECKING:
    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame

_COMPARED: dict[type, Any] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip


def compare(run: Run, frame: Frame, node: ast.Compare, left: Value, right: Value) -> Value:
    """Return a bool if both sides are known, decisions if one is a tensor of known kind."""
    test = node.ops[0]
    if len(node.ops) == 1 and isinstance(left, Const) and isinstance(right, Const):
        return (
            fold(_COMPARED.get(type(test)), left, right)
            if not _is_test(test)
            else Const((left.value is right.value) is isinstance(test, ast.Is))
        )
    if isinstance(test, (ast.Is, ast.IsNot)):
        return _identity(left, right, isinstance(test, ast.Is))
    if isinstance(test, (ast.In, ast.NotIn)):
        return _membership(left, right, isinstance(test, ast.In))
    if number_of(left) is not None:
        left, right = right, left  # `0.5 < x`
    tensor = as_scores(left)
    run.rules.threshold(frame, tensor, test, number_of(right), node)
    # Of what is unknown as well: if it reaches a loss it was a tensor, and decisions come out.
    # Beside a text or None it is options that are compared.
    is_tensor = isinstance(left, Scores) or tensor.known
    is_number = isinstance(right, Scores) or number_of(right) is not None or tensor.known
    if not is_tensor or not is_number:
        return UNKNOWN
    return scores(transfer("gt", tensor.kind), maker_of(frame, node, "comparison"))


def _membership(left: Value, right: Value, positive: bool) -> Value:
    """Decide `"ce" in ("ce", "bce")`, if all of it is written there."""
    if not isinstance(left, Const):
        return UNKNOWN
    if isinstance(right, Const) and isinstance(right.value, str) and isinstance(left.value, str):
        return Const((left.value in right.value) is positive)
    if isinstance(right, Sequence) and right.exact:
        if not all(isinstance(item, Const) for item in right.items):
            return UNKNOWN
        held = [item.value for item in right.items if isinstance(item, Const)]
        return Const((left.value in held) is positive)
    if isinstance(right, Mapping) and right.exact:
        return Const((left.value in right.items) is positive)
    return UNKNOWN


def _is_test(test: ast.cmpop) -> bool:
    return isinstance(test, (ast.Is, ast.IsNot))


def _identity(left: Value, right: Value, positive: bool) -> Value:
    """Decide `x is None` for what cannot be None."""
    is_none = isinstance(right, Const) and right.value is None
    surely_object = not isinstance(left, (Const, Scores)) and type(left).__name__ in (
        "Instance", "Layer", "Chain", "Backbone", "Function", "Class", "Sequence", "Mapping",
    )  # fmt: skip
    known = isinstance(left, Scores) and left.known
    return Const(not positive) if is_none and (surely_object or known) else UNKNOWN
