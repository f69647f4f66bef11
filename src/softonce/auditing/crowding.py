"""Whether numbers that never pass a bound crowd at it, as they do if the bound is why.

A number that may not pass 1, because it is itself a probability, comes as near to 1 as its network
is sure: by orders of magnitude. A number that happens to stay below 1 has no reason to stop there,
and there is no more of it in the last fifth before the bound than in any other: its density falls
towards its own end. So of the rows within a window of the bound, at most a fifth lie in the fifth
of the window that touches it, and how improbable it is to find more is the binomial distribution's
to say. Windows are narrow, so that a network whose numbers end near 1 by chance has no crowd in
them either: it would need the spread of a fiftieth, at just this place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from softonce.calibrate.abstention import binomial_tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

_SHARE = 0.2
"""Of a window, the part that touches the bound."""

_WINDOWS = (0.1, 0.01, 1e-3, 1e-4)
"""Wider ones would hold whole distributions of flat networks."""

WIDEST = _SHARE * _WINDOWS[0]
"""Gaps that are known no better than this have no crowd."""

IMPROBABLE = 1e-6
"""A crowd is one if chance makes it less often than this, in all windows and tests together."""

_NUM_TESTS = 20
"""Windows, bounds and levels that are tried on one file, at most."""

_LEAST_OF_A_CLASS = 3
"""Rows of each of two classes that a crowd must hold: one answer that is given always is none."""

_EXACT = 2e-3
"""Equal rows count once, unless they are the bound itself to this precision: of a tree there are
few different answers, and one of them may lie near the bound."""


@dataclass(frozen=True)
class Crowd:
    """Rows at a bound.

    Args:
        near: how many lie in the part of the window that touches the bound.
        within: how many lie in the window.
        window: its width.
        chance: how often there would be such a crowd at a bound that means nothing, at most.
    """

    near: int
    within: int
    window: float
    chance: float

    @property
    def is_one(self) -> bool:
        """Whether chance does not explain it."""
        return self.chance <= IMPROBABLE


NOBODY = Crowd(0, 0, _WINDOWS[0], 1.0)


def find_crowd(gap: Values, error: Values, group: NDArray[np.int64], key: Values) -> Crowd:
    """Return the least probable crowd.

    Args:
        gap: (N,) how far each row is from the bound; all at least 0, up to the error.
        error: (N,) of the gap.
        group: (N,) the class of each row.
        key: (N,) a number by which equal rows are known.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> sure, any_ = 10 ** -rng.uniform(0, 6, 200), rng.uniform(0, 1, 200)
        >>> error, group = np.full(200, 1e-9), np.arange(200) % 2
        >>> [find_crowd(gap, error, group, gap).is_one for gap in (sure, any_)]
        [True, False]
    """
    kept = _once(gap, error, key)
    gap, error, group = gap[kept], error[kept], group[kept]
    crowds = [_crowd(gap, error, group, window) for window in _WINDOWS]
    return min([*crowds, NOBODY], key=lambda crowd: crowd.chance)


def _once(gap: Values, error: Values, key: Values) -> NDArray[np.int64]:
    """Return the rows that count."""
    _, first = np.unique(np.round(key, 12), return_index=True)
    is_first = np.zeros(len(gap), np.bool_)
    is_first[first] = True
    at_bound = (np.abs(gap) <= error) & (error <= _EXACT)
    return np.flatnonzero(is_first | at_bound)


def _crowd(gap: Values, error: Values, group: NDArray[np.int64], window: float) -> Crowd:
    inner = _SHARE * window
    is_near, is_within = gap < inner, gap < window
    near, within = int(is_near.sum()), int(is_within.sum())
    counts = np.bincount(group[is_near]) if near else np.zeros(1, np.int64)
    if np.sort(counts)[-2:].min() < _LEAST_OF_A_CLASS or len(counts) < 2:
        return NOBODY
    # A row whose error is wider than the inner part may be on either side of its end.
    if np.median(error[is_within]) > inner:
        return NOBODY
    chance = _NUM_TESTS * binomial_tail(within - near, within, 1 - _SHARE)
    return Crowd(near, within, window, min(1.0, chance))
