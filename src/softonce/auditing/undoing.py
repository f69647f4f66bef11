"""The inverse of a softmax over something that sums to 1, and what rounding leaves of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

_NEWTON_STEPS = 30


def undo_softmax(probs: Values) -> Values:
    """Return the q of which these probabilities are the softmax, if q sums to 1.

    If `p = softmax(q)`, then `log p = q - L` with one unknown L in a row; the sum of q over the C
    classes is known to be 1, so that `L = (1 - sum(log p)) / C`.

    Args:
        probs: (N, C), all positive.

    Returns:
        (N, C), whose rows sum to 1. They are probabilities only if p was made so; see
        `is_possible`.

    Example:
        >>> q = np.array([[0.7, 0.2, 0.1]])
        >>> p = np.exp(q) / np.exp(q).sum()
        >>> np.round(undo_softmax(p), 12)
        array([[0.7, 0.2, 0.1]])
    """
    logs = np.log(probs)
    found: Values = logs + (1 - logs.sum(axis=1, keepdims=True)) / logs.shape[1]
    return found


def to_simplex(values: Values) -> Values:
    """Return the nearest rows (N, C) of probabilities to rows that rounding has moved below 0.

    Example:
        >>> to_simplex(np.array([[0.75, 0.25, 0.0], [1.1, 0.0, -0.1]]))
        array([[0.75, 0.25, 0.  ],
               [1.  , 0.  , 0.  ]])

    Source:
        Duchi et al. 2008, Efficient Projections onto the l1-Ball for Learning in High Dimensions,
        figure 1.
    """
    ranked = -np.sort(-values, axis=1)
    excess = (ranked.cumsum(axis=1) - 1) / np.arange(1, values.shape[1] + 1)
    num_kept = (ranked > excess).sum(axis=1)
    found: Values = np.maximum(values - excess[np.arange(len(values)), num_kept - 1][:, None], 0)
    return found


@dataclass(frozen=True)
class Inner:
    """What would have gone into a softmax.

    Args:
        values: (N, C), rows that sum to 1.
        error: (N, C), how far each may be off because the answers were rounded.
    """

    values: Values
    error: Values

    @property
    def least(self) -> tuple[Values, Values]:
        """(N,) the least value of each row, and its error."""
        return _pick(self.values, self.error, self.values.argmin(axis=1))

    def is_possible(self) -> NDArray[np.bool_]:
        """Return which rows (N,) may be probabilities: no value lies below 0."""
        missing, error = self.missing()
        is_above = (self.values >= -self.error).all(axis=1)
        possible: NDArray[np.bool_] = is_above & (missing >= -error)
        return possible

    def missing(self) -> tuple[Values, Values]:
        """Return what the largest value of each row (N,) lacks to 1, and the error of that."""
        largest, error = _pick(self.values, self.error, self.values.argmax(axis=1))
        return 1 - largest, error


@dataclass(frozen=True)
class FromTop(Inner):
    """The same, with the largest value computed from the largest probability only.

    The logarithms of a thousand rounded probabilities are off together; the largest is off the
    least. It is `M = log p + log(sum of exp q)`, and that sum is `C - M + exp M` up to the square
    of the rest, which is `1 - M` and shared by the other classes.
    """

    top: Values
    top_error: Values

    def missing(self) -> tuple[Values, Values]:
        """Return what the largest value of each row (N,) lacks to 1, and the error of that."""
        lacks, error = super().missing()
        is_better = self.top_error < error
        return np.where(is_better, 1 - self.top, lacks), np.where(is_better, self.top_error, error)


def undo_rounded(probs: Values, error: Values) -> Inner | None:
    """Undo a softmax whose results were rounded.

    Args:
        probs: (N, C).
        error: (N, C), how far each may be off.

    Returns:
        None if some may be 0, so that the logarithm says nothing.
    """
    if (probs <= error).any():
        return None
    of_log = -np.log1p(-error / probs)
    values = undo_softmax(probs)
    whole = of_log + of_log.mean(axis=1, keepdims=True)
    top, top_error = _from_top(probs, of_log)
    return FromTop(values, whole, top, top_error)


def _from_top(probs: Values, of_log: Values) -> tuple[Values, Values]:
    num_classes = probs.shape[1]
    largest, error = _pick(probs, of_log, probs.argmax(axis=1))
    top = np.full(len(probs), 0.5)
    for _ in range(_NEWTON_STEPS):  # concave with a positive slope
        total = num_classes + np.exp(top) - top
        step = (top - np.log(largest) - np.log(total)) / (1 - (np.exp(top) - 1) / total)
        top = np.clip(top - step, 0.0, 2.0)
    rest = np.clip(1 - top, 0.0, 1.0)
    curvature = (np.exp(rest) - 1 - rest) / num_classes
    slope = num_classes / (num_classes + math.e - 1)  # the least one, at a top of 1
    return top, (error + curvature) / slope


def _pick(values: Values, error: Values, places: NDArray[np.int64]) -> tuple[Values, Values]:
    rows = np.arange(len(values))
    return values[rows, places], error[rows, places]
