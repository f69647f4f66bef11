"""A softmax that source writes out: `exp(x) / sum(exp(x))`, and its logarithm `x - logsumexp(x)`.

The same `x` has to stand in both halves. Source has no tensors to compare, so it is the text of `x`
that is kept on the way, in `Scores.exponent`.
"""

from __future__ import annotations

import ast
from dataclasses import replace
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
) -> Scores | None:
    """Return exp(x), its sum or the logarithm of that, of which a softmax is written; else None."""
    # What the exponential of log-probabilities is, the table says.
    starts = op == "logsumexp" or (op == "exp" and not tensor.kind & (Kind.LOGP | Kind.BLOGP))
    if starts and isinstance(node, ast.Call):
        inner = operands(node, args)[0]
        if inner is not None:
            classes, rank = tensor.num_classes, tensor.rank
            text = ast.unparse(inner)
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


def quotient(
    name: str, tensor: Scores, other: Scores, maker: Maker, left: ast.expr | None
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
    if left is None or ast.unparse(left) != other.exponent:
        return UNKNOWN
    return scores(Kind.LOGP, maker._replace(op=LOG_BY_HAND), dim=other.dim, **known)
