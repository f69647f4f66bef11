"""A softmax that source writes out: `exp(x) / sum(exp(x))`, and its logarithm `x - logsumexp(x)`.

The same `x` has to stand in both halves. Source has no tensors to compare, so it is the text of `x`
that is kept on the way, in `Scores.exponent`.
"""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from softonce.checker.kinds import EPSILON, Kind
from softonce.checker.static.lattice import number_of
from softonce.checker.static.values import UNKNOWN, Scores, scores

if TYPE_CHECKING:
    from softonce.checker.static.values import Maker, Value

BY_HAND = "exp(x) / sum(exp(x))"
LOG_BY_HAND = "x - logsumexp(x)"
Operands = tuple[ast.expr | None, ast.expr | None]


def step(
    op: str,
    tensor: Scores,
    node: ast.expr,
    dim: int | None,
    args: list[Value],
    options: dict[str, Value],
    around: ast.AST,
) -> Scores | None:
    """Return exp(x), its sum or the logarithm of that, of which a softmax is written; else None."""
    # What the exponential of log-probabilities is, the table says.
    starts = op == "logsumexp" or (op == "exp" and not tensor.kind & (Kind.LOGP | Kind.BLOGP))
    if starts and isinstance(node, ast.Call):
        inner = operands(node, args)[0]
        if inner is not None:
            classes, rank = tensor.num_classes, tensor.rank
            text = _text_of(inner, around)
            of_x = replace(UNKNOWN, exponent=text, num_classes=classes, rank=rank)
            return of_x if op == "exp" else _log_of(of_x, dim)
    if op == "sum" and tensor.exponent and tensor.kind == Kind.OTHER and dim is not None:
        return replace(tensor, summed=True, dim=dim)
    if not tensor.summed:
        return None
    if op == "log" and tensor.kind == Kind.OTHER:
        return _log_of(tensor, tensor.dim)
    if op in ("clamp", "clamp_min") and tensor.kind == Kind.OTHER:
        low = number_of(args[1] if len(args) > 1 else options.get("min"))
        has_top = len(args) > 2 or "max" in options
        return tensor if low is not None and low <= EPSILON and not has_top else None
    shapes = ("unsqueeze", "view", "reshape", "expand_as", "expand", "detach")
    return tensor if op in shapes else None


def _log_of(total: Scores, dim: int | None) -> Scores:
    return replace(total, kind=Kind.LSE, summed=True, dim=dim)


def operands(node: ast.expr, args: list[Value]) -> Operands:
    """Return how the first two operands of a call are written: `x.sub(y)` or `torch.sub(x, y)`."""
    if not isinstance(node, ast.Call):
        return None, None
    given = list(node.args)
    if len(args) > len(given) and isinstance(node.func, ast.Attribute):  # of the object itself
        given.insert(0, node.func.value)
    return given[0] if given else None, given[1] if len(given) > 1 else None


def _text_of(x: ast.expr, around: ast.AST) -> str:
    """Return how `x` is written: by its first name, if it has several in the code around it."""
    name, names = ast.unparse(x), _second_names(around) if isinstance(x, ast.Name) else {}
    while name in names:
        name = names[name]
    return name


@cache
def _second_names(around: ast.AST) -> dict[str, str]:
    """Return `{"y": "x"}` for `y = x`, if that is all that either name is ever given."""
    nodes = list(ast.walk(around))
    given = Counter(n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    given.update(n.arg for n in nodes if isinstance(n, ast.arg))
    return {
        node.targets[0].id: node.value.id
        for node in nodes
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Name)
        and given[node.targets[0].id] == 1
        and given[node.value.id] == 1
    }


def quotient(
    name: str,
    tensor: Scores,
    other: Scores,
    maker: Maker,
    left: ast.expr | None,
    around: ast.AST,
) -> Scores | None:
    """Return the softmax that a quotient completes, or its logarithm of a difference; else None."""
    if not other.summed:
        return None
    known = {"num_classes": tensor.num_classes, "rank": tensor.rank, "direct": True}
    is_total = other.kind == Kind.OTHER and other.exponent == tensor.exponent
    if name == "div" and is_total and not tensor.summed:
        return scores(Kind.P, maker._replace(op=BY_HAND), dim=other.dim, **known)
    if name != "sub" or other.kind != Kind.LSE:
        return None
    if left is None or _text_of(left, around) != other.exponent:
        return UNKNOWN
    return scores(Kind.LOGP, maker._replace(op=LOG_BY_HAND), dim=other.dim, **known)
