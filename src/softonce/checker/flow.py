"""What one call makes of the scores that it is given: the table of `kinds`, with the axes known.

A running script and a model file both know the shape of every tensor; source does not. So the two
share this reader of the table. `moves` follows the axis of the classes through views, `by_hand`
knows a softmax, a mean or a pair of probabilities that is written out in arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import replace

from softonce.checker.by_hand import written_out
from softonce.checker.kinds import (
    EPSILON,
    JOINS,
    NOTHING,
    ROWS,
    Axis,
    Kind,
    keeps_direct,
    keeps_values,
    transfer,
    transfer_pair,
)
from softonce.checker.moves import Moved, from_end, is_along, keeps_order, moved, stacked
from softonce.checker.tags import Call, Scores

# Operation -> the position of `dim` among its arguments, and its default.
DIMS: dict[str, tuple[int, int | None]] = {
    **dict.fromkeys(("softmax", "softmin", "log_softmax", "logsumexp"), (1, None)),
    "gumbel_softmax": (4, -1),
    **dict.fromkeys(("mean", "sum", "argmax", "argmin", "max", "min", "amax", "amin"), (1, None)),
    **dict.fromkeys(("gather", "take_along_dim", "select", "narrow", "index_select"), (1, None)),
    **dict.fromkeys(("split", "chunk"), (2, 0)),
    **dict.fromkeys(("unbind", "cat", "stack"), (1, 0)),
    "roll": (2, None),
    "l1_normalize": (2, 1),
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
    "native_group_norm": "group_norm",
    "log_sigmoid": "logsigmoid",
    **dict.fromkeys(
        (f"upsample_{way}" for way in (
            "nearest1d", "nearest2d", "nearest3d", "linear1d", "bilinear2d", "trilinear3d",
            "nearest_exact1d", "nearest_exact2d", "nearest_exact3d",
        )),
        "interpolate",
    ),
}  # fmt: skip

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


def apply(call: Call) -> Scores | None:
    """Return what the call makes, or None if nothing is known of it.

    Example:
        >>> probs = apply(Call("softmax", (None,), dim=(1,), shapes=((8, 10),)))
        >>> probs.kind, probs.axis
        (<Kind.P: 16>, -1)
        >>> apply(Call("view", (probs,), shapes=((8, 10),), after=(4, 2, 10, 1))).axis
        -2
        >>> apply(Call("sub", (1.0, apply(Call("sigmoid", (None,)))))).kind
        <Kind.BP: 64>
    """
    made = written_out(call)
    if made is not None:
        return made
    if call.op in JOINS:
        return _join(call)
    if call.op in ("add", "sub", "mul", "div", "matmul"):
        return _arithmetic(call)
    if call.op not in ROWS:
        return None
    scores = call.operands[0] if call.operands else None
    scores = scores if isinstance(scores, Scores) else Scores(Kind.OTHER)
    return _bounded(call, scores) if call.op in _BOUNDED else _row(call, scores)


def _row(call: Call, scores: Scores) -> Scores | None:
    row, axis = ROWS[call.op], scores.axis
    along = is_along(call, axis) if row.axis in (Axis.REDUCES, Axis.INDEXES) else False
    if along is None:
        kind = transfer(call.op, scores.kind) | transfer(call.op, scores.kind, along=True)
    else:
        kind = transfer(call.op, scores.kind, along=along)
    if row.axis is Axis.MAKES or call.op == "one_hot":
        shape = call.after if call.op == "one_hot" else call.before
        axis = from_end(call.dim[0], shape) if call.dim else None
    elif along:
        axis = None
    elif Kind.OTHER not in kind:
        axis, is_lost = _resized(call, axis) if row.axis is Axis.SAME else moved(call, axis)
        if is_lost is not False and row.axis in (Axis.MOVES, Axis.SAME):
            kind = parts_of(kind) | (kind if is_lost is None else NOTHING)
    return _result(call, scores, kind, axis)


def _resized(call: Call, axis: int | None) -> Moved:
    """Return where the classes are after an elementwise call, and whether one stretched them."""
    before, after = call.before, call.after
    if axis is None or before is None or after is None or len(before) != len(after):
        return Moved(axis)
    return Moved(axis, is_lost=before[axis] != after[axis])


def parts_of(kind: Kind) -> Kind:
    """Return what single entries are: rows that were cut up sum to nothing.

    Example:
        >>> parts_of(Kind.P), parts_of(Kind.LOGITS)
        (<Kind.BP: 64>, <Kind.LOGITS: 1>)
    """
    return transfer("select", kind, along=True)


def _result(call: Call, scores: Scores, kind: Kind, axis: int | None) -> Scores | None:
    """Keep the origin of the kind as long as the kind stays."""
    if Kind.OTHER in kind or kind == NOTHING:
        return None
    row = ROWS.get(call.op)
    is_copy = keeps_values(call.op)
    is_kept = row is None or all(bit in row.out for bit in kind)
    if is_kept and kind == scores.kind and scores.made is not None:
        if is_copy and keeps_order(call.op):
            return replace(scores, axis=axis)
        before = scores.before if is_copy else None
        is_direct = scores.direct and keeps_direct(call.op)
        return Scores(kind, axis, scores.op, scores.made, is_direct, before)
    parts = is_copy and scores.made is not None
    return Scores(
        kind,
        axis,
        op=scores.op if parts else call.op,
        made=scores.made if parts else call.made,
        direct=not parts,
        before=None if scores.kind == Kind.OTHER else replace(scores, before=None, clue=None),
    )


def _bounded(call: Call, scores: Scores) -> Scores | None:
    """Cut values off at bounds; probabilities lose their sum unless next to nothing is cut."""
    given = (*call.operands[1:3], None, None)[:2]
    limit = 1.0 if call.op == "hardtanh" else math.inf
    low, high = (
        bound if isinstance(bound, float) else default
        for bound, default in zip(given, (-limit, limit), strict=True)
    )
    if call.op == "hardtanh":
        kind = Kind.BOUNDED if low >= -1 and high <= 1 else Kind.OTHER
        return _result(call, scores, Kind.NONNEG if low == 0 and high > 1 else kind, scores.axis)
    kind = transfer(call.op, scores.kind)
    is_kept = low <= EPSILON and high >= 1 - EPSILON
    if not is_kept and kind & (Kind.P | Kind.BP):
        kind = Kind.BP if low <= 1 and high >= 0 else Kind.OTHER
    return _result(call, scores, kind, scores.axis)


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
    made = apply(call) if call.op in ("softmax", "log_softmax") else None
    same_axis = made is not None and made.axis is not None and made.axis == scores.axis
    is_softmax_of_single = call.op == "softmax" and scores.kind == Kind.BP
    return "SO202" if (same_axis and scores.kind == Kind.P) or is_softmax_of_single else None


def _join(call: Call) -> Scores | None:
    """Join the operands: the result is one of them, entry by entry."""
    known = [scores for scores in call.operands if isinstance(scores, Scores)]
    if not known:
        return None
    first, kind = known[0], known[0].kind
    if len(known) < len(call.operands):
        is_filled = call.op == "where" and any(isinstance(x, float) for x in call.operands)
        masked = transfer("masked_fill", kind) if is_filled else Kind.OTHER
        return _result(call._replace(op="masked_fill"), first, masked, first.axis)
    if any(scores.kind != kind for scores in known):
        return None
    axes = {scores.axis for scores in known}
    axis = first.axis if len(axes) == 1 else None
    are_whole = None if None in axes else axis is not None and _joins_rows(call, axis)
    if not are_whole:
        kind = parts_of(kind) | (kind if are_whole is None else NOTHING)
    if call.op == "stack":
        axis = stacked(axis, call.dim, call.after)
    return _result(call, first, kind, axis)


def _joins_rows(call: Call, axis: int) -> bool | None:
    """Return whether the rows of the operands stay whole; None if that is not known."""
    if call.op == "stack":
        return True
    if call.op == "cat":
        along = is_along(call, axis)
        return None if along is None else not along
    if call.op != "where":
        return False
    if call.mask is None:
        return None
    return axis < -len(call.mask) or call.mask[axis] == 1


def _arithmetic(call: Call) -> Scores | None:
    left, right = (*call.operands, None)[:2]
    if isinstance(left, Scores) and isinstance(right, Scores):
        kind = transfer_pair(call.op, left.kind, right.kind)
        if Kind.LSE in right.kind or (call.op == "matmul" and (left.axis, right.axis) != (-1, -1)):
            return None  # `by_hand` knows whose sum it is
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


_BOUNDED = frozenset({"clamp", "clamp_min", "hardtanh"})
