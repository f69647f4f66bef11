"""Operations on scores: the transfer table, applied to values that know where they come from."""

from __future__ import annotations

import ast
import operator
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from softonce.checker import kinds
from softonce.checker.kinds import (
    EPSILON,
    JOINS,
    NOTHING,
    ROWS,
    SINKS,
    Axis,
    Kind,
    keeps_direct,
    keeps_values,
    transfer_pair,
)
from softonce.checker.static import axes, by_hand
from softonce.checker.static.lattice import as_scores, int_of, join_all, number_of
from softonce.checker.static.values import (
    UNKNOWN,
    Const,
    Maker,
    Mapping,
    Scores,
    Sequence,
    Total,
    Value,
    scores,
)

if TYPE_CHECKING:
    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame

_RAW = Kind.LOGITS | Kind.NONNEG | Kind.BOUNDED | Kind.OTHER
_PAIR_OPS = frozenset({"add", "sub", "mul", "div", "matmul"})
_SPLITTING = frozenset({"split", "chunk", "unbind"})
_PAIRS_OUT = frozenset({"topk", "sort", "max", "min"})
_TEMPERATURE = re.compile(r"\b(self\.)?(T|tau|temp|temperature)\b")
_OPERATORS: dict[type, str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.MatMult: "matmul",
}  # fmt: skip
_FOLDED: dict[type, Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv, ast.Div: operator.truediv, ast.Mod: operator.mod,
}  # fmt: skip


def maker_of(frame: Frame, node: ast.expr, op: str) -> Maker:
    """Return the record of an operation at a node."""
    function, tests = frame.function, frame.tests
    return Maker(frame.place(node), op, node, function, frame.eval_only, tests=tests)


def apply(
    run: Run,
    frame: Frame,
    op: str,
    args: list[Value],
    kwargs: dict[str, Value],
    node: ast.expr,
    settings: dict[str, Value] | None = None,
) -> Value:
    """Return what an operation or a loss makes of its arguments; `settings` are a module's own."""
    options = {**(settings or {}), **kwargs}
    if op in SINKS:
        run.losses.check(frame, op, args, options, node)
        return UNKNOWN
    if op in JOINS:
        return _joined(frame, op, args, kwargs, node)
    if op in _PAIR_OPS:
        right = args[1] if len(args) > 1 else kwargs.get("other", UNKNOWN)
        left = args[0] if args else UNKNOWN
        return arithmetic(run, frame, op, left, right, node, by_hand.operands(node, args))
    tensor = as_scores(args[0] if args else kwargs.get("input", kwargs.get("x", UNKNOWN)))
    dim = int_of(kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else None)))
    if settings and dim is None:
        dim = int_of(settings.get("dim"))
    if op in _PAIRS_OUT:
        return _with_indices(frame, op, tensor, args, kwargs, node, dim)
    if op == "flatten":  # as a module it keeps the first axis, as a function it does not
        start = options.get("start_dim", Const(1 if settings is not None else 0))
        args = args if len(args) > 1 else [*args[:1], start]
    result = apply_row(run, frame, op, tensor, node, dim, args, options)
    return Sequence([result], exact=False) if op in _SPLITTING else result


def apply_row(
    run: Run,
    frame: Frame,
    op: str,
    tensor: Scores,
    node: ast.expr,
    dim: int | None,
    args: list[Value],
    options: dict[str, Value],
) -> Scores:
    """Apply one row of the table to one tensor."""
    row = ROWS.get(op)
    if row is None:
        return UNKNOWN
    run.rules.operation(frame, op, tensor, node, dim, args, options)
    step = by_hand.step(op, tensor, node, dim, args, options, _around(frame))
    if step is not None:
        return step
    if row.axis in (Axis.REDUCES, Axis.INDEXES) and row.along is not None:
        same = None if dim is None else axes.same(dim, tensor)
        result = axes.choose(op, tensor, same, maker_of(frame, node, op))
        return axes.after(op, result, dim, args)
    result = transferred(op, tensor, maker_of(frame, node, op))
    if row.axis is Axis.MAKES or op in ("sigmoid", "logsigmoid", "log", "exp"):
        before = None if tensor.kind == Kind.OTHER else replace(tensor, before=None)
        result = replace(result, before=before, direct=True)
        return replace(result, dim=dim if row.axis is Axis.MAKES else tensor.dim)
    if op == "one_hot":
        return replace(result, dim=-1)
    if op == "linear":
        classes = int_of(options.get("out_features"))
        return replace(result, num_classes=classes, rank=tensor.rank, dim=-1)
    if op.startswith("conv"):
        classes = int_of(options.get("out_channels"))
        rank = int(op[-2]) + 2 if op[-1] == "d" else None
        return replace(result, num_classes=classes, rank=rank, dim=1)
    return axes.after(op, result, dim, args)


def _around(frame: Frame) -> ast.AST:
    return frame.function or frame.module.tree


