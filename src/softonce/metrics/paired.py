"""Two classifiers on the same samples: what pairs say of their difference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from softonce.metrics.intervals import wilson

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Agreement(NamedTuple):
    """How many samples both, only the first, only the second, and neither classify rightly."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @classmethod
    def of(cls, first: NDArray[np.bool], second: NDArray[np.bool]) -> Agreement:
        """Count the samples; (N,) whether each classifier is right."""
        pairs = ((first, second), (first, ~second), (~first, second), (~first, ~second))
        return cls(*(int((one & other).sum()) for one, other in pairs))

    @property
    def n(self) -> int:
        """The number of samples."""
        return sum(self)

    def p_value(self) -> float:
        """Return McNemar's exact p-value: how likely such a difference is if there is none.

        Example:
            >>> round(Agreement(80, 1, 9, 10).p_value(), 4)
            0.0215

        Source:
            McNemar 1947, Note on the sampling error of the difference between correlated
            proportions or percentages; exact by the binomial distribution.
        """
        num, fewer = self.only_first + self.only_second, min(self.only_first, self.only_second)
        whole = math.lgamma(num + 1) - num * math.log(2)
        tail = sum(
            math.exp(whole - math.lgamma(k + 1) - math.lgamma(num - k + 1))
            for k in range(fewer + 1)
        )
        return min(1.0, 2 * tail)

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the second accuracy minus the first.

        It is made of Wilson's two intervals and the correlation of the pairs, so that it is no
        point if both are always right.

        Example:
            >>> [round(bound, 3) for bound in Agreement(80, 1, 9, 10).interval()]
            [0.016, 0.15]

        Source:
            Newcombe 1998, Improved confidence intervals for the difference between binomial
            proportions based on paired data, method 10.
        """
        first, second = self.both + self.only_first, self.both + self.only_second
        one, other = first / self.n, second / self.n
        (low1, high1), (low2, high2) = wilson(first, self.n), wilson(second, self.n)
        shared = self._correlation()
        difference = other - one
        below = _side(other - low2, high1 - one, shared)
        above = _side(high2 - other, one - low1, shared)
        return difference - below, difference + above

    def _correlation(self) -> float:
        """Return the correlation of the pairs, corrected for continuity as Newcombe does."""
        first, second = self.both + self.only_first, self.both + self.only_second
        margins = first * (self.n - first) * second * (self.n - second)
        if not margins:
            return 0.0
        excess = float(self.both * self.neither - self.only_first * self.only_second)
        if excess > 0:
            excess = max(excess - self.n / 2, 0)
        return excess / math.sqrt(margins)


def _side(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))
