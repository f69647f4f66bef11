"""Probabilities that arithmetic writes out: a softmax, its logarithm, a mean, a pair of `1 - p, p`.

Each needs two facts of one tensor, so what is found on the way is kept as a clue: this tensor is
the exponential of that one, the sum of it, its complement, a share of probabilities.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from softonce.checker.kinds import EPSILON, ROWS, Axis, Kind
from softonce.checker.moves import from_end, is_along, keeps_order
from softonce.checker.tags import Call, Clue, Scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from softonce.checker.tags import Shape

BY_HAND = "exp(x) / sum(exp(x))"
_ONE = 1e-6
"""How far the weights of a mean may be from 1, after their rounding."""


def written_out(call: Call) -> Scores | None:
    """Return what the call makes if it is one of these forms or a step to one; else None.

    Example:
        >>> logits = Scores(Kind.LOGITS)
        >>> e = written_out(Call("exp", (logits,), shapes=((8, 10),)))
        >>> total = written_out(
        ...     Call("sum", (e,), dim=(1,), shapes=((8, 10),), after=(8, 1))
        ... )
        >>> written_out(Call("div", (e, total), shapes=((8, 10), (8, 1)))).kind
        <Kind.P: 16>
    """
    form = _FORMS.get(call.op)
    # A damaged graph, or source that is not finished, may lack an operand.
    has_operands = len(call.operands) >= (2 if form in _OF_TWO else 1)
    found = form(call) if form is not None and has_operands else None
    if found is None and call.operands and isinstance(call.operands[0], Scores):
        found = _moved_clue(call, call.operands[0])
    return found


def _exponential(call: Call) -> Scores | None:
    """Take `exp(x)`; what is exactly that of log-probabilities is in the table."""
    scores = call.operands[0]
    if isinstance(scores, Scores) and scores.kind & (Kind.LOGP | Kind.BLOGP):
        return None
    source = scores.token if isinstance(scores, Scores) else None
    return _clued(call, Clue("exp", source=source))


def _summed(call: Call) -> Scores | None:
    """Sum exponentials over one axis, or shares of probabilities over another axis."""
    scores, before = call.operands[0], call.before
    axis = from_end(call.dim[0], before) if len(call.dim) == 1 else None
    if not isinstance(scores, Scores) or before is None or axis is None:
        return None
    is_kept = call.after is not None and len(call.after) == len(before)
    if call.op == "logsumexp":
        clue = Clue("lse", scores.token, None, before, axis, is_kept)
        return Scores(Kind.LSE, None, call.op, call.made, clue=clue)
    if scores.clue is not None and scores.clue.form == "exp":
        return _clued(call, Clue("total", scores.token, scores.clue.source, before, axis, is_kept))
    number = before[axis]
    if is_along(call, scores.axis) is False and number > 0:
        share = _share_of(scores)
        if share is not None:
            table = replace(scores, axis=_axis_without(scores.axis, axis, is_kept=is_kept))
            return _weighed(table, share, number * share.weight)
    return None


def _axis_without(axis: int | None, removed: int | None, *, is_kept: bool) -> int | None:
    if axis is None or removed is None or is_kept:
        return axis
    return axis + (removed > axis)


def _logarithm(call: Call) -> Scores | None:
    """Take the logarithm of a sum of exponentials."""
    scores = call.operands[0]
    if not isinstance(scores, Scores) or scores.clue is None or scores.clue.form != "total":
        return None
    total = scores.clue
    if total.source is None:
        return None
    clue = total._replace(form="lse", token=total.source)
    return Scores(Kind.LSE, None, "logsumexp", call.made, clue=clue)


def _divided(call: Call) -> Scores | None:
    """Divide exponentials by their sum, or probabilities by a number."""
    left, right = call.operands[:2]
    if isinstance(left, Scores) and isinstance(right, float):
        return _scaled(left, 1 / right if right else math.nan)
    total = _clue_of(right, "total", left, call.before)
    if total is None:
        return None
    name = BY_HAND if isinstance(left, Scores) and left.kind == Kind.OTHER else "x / sum(x)"
    return Scores(Kind.P, total.axis, name, call.made)


def _multiplied(call: Call) -> Scores | None:
    left, right = call.operands[:2]
    if isinstance(left, float):
        left, right = right, left
    if isinstance(left, Scores) and isinstance(right, float):
        return _scaled(left, right)
    return None


def _subtracted(call: Call) -> Scores | None:
    """Subtract a logsumexp from its own scores, or probabilities from 1."""
    left, right = call.operands[:2]
    total = _clue_of(right, "lse", left, call.before)
    if total is not None:
        return Scores(Kind.LOGP, total.axis, "x - logsumexp(x)", call.made)
    if left == 1.0 and isinstance(right, Scores) and right.kind == Kind.BP:
        clue = Clue("complement", right.token, shape=_last(call.shapes))
        return Scores(Kind.BP, right.axis, right.op, right.made, direct=False, clue=clue)
    return None


def _floored(call: Call) -> Scores | None:
    """Keep a total that is kept away from 0, as `F.normalize` does: `total.clamp_min(1e-12)`."""
    scores, low, high = (*call.operands, None, None)[:3]
    is_floor = isinstance(low, float) and low <= EPSILON and high is None
    return scores if isinstance(scores, Scores) and _is_total(scores) and is_floor else None


def _is_total(scores: Scores) -> bool:
    return scores.clue is not None and scores.clue.form == "total"


def _added(call: Call) -> Scores | None:
    """Add shares of probabilities over one axis, or next to nothing to a total."""
    left, right = call.operands[:2]
    if isinstance(left, float):
        left, right = right, left
    if isinstance(left, Scores) and isinstance(right, float):
        return left if _is_total(left) and abs(right) <= EPSILON else None
    if not isinstance(left, Scores) or not isinstance(right, Scores):
        return None
    one, other = _share_of(left), _share_of(right)
    same_shape = len(call.shapes) > 1 and call.shapes[0] is not None
    same_shape = same_shape and call.shapes[0] == call.shapes[1]
    if one is None or other is None or one.kind != other.kind or not same_shape:
        return None
    if one.kind == Kind.P and (left.axis is None or left.axis != right.axis):
        return None
    return _weighed(left, one, one.weight + other.weight)


def _paired(call: Call) -> Scores | None:
    """Put `1 - p` and `p` side by side, on an axis of their own."""
    if len(call.operands) != 2 or not call.dim or len(set(call.shapes)) != 1:
        return None
    one, other = call.operands
    if not isinstance(one, Scores) or not isinstance(other, Scores):
        return None
    shape = call.before
    if call.op == "cat" and (shape is None or shape[call.dim[0]] != 1):
        return None
    axis = from_end(call.dim[0], call.after)
    for first, second in ((one, other), (other, one)):
        if _clue_of(first, "complement", second, None) is not None:
            return Scores(Kind.P, axis, second.op, second.made, direct=False)
    return None


def _clue_of(part: object, form: str, whole: object, shape: Shape) -> Clue | None:
    """Return the clue of `part` if it is of that form, made of `whole`, and broadcasts with it."""
    if not isinstance(part, Scores) or not isinstance(whole, Scores) or part.clue is None:
        return None
    clue, other = part.clue, whole.clue
    # `x.exp() / x.exp().sum()` takes the exponential twice, of one tensor.
    is_of_same = other is not None and other.form == "exp" and other.source is not None
    is_of_same = is_of_same and other is not None and other.source is clue.source
    same = clue.form == form and clue.is_kept and (clue.token is whole.token or is_of_same)
    return clue if same and (shape is None or clue.shape == shape) else None


def _share_of(scores: Scores) -> Clue | None:
    """Return the scores as a share of probabilities; all of them weigh 1."""
    if scores.clue is not None and scores.clue.form == "share":
        return scores.clue
    return Clue("share", kind=scores.kind) if scores.kind in (Kind.P, Kind.BP) else None


def _scaled(scores: Scores, factor: float) -> Scores | None:
    share = _share_of(scores)
    if share is None or not factor > 0 or not math.isfinite(factor) or factor == 1:
        return None
    return _weighed(scores, share, factor * share.weight)


def _weighed(scores: Scores, share: Clue, weight: float) -> Scores:
    """Return a share of that weight; a weight of 1 makes probabilities of it again."""
    is_whole = abs(weight - 1) <= _ONE
    clue = None if is_whole else share._replace(weight=weight)
    kind = share.kind if is_whole else Kind.OTHER
    return Scores(kind, scores.axis, scores.op, scores.made, direct=False, clue=clue)


def _moved_clue(call: Call, scores: Scores) -> Scores | None:
    """Keep the clue of a tensor of which nothing else is known, as long as the order stays."""
    if scores.kind & ~(Kind.OTHER | Kind.LSE) or scores.clue is None:
        return None
    if call.op in ("expand", "expand_as") and scores.clue.form in ("total", "lse"):
        return scores  # along the axis that was summed away, as the arithmetic after it would
    if not _is_copy(call):
        return None
    if call.before == call.after or ROWS[call.op].axis is Axis.SAME:
        return scores
    clue, after, before = scores.clue, call.after, call.before
    if clue.form not in ("total", "lse") or after is None or before is None:
        return None
    return _kept_again(scores, clue, before, after)


def _is_copy(call: Call) -> bool:
    row = ROWS.get(call.op)
    return row is not None and keeps_order(call.op) and row.out == ROWS["detach"].out


def _kept_again(
    scores: Scores, clue: Clue, before: tuple[int, ...], after: tuple[int, ...]
) -> Scores | None:
    """Put the axis of a total back where it was summed away."""
    axis = clue.axis
    if axis is None or clue.is_kept or not -len(after) <= axis or after[axis] != 1:
        return None
    place = len(after) + axis
    if after[:place] + after[place + 1 :] != before:
        return None
    return replace(scores, clue=clue._replace(is_kept=True))


def _clued(call: Call, clue: Clue) -> Scores:
    return Scores(Kind.OTHER, None, call.op, call.made, clue=clue)


def _last(shapes: tuple[Shape, ...]) -> Shape:
    return shapes[-1] if shapes else None


def _normalized(call: Call) -> Scores | None:
    """Divide what is at least 0 by its sum, in one operation of its own."""
    scores = call.operands[0] if call.operands else None
    if not isinstance(scores, Scores):
        return None
    axis = from_end(call.dim[0], call.before) if call.dim else -1
    if scores.clue is not None and scores.clue.form == "exp":
        return Scores(Kind.P, axis, "normalize(x, p=1)", call.made)
    if scores.kind & ~(Kind.P | Kind.BP | Kind.NONNEG):
        return None
    if scores.kind == Kind.P and scores.axis == axis:
        return scores
    return Scores(Kind.P, axis, scores.op, scores.made, direct=False)


_OF_TWO = (_divided, _multiplied, _subtracted, _added)
_FORMS: dict[str, Callable[[Call], Scores | None]] = {
    "exp": _exponential,
    "sum": _summed,
    "logsumexp": _summed,
    "log": _logarithm,
    "div": _divided,
    "mul": _multiplied,
    "sub": _subtracted,
    "add": _added,
    "clamp": _floored,
    "clamp_min": _floored,
    "cat": _paired,
    "stack": _paired,
    "l1_normalize": _normalized,
}