def transferred(op: str, tensor: Scores, maker: Maker) -> Scores:
    """Return the tensor after an elementwise row: kinds that stay keep their maker."""
    row = ROWS[op]
    kind, makers = NOTHING, []
    for bit in tensor.kind:
        out = row.out.get(bit, row.rest)
        kind |= out
        kept = out == bit and bit in row.out
        old = tensor.maker(bit) if kept else None
        makers += [(b, old or maker) for b in out if b is not Kind.OTHER and (old or not kept)]
    unchanged = kind == tensor.kind and all(bit in row.out for bit in kind)
    return Scores(
        kind,
        tuple(dict(makers).items()),
        tensor.dim,
        tensor.num_classes,
        tensor.rank,
        tensor.before if unchanged and keeps_values(op) else None,
        (tensor.direct and keeps_direct(op)) or not unchanged,
        tensor.tempered if unchanged or keeps_values(op) else None,
    )


def _joined(
    frame: Frame, op: str, args: list[Value], kwargs: dict[str, Value], node: ast.expr
) -> Value:
    """Return the join of the tensors that `cat`, `stack` or `where` chooses from."""
    if op in ("cat", "stack"):
        listed = args[0] if args else kwargs.get("tensors", UNKNOWN)
        items = listed.items if isinstance(listed, Sequence) else [UNKNOWN]
        given = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else Const(0)))
        dim = int_of(given)
    else:
        items, dim = args[1:] if op == "where" else args, None
    tensor = as_scores(join_all(list(map(as_scores, items)))) if items else UNKNOWN
    if op == "where" and any(number_of(item) is not None for item in items):
        return UNKNOWN
    if op == "stack":
        return axes.stacked(tensor, dim)
    if op == "cat":
        same = None if dim is None else axes.same(dim, tensor)
        chosen = axes.choose("cat", tensor, same, maker_of(frame, node, op))
        # Scores of one class may as well be vectors: then it is the candidates that are listed.
        is_vector = tensor.num_classes == 1 and tensor.rank is None and tensor.dim == -1
        return replace(chosen, num_classes=None) if is_vector else chosen
    return tensor


def _with_indices(
    frame: Frame,
    op: str,
    tensor: Scores,
    args: list[Value],
    kwargs: dict[str, Value],
    node: ast.expr,
    dim: int | None,
) -> Value:
    """Return (values, indices), or only the values if max is taken over everything."""
    maker = maker_of(frame, node, op)
    indices = scores(Kind.INDEX, maker)
    if op in ("topk", "sort"):
        return Sequence([axes.choose(op, tensor, None, maker), indices])
    if len(args) > 1 and isinstance(args[1], Scores):
        return UNKNOWN
    if len(args) == 1 and not kwargs:
        return axes.choose(op, tensor, True, maker)
    return Sequence([axes.choose(op, tensor, True, maker), indices])


def normalized(frame: Frame, args: list[Value], kwargs: dict[str, Value], node: ast.expr) -> Value:
    """Return `F.normalize(exp(x), p=1)`: what is at least 0, divided by its sum, is probabilities.

    Other norms make none.
    """
    tensor = as_scores(args[0])
    given = {**dict(zip(("p", "dim"), args[1:], strict=False)), **kwargs}
    is_exponential = bool(tensor.exponent) and not tensor.summed
    is_positive = is_exponential or not tensor.kind & ~(Kind.NONNEG | Kind.P | Kind.BP)
    if not is_positive or number_of(given.get("p")) != 1:
        return UNKNOWN
    maker = maker_of(frame, node, "normalize(x, p=1)")
    known = {"num_classes": tensor.num_classes, "rank": tensor.rank, "direct": True}
    return scores(Kind.P, maker, dim=int_of(given.get("dim", Const(1))), **known)


def index_scores(run: Run, frame: Frame, tensor: Scores, key: Value, node: ast.expr) -> Value:
    """Return `tensor[key]`."""
    if tensor.summed and axes.only_adds(key):
        return tensor  # the axis that was summed away is put back
    same, dim = axes.indexed(tensor, key)
    result = axes.choose("getitem", tensor, same, maker_of(frame, node, "getitem"))
    classes = tensor.num_classes if same is False else None
    return replace(result, dim=dim, num_classes=classes, rank=None)


def overwritten(whole: Scores, part: Value) -> Value:
    """Return what a tensor holds once some entries are of another one: a range that holds both."""
    kind = kinds.overwritten(whole.kind, as_scores(part).kind)
    if kind == Kind.LOGITS:
        return whole
    maker = whole.maker(whole.kind)
    known = kind != Kind.OTHER and maker is not None
    return scores(kind, maker, rank=whole.rank) if known and maker else UNKNOWN


