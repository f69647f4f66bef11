"""What one call makes of the scores that it is given: the table of `kinds`, with the axes known.

A running script and a model file both know the shape of every tensor; source does not. So the two
share this reader of the table, which follows the axis of the classes through views.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from softonce.checker.kinds import JOINS, NOTHING, ROWS, Axis, Kind, transfer, transfer_pair

if TYPE_CHECKING:
    from softonce.checker.findings import Place

Shape: TypeAlias = "tuple[int, ...] | None"
"""The sizes of a tensor; a size that is not known is -1."""

EPSILON = 1e-3
"""What is added against log(0) is no larger; what is larger is an offset."""

# Operation -> where `dim` stands among its arguments, and what it is where it is not given.
DIMS: dict[str, tuple[int, int | None]] = {
    **dict.fromkeys(("softmax", "softmin", "log_softmax", "logsumexp"), (1, None)),
    "gumbel_softmax": (4, -1),
    **dict.fromkeys(("mean", "sum", "argmax", "argmin", "max", "min", "amax", "amin"), (1, None)),
    **dict.fromkeys(("gather", "take_along_dim", "select", "narrow", "index_select"), (1, None)),
    **dict.fromkeys(("split", "chunk"), (2, 0)),
    **dict.fromkeys(("unbind", "cat", "stack"), (1, 0)),
    "topk": (2, -1),
    "sort": (1, -1),
}

# What the tensor library calls an operation inside, and what it is called in the table.
ATEN = {
    "to_copy": "to",
    "unsafe_view": "view",
    "slice": "narrow",
    "index": "getitem",
    "alias": "identity",
    "lift_fresh_copy": "clone",
    "addmm": "linear",
    "convolution": "conv2d",
    "native_batch_norm": "batch_norm",
    "native_batch_norm_legit_no_training": "batch_norm",
    "cudnn_batch_norm": "batch_norm",
    "native_layer_norm": "layer_norm",
    "log_sigmoid": "logsigmoid",
}

NAMES = {
    Kind.LOGITS: "logits",
    Kind.NONNEG: "scores cut at 0",
    Kind.BOUNDED: "scores within [-1, 1]",
    Kind.LOGP: "log-probabilities",
    Kind.P: "probabilities",
    Kind.BLOGP: "log-probabilities of single classes",
    Kind.BP: "probabilities of single classes",
    Kind.ONEHOT: "one-hot rows",
    Kind.HARD: "decisions",
    Kind.INDEX: "class indices",
    Kind.LSE: "a logarithm of sums",
    Kind.OTHER: "unknown",
}


@dataclass(frozen=True, slots=True)
class Scores:
    """What is known of one tensor.

    Attributes:
        kind: the possibilities.
        axis: where the classes lie, counted from the end: -1 is the last; None is unknown.
        op: the operation that made the kind.
        made: its line, or its node.
        direct: whether only views and copies have been made of it since.
    """

    kind: Kind
    axis: int | None = None
    op: str = ""
    made: Place | None = None
    direct: bool = True


Operand: TypeAlias = "Scores | float | None"
"""Scores, a number (nan: one that is not known), or a tensor of which nothing is known."""


class Call(NamedTuple):
    """One call of an operation.

    Attributes:
        op: its canonical name.
        operands: what it is given, in order.
        dim: its `dim`, where it has one; several where it takes several.
        before: the shape of the first operand.
        after: the shape of what comes out.
        order: the new order of the axes, where it permutes them.
        made: the line, or the node.
    """

    op: str
    operands: tuple[Operand, ...]
    dim: tuple[int, ...] = ()
    before: Shape = None
    after: Shape = None
    order: tuple[int, ...] = ()
    made: Place | None = None


def apply(call: Call) -> Scores | None:
    """Return what the call makes, or None where nothing is known of it.

    Example:
        >>> probs = apply(Call("softmax", (None,), dim=(1,), before=(8, 10)))
        >>> probs.kind, probs.axis
        (<Kind.P: 16>, -1)
        >>> apply(Call("view", (probs,), before=(8, 10), after=(4, 2, 10, 1))).axis
        -2
        >>> apply(Call("sub", (1.0, apply(Call("sigmoid", (None,)))))).kind
        <Kind.BP: 64>
    """
    if call.op in JOINS:
        return _join(call)
    if call.op in ("add", "sub", "mul", "div", "matmul"):
        return _arithmetic(call)
    if call.op not in ROWS:
        return None
    scores = call.operands[0] if call.operands else None
    return _row(call, scores if isinstance(scores, Scores) else Scores(Kind.OTHER))


def _row(call: Call, scores: Scores) -> Scores | None:
    row, axis = ROWS[call.op], scores.axis
    along = _is_along(call, axis) if row.axis in (Axis.REDUCES, Axis.INDEXES) else False
    if along is None:
        kind = transfer(call.op, scores.kind) | transfer(call.op, scores.kind, along=True)
    else:
        kind = transfer(call.op, scores.kind, along=along)
    if row.axis is Axis.MAKES:
        axis = call.dim[0] if call.dim else None
        if axis is not None and axis >= 0:
            axis = axis - len(call.before) if call.before is not None else None
    elif row.axis is not Axis.SAME:
        axis = moved_axis(call, axis)
    return _result(call, scores, kind, axis)


def _result(call: Call, scores: Scores, kind: Kind, axis: int | None) -> Scores | None:
    """Keep where the kind was made as long as the kind stays."""
    if Kind.OTHER in kind or kind == NOTHING:
        return None
    row = ROWS.get(call.op)
    is_kept = row is None or all(bit in row.out for bit in kind)
    if is_kept and kind == scores.kind and scores.made is not None:
        return replace(scores, axis=axis, direct=scores.direct and keeps_values(call.op))
    parts = keeps_values(call.op) and scores.made is not None
    return Scores(
        kind,
        axis,
        op=scores.op if parts else call.op,
        made=scores.made if parts else call.made,
        direct=not parts,
    )


def describe(kind: Kind) -> str:
    """Name a kind in words.

    Example:
        >>> describe(Kind.P), describe(Kind.P | Kind.LOGITS)
        ('probabilities', 'logits or probabilities')
    """
    return NAMES[Kind.OTHER] if Kind.OTHER in kind else " or ".join(NAMES[bit] for bit in kind)


def normalised_again(call: Call) -> str | None:
    """Return the rule that a call breaks by normalising probabilities, or taking their logarithm.

    Example:
        >>> probs = Scores(Kind.P, -1, "softmax")
        >>> normalised_again(Call("softmax", (probs,), dim=(-1,)))
        'SO202'
        >>> normalised_again(Call("log", (probs,)))
        'SO204'
    """
    scores = call.operands[0] if call.operands else None
    if not isinstance(scores, Scores) or scores.kind & ~(Kind.P | Kind.BP):
        return None
    if call.op == "log" and scores.kind == Kind.P and scores.direct and scores.op == "softmax":
        return "SO204"
    if call.op == "sigmoid" and scores.direct:
        return "SO202"
    made = apply(call) if call.op == "softmax" else None
    same_axis = made is not None and made.axis is not None and made.axis == scores.axis
    return "SO202" if same_axis or (made and scores.kind == Kind.BP) else None


def keeps_values(op: str) -> bool:
    """Return whether every value that comes out went in.

    Example:
        >>> keeps_values("view"), keeps_values("where"), keeps_values("mean"), keeps_values("add")
        (True, True, False, False)
    """
    row = ROWS.get(op)
    if row is None:
        return op in JOINS
    copies = row.axis is Axis.SAME and row.out == ROWS["detach"].out
    return copies or row.axis in (Axis.MOVES, Axis.INDEXES)


def _is_along(call: Call, axis: int | None) -> bool | None:
    """Say whether the call's own axis is that of the classes; None where that is not known."""
    if not call.dim:
        return True if ROWS[call.op].axis is Axis.REDUCES else None
    if axis is None or call.before is None:
        return None
    rank = len(call.before)
    return axis in [dim if dim < 0 else dim - rank for dim in call.dim]


