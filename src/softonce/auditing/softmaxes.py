"""How many softmaxes made these probabilities: decided over all answers together.

The bounds that tell, of what would have gone into the last softmax (`undo_softmax`):

- no value lies below 0 (so that none lies above 1): true of every answer of a second softmax, and
  of those of a flat network as well;
- the values crowd at these bounds, since what went in is a network's probabilities: see `crowding`.

What went into a softmax of sigmoids is known up to a constant; its range is at most 1, and crowds
there if the classes are told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from softonce.auditing.crowding import NOBODY, WIDEST, find_crowd
from softonce.auditing.undoing import undo_rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from softonce.auditing.crowding import Crowd
    from softonce.auditing.undoing import Inner

    Values = NDArray[np.float64]

MAX_EXTRA = 3
"""Softmaxes beyond the first that are looked for; rounding hides more of them."""

Verdict: TypeAlias = Literal["none", "once", "more", "sigmoids", "either", "open", "squashed"]
"""`none` are numbers that no softmax made, `squashed` sigmoids of sigmoids, `open` flat
answers, which may have any number of softmaxes; `either` is a second softmax or a softmax of
sigmoids, which two classes do not tell apart."""


@dataclass(frozen=True)
class Softmaxes:
    """How many softmaxes there are.

    Args:
        verdict: which of the kinds.
        extra: softmaxes beyond the first, if the verdict is `more` or `either`.
        crowd: what shows it.
        inner: what went into the last but `extra` of them, if that is known.
        outside: the share of answers that lie beyond the bound of a second softmax.
        reason: why it is open, if it is.
    """

    verdict: Verdict
    extra: int = 0
    crowd: Crowd = NOBODY
    inner: Inner | None = None
    outside: float = 0.0
    reason: str = ""


NEVER = Softmaxes("none")


def count_softmaxes(probs: Values, error: Values) -> Softmaxes:
    """Tell how many softmaxes made these probabilities.

    Args:
        probs: (N, C), each row sums to 1.
        error: (N, C), how far each may be off because it was rounded.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> logits = 5 * rng.normal(size=(200, 4))
        >>> once = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        >>> twice = np.exp(once) / np.exp(once).sum(1, keepdims=True)
        >>> [count_softmaxes(p, 1e-14 * p).verdict for p in (once, twice)]
        ['once', 'more']
    """
    held, of_held, reason = probs, error, _FLAT
    for extra in range(1, MAX_EXTRA + 1):
        inner = undo_rounded(held, of_held)
        if inner is None and extra == 1:
            return _hidden(probs, error)
        if inner is None:
            break
        possible = inner.is_possible()
        if not possible.all() and extra == 1:
            return _of_sigmoids(probs, error) or Softmaxes("once", outside=_share(~possible))
        if not possible.all():
            break
        crowd = _crowd_of(inner)
        if crowd.is_one:
            verdict: Verdict = "either" if probs.shape[1] == 2 and extra == 1 else "more"
            return Softmaxes(verdict, extra, crowd, inner)
        if extra == 1 and np.median(inner.missing()[1]) > WIDEST:
            reason = _ROUNDED.format(num=probs.shape[1])
        held, of_held = inner.values, inner.error
    return Softmaxes("open", reason=reason)


_FLAT = (
    "no answer is surer than a second softmax allows, and none comes near to that bound: a flat "
    "network gives such answers, and so does a second softmax behind an unsure one"
)


_ROUNDED = (
    "no answer is surer than a second softmax allows, and over {num} classes these rounded numbers "
    "do not tell whether one comes near to that bound: give more digits"
)


def _hidden(probs: Values, error: Values) -> Softmaxes:
    """Return the verdict if a probability cannot be told from 0."""
    least = 1 / (probs.shape[1] - 1 + np.e)  # that a second softmax can give
    below = (probs + error < least).any(axis=1)
    if below.any():
        return _of_sigmoids(probs, error) or Softmaxes("once", outside=_share(below))
    return Softmaxes("open", reason=_ROUNDED.format(num=probs.shape[1]))


def _crowd_of(inner: Inner) -> Crowd:
    group = inner.values.argmax(axis=1)
    missing, error = inner.missing()
    least, least_error = inner.least
    num_classes = inner.values.shape[1]
    # C times the least value lies between 0 and 1, as what the largest lacks to 1 does.
    at_zero = find_crowd(num_classes * least, num_classes * least_error, group, missing)
    return min(find_crowd(missing, error, group, missing), at_zero, key=lambda crowd: crowd.chance)


def _of_sigmoids(probs: Values, error: Values) -> Softmaxes | None:
    """Return the verdict if a softmax of numbers between 0 and 1 is the better explanation."""
    if (probs <= error).any():
        return None
    logs, of_log = np.log(probs), -np.log1p(-error / probs)
    width = logs.max(axis=1) - logs.min(axis=1)
    slack = 2 * of_log.max(axis=1)
    if (width > 1 + slack).any():
        return None
    crowd = find_crowd(1 - width, slack, logs.argmax(axis=1), width)
    if crowd.is_one:
        return Softmaxes("sigmoids", 1, crowd)
    reason = (
        "the largest and the least probability never differ by more than the factor e, as in a "
        "softmax of sigmoids, and none comes near to that bound: a flat network gives such answers"
    )
    return Softmaxes("open", reason=reason)


def find_second_sigmoid(shares: Values, error: Values) -> Crowd:
    """Return the crowd at the bounds of what went into sigmoids, 0 and 1; nobody if one is beyond.

    Args:
        shares: (N, C), between 0 and 1, each class by itself.
        error: (N, C), how far each may be off.

    Example:
        >>> logits = 5 * np.random.default_rng(0).normal(size=(100, 3))
        >>> once = 1 / (1 + np.exp(-logits))
        >>> twice = 1 / (1 + np.exp(-once))
        >>> [find_second_sigmoid(s, 1e-12 * s).is_one for s in (once, twice)]
        [False, True]
    """
    room = shares * (1 - shares)
    if (room <= error).any():
        return NOBODY
    inner, slack = (np.log(shares) - np.log1p(-shares)).ravel(), (error / room).ravel()
    gap = np.minimum(inner, 1 - inner)
    if (gap < -slack).any():
        return NOBODY
    return find_crowd(gap, slack, (inner > 0.5).astype(np.int64), inner)


def _share(rows: NDArray[np.bool_]) -> float:
    return float(rows.mean())