def binary(
    run: Run, frame: Frame, node: ast.BinOp | ast.AugAssign, left: Value, right: Value
) -> Value:
    """Return `left op right`."""
    if isinstance(left, Const) and isinstance(right, Const):
        return fold(_FOLDED.get(type(node.op)), left, right)
    if isinstance(left, Total):
        return _mean(node, left, right)
    if isinstance(left, Sequence):
        return _list_arithmetic(node, left, right)
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return Mapping({**left.items, **right.items}, left.exact and right.exact)
    name = _OPERATORS.get(type(node.op))
    if name is None:
        return UNKNOWN
    if isinstance(node, ast.BinOp):
        return arithmetic(run, frame, name, left, right, node, (node.left, node.right))
    return arithmetic(run, frame, name, left, right, node.value, (node.target, node.value))


def _mean(node: ast.BinOp | ast.AugAssign, total: Total, divisor: Value) -> Value:
    """Return the mean of scores: it keeps their kind, as probabilities stay between 0 and 1.

    A divisor that is unknown is taken for the number of items: nothing else makes sense of it.
    """
    number = number_of(divisor)
    is_count = number is None or total.count in (None, number)
    is_scores = isinstance(divisor, Scores) and divisor.kind != Kind.OTHER
    return total.item if isinstance(node.op, ast.Div) and is_count and not is_scores else UNKNOWN


def fold(function: Any, left: Const, right: Const) -> Value:
    """Return what a function makes of two known values; unknown if it fails or is large."""
    try:
        value = function(left.value, right.value) if function else UNKNOWN
    except (TypeError, ValueError, ZeroDivisionError, OverflowError, MemoryError):
        return UNKNOWN
    small = isinstance(value, (bool, int, float)) and abs(value) < 1e12
    return Const(value) if small or (isinstance(value, str) and len(value) < 1000) else UNKNOWN


def _list_arithmetic(node: ast.BinOp | ast.AugAssign, left: Sequence, right: Value) -> Value:
    if isinstance(node.op, ast.Add) and isinstance(right, Sequence):
        return Sequence([*left.items, *right.items], left.exact and right.exact)
    count = int_of(right)
    if isinstance(node.op, ast.Mult) and count is not None and 0 < count <= 16:
        return Sequence(left.items * count, left.exact)
    return Sequence(list(left.items), exact=False)


def arithmetic(
    run: Run,
    frame: Frame,
    name: str,
    left: Value,
    right: Value,
    node: ast.expr,
    written: by_hand.Operands = (None, None),
) -> Value:
    """Return the sum, difference, product, quotient or matrix product."""
    maker = maker_of(frame, node, name)
    number, tensor = number_of(right), as_scores(left)
    if number is None and number_of(left) is not None:
        number, tensor = number_of(left), as_scores(right)
        if name in ("sub", "div"):
            one_minus = name == "sub" and number == 1
            return transferred("one_minus", tensor, maker) if one_minus else UNKNOWN
    if number is not None:
        return _with_number(name, tensor, number, maker)
    other = as_scores(right)
    made = by_hand.quotient(name, tensor, other, maker, written[0], _around(frame))
    if made is not None:
        return made
    if name == "div" and tensor.kind == Kind.P and _is_temperature(written[1]):
        return replace(UNKNOWN, tempered=tensor.maker(Kind.P))
    kind = transfer_pair(name, tensor.kind, other.kind)
    if kind == Kind.OTHER:
        return UNKNOWN
    # Raw scores of a sum are its own: what is compared with a threshold may be one part of it only.
    sources = [m for t in (tensor, other) for m in t.makers if m[0] & kind & ~Kind.LOGITS]
    known = Kind(kind & ~Kind.OTHER)
    makers = dict.fromkeys(known, maker) | dict(sources)
    # Along different axes one broadcasts against the other: pairs, which no classes are.
    alike = tensor.dim == other.dim is not None and name != "matmul"
    classes = tensor.num_classes if alike and tensor.num_classes == other.num_classes else None
    return Scores(kind, tuple(makers.items()), tensor.dim, classes, tensor.rank)


def _with_number(name: str, tensor: Scores, number: float, maker: Maker) -> Scores:
    if name in ("mul", "div") and number == 1:
        return tensor
    if name in ("add", "sub"):
        small = abs(number) <= EPSILON
        if small and tensor.summed and tensor.kind == Kind.OTHER:
            return tensor
        return transferred("add_epsilon" if small else "add_number", tensor, maker)
    if name == "matmul":
        return UNKNOWN
    result = transferred(f"{name}_number", tensor, maker)
    if name == "div" and tensor.kind == Kind.P:
        return replace(result, tempered=tensor.maker(Kind.P))
    return result


def _is_temperature(node: ast.expr | None) -> bool:
    return isinstance(node, (ast.Name, ast.Attribute)) and bool(
        _TEMPERATURE.fullmatch(ast.unparse(node))
    )


def unary(run: Run, frame: Frame, node: ast.UnaryOp, value: Value) -> Value:
    """Return `-x` or `~x`."""
    number = number_of(value)
    if number is not None and isinstance(node.op, ast.USub):
        return Const(-number)
    if isinstance(value, Scores) and isinstance(node.op, ast.USub):
        return transferred("neg", value, maker_of(frame, node, "neg"))
    if isinstance(value, Scores) and value.kind == Kind.HARD:
        return value
    return UNKNOWN