def moved_axis(call: Call, axis: int | None) -> int | None:
    """Return where the axis of the classes is after a view, or None where that is not clear.

    It is the axis of the same size with as many entries before it and after it.

    Example:
        >>> moved_axis(Call("permute", (), before=(8, 10, 4), order=(0, 2, 1)), -2)
        -1
        >>> moved_axis(Call("unsqueeze", (), before=(8, 10), after=(8, 10, 1)), -1)
        -2
    """
    before, after = call.before, call.after
    if axis is None or (before is None and not call.order):
        return None
    if call.order:
        rank = len(call.order)
        return [dim % rank for dim in call.order].index(axis % rank) - rank
    if before is None or after is None or not -len(before) <= axis:
        return None
    if len(before) == len(after) and before[axis] == after[axis]:
        return axis
    inner = math.prod(before[len(before) + axis + 1 :])
    outer = math.prod(before[: len(before) + axis])
    for place in range(-1, -len(after) - 1, -1):
        rest = math.prod(after[len(after) + place + 1 :])
        ahead = math.prod(after[: len(after) + place])
        # Rows may have been picked, so only one side has to agree.
        if after[place] == before[axis] and (rest == inner or ahead == outer):
            return place
    return None


def _join(call: Call) -> Scores | None:
    """Join the operands: the result is one of them, entry by entry."""
    known = [scores for scores in call.operands if isinstance(scores, Scores)]
    if not known or len(known) < len(call.operands):
        return None
    first = known[0]
    kind = NOTHING
    for scores in known:
        kind |= scores.kind
    if call.op in ROWS:
        along = _is_along(call, first.axis)
        kind = transfer(call.op, kind, along=bool(along))
    same_axis = all(scores.axis == first.axis for scores in known)
    return _result(call, replace(first, kind=kind), kind, first.axis if same_axis else None)


def _arithmetic(call: Call) -> Scores | None:
    left, right = (*call.operands, None)[:2]
    if isinstance(left, Scores) and isinstance(right, Scores):
        kind = transfer_pair(call.op, left.kind, right.kind)
        return _result(call, Scores(Kind.OTHER), kind, left.axis)
    if isinstance(left, Scores) and isinstance(right, float):
        return _with_number(call, left, right, number_first=False)
    if isinstance(left, float) and isinstance(right, Scores):
        return _with_number(call, right, left, number_first=True)
    return None


def _with_number(call: Call, scores: Scores, number: float, *, number_first: bool) -> Scores | None:
    op = _named(call.op, number, number_first=number_first)
    if op is None:
        return None
    kind = transfer(op, scores.kind)
    return _result(call._replace(op=op), scores, kind, scores.axis)


def _named(op: str, number: float, *, number_first: bool) -> str | None:
    """Return the row of the table for an operation with a number."""
    commutes = op in ("add", "mul")
    if number == (0 if op in ("add", "sub") else 1) and (commutes or not number_first):
        return "identity"
    if op == "matmul" or (op == "div" and number_first):
        return None
    if op == "sub" and number_first:
        return "one_minus" if number == 1 else "neg"
    if op in ("add", "sub"):
        return "add_epsilon" if abs(number) <= EPSILON else "add_number"
    return f"{op}_number"
