"""How finely numbers are given: decimals, significant digits, or the bits of a float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Values = NDArray[np.float64]

_MAX_SAMPLED = 20_000
"""So many numbers decide; more would agree with them."""

_FEW_DECIMALS, _MAX_DECIMALS = 6, 9
"""Up to the first, decimals explain numbers better than significant digits do. Numbers of more
than the second are taken for unrounded ones: float32 has 7 digits, float64 16."""

_COMPUTED = 1e-6
"""Relative error of a softmax that was computed in float32 over a thousand classes; found by
comparison with float64 it is 4e-7."""

_EXACT = 1e-14
"""The same in float64, with the logarithm that follows."""


@dataclass(frozen=True)
class Precision:
    """How far a number may lie from the one that was computed.

    Args:
        name: in words, such as `4 decimals` or `float32`.
        absolute: half a unit of the last decimal, 0 if there is none.
        relative: what comes on top, as a part of the number.
        decimals: how many, if the numbers were rounded so.
    """

    name: str
    absolute: float
    relative: float
    decimals: int | None = None

    def error(self, values: Values) -> Values:
        """Return the largest error of each number."""
        found: Values = self.absolute + self.relative * np.abs(values)
        return found

    def scaled(self, factor: float) -> Precision:
        """Return the precision of the same numbers multiplied by a factor."""
        return Precision(self.name, self.absolute * factor, self.relative, self.decimals)


def find_precision(values: Values) -> Precision:
    """Return how finely the numbers are given.

    Args:
        values: of any shape; NaN and infinities are passed over.

    Example:
        >>> find_precision(np.array([0.25, 0.7311])).name
        '4 decimals'
        >>> find_precision(np.random.default_rng(0).random(99, np.float32).astype(float)).name
        'float32'
        >>> find_precision(np.random.default_rng(0).random(99)).name
        'float64'
    """
    flat = values[np.isfinite(values)]
    flat = flat[:: max(1, len(flat) // _MAX_SAMPLED)]
    for precision, rounded in _candidates():
        if np.allclose(rounded(flat), flat, rtol=1e-13, atol=0):
            return precision
    return Precision("float64", 0.0, _EXACT)


def _candidates() -> Iterator[tuple[Precision, Callable[[Values], Values]]]:
    """Yield what numbers may have been rounded to, the coarsest first."""
    for decimals in range(_FEW_DECIMALS + 1):
        yield _of_decimals(decimals)
    yield Precision("bfloat16", 0.0, 2.0**-8), _as_bfloat16
    yield Precision("float16", 2.0**-25, 2.0**-11), lambda x: x.astype(np.float16).astype(float)
    for digits in range(2, 6):
        yield _of_significant(digits)
    for decimals in range(_FEW_DECIMALS + 1, _MAX_DECIMALS + 1):
        yield _of_decimals(decimals)
    yield Precision("float32", 0.0, _COMPUTED), lambda x: x.astype(np.float32).astype(float)
    for digits in range(6, 10):
        yield _of_significant(digits)


def _of_decimals(decimals: int) -> tuple[Precision, Callable[[Values], Values]]:
    name = f"{decimals} decimal{'' if decimals == 1 else 's'}"
    precision = Precision(name, 0.5 * 10.0**-decimals, _COMPUTED, decimals)
    return precision, lambda x: np.round(x, decimals)


def _of_significant(digits: int) -> tuple[Precision, Callable[[Values], Values]]:
    def rounded(values: Values) -> Values:
        texts = [f"{value:.{digits - 1}e}" for value in values.tolist()]
        return np.array(texts, np.float64)

    relative = 0.5 * 10.0 ** (1 - digits) + _COMPUTED
    return Precision(f"{digits} significant digits", 0.0, relative), rounded


def _as_bfloat16(values: Values) -> Values:
    bits = values.astype(np.float32).view(np.uint32)
    # Adding half of the last place makes the cut a rounding.
    cut = ((bits + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)
    found: Values = cut.astype(np.float64)
    return found
