"""What numbers are by their range and their sums: logits, logarithms, shares of 1 or of 100."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from softonce.auditing.digits import Precision, find_precision
from softonce.plurals import format_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

Kind: TypeAlias = Literal["logits", "log-probabilities", "probabilities", "sigmoids", "classes"]
"""`sigmoids` are probabilities of each class by itself, `classes` are rows of 0 and 1."""

_SPREADS = 4.0
"""Sums of rounded numbers are within so many standard deviations of a uniform rounding error."""

_BASES = {"natural": 1.0, "base-10": math.log(10), "base-2": math.log(2)}
_UNTOLD = 0.5
"""Sums that rounding may change by more than this part of the whole would tell nothing."""


@dataclass(frozen=True)
class Scale:
    """What the numbers are.

    Args:
        kind: of the numbers.
        evidence: what shows it, in words.
        precision: of the numbers as they are given.
        factor: what probabilities were multiplied by, such as 100.
        top_k: how many classes an answer mentions, if not all.
        unit: of logarithms, in nats; 1 for natural ones.
        axis: over which shares sum to 1: 1 for the classes, 0 for the answers, which is a mistake.
    """

    kind: Kind
    evidence: str
    precision: Precision
    factor: float = 1.0
    top_k: int | None = None
    unit: float = 1.0
    axis: int = 1


def find_scale(values: Values) -> Scale:
    """Return what the numbers are by their range and sums.

    Args:
        values: (N, C); NaN where an answer does not mention a class, -inf for the logarithm of 0.

    Example:
        >>> find_scale(np.array([[90.0, 10.0], [25.0, 75.0]])).factor
        100.0
        >>> find_scale(np.array([[-1.0, 3.0], [2.0, 0.0]])).kind
        'logits'
    """
    precision = find_precision(values)
    top_k = _find_top_k(values, precision)
    seen = values[np.isfinite(values)]
    if (seen < 0).any() or np.isneginf(values).any():
        return _find_logarithm(values, precision, top_k)
    if ((seen == 0) | (seen == 1)).all():
        return Scale("classes", "every number is 0 or 1", precision, top_k=top_k)
    if top_k is not None:
        return _scale_of_cut(values, precision, top_k)
    return _find_shares(values, precision)


def _find_top_k(values: Values, precision: Precision) -> int | None:
    """Return how many classes every answer mentions, if that is not all."""
    num_classes = values.shape[1]
    mentioned = np.isfinite(values) & (values != 0) if (values >= 0).any() else np.isfinite(values)
    if np.isnan(values).any():
        mentioned = ~np.isnan(values)
        return int(mentioned.sum(axis=1).max())
    counts = np.unique(mentioned.sum(axis=1))
    # Zeros that rounding made are in different numbers in different answers.
    is_cut = len(counts) == 1 and 1 < counts[0] < num_classes and len(values) > 1
    rounds_to_zero = precision.absolute * 2 >= values[mentioned].min(initial=np.inf)
    return int(counts[0]) if is_cut and not rounds_to_zero else None


def _find_logarithm(values: Values, precision: Precision, top_k: int | None) -> Scale:
    peak = np.nanmax(values)
    slack = precision.error(np.where(np.isfinite(values), values, 0.0)).max(axis=1)
    low, high = np.nanmin(values), peak
    for name, unit in _BASES.items():
        with np.errstate(over="ignore"):
            sums = np.nansum(np.exp(np.minimum(values, 50.0) * unit), axis=1)
        tolerance = 1e-5 + np.expm1(np.minimum(slack * unit, 1.0))
        is_one = np.abs(sums - 1) <= tolerance
        if peak <= slack.max() and (is_one | (sums < 1) if top_k and unit == 1 else is_one).all():
            words = f"none is above 0, and their {name} exponentials sum to 1"
            return Scale("log-probabilities", words, precision, top_k=top_k, unit=unit)
    words = (
        f"they lie between {low:.4g} and {high:.4g}; neither they nor their exponentials sum to 1"
    )
    return Scale("logits", words, precision, top_k=top_k)


def _scale_of_cut(values: Values, precision: Precision, top_k: int) -> Scale:
    sums, peak = np.nansum(values, axis=1), np.nanmax(values)
    words = (
        f"answers mention at most {top_k} of {format_count(values.shape[1], 'class')}, and sum to "
    )
    words += f"{sums.min():.4g} to {sums.max():.4g}"
    tolerance = _tolerance(values, precision)
    if (np.abs(sums - 1) <= tolerance).all() or (peak <= 1 and (sums <= 1 + tolerance).all()):
        return Scale("probabilities", words, precision, top_k=top_k)
    if peak <= 100 and (sums <= 100 + tolerance).all():
        return Scale("probabilities", words, precision, 100.0, top_k)
    return Scale("sigmoids" if peak <= 1 else "logits", words, precision, top_k=top_k)


def _find_shares(values: Values, precision: Precision) -> Scale:
    """Tell shares of a whole from numbers that are each by themselves; all are at least 0."""
    sums, peak = values.sum(axis=1), values.max()
    for whole in (1.0, 100.0):
        tolerance = _tolerance(values, precision, whole)
        if (np.abs(sums - whole) <= tolerance).all() and peak <= whole * (1 + precision.relative):
            words = f"all {len(values):,} answers sum to {whole:g}, to {_worst(sums, whole)}"
            return Scale("probabilities", words, precision, whole)
    downwards = values.sum(axis=0)
    whole = float(np.round(downwards.mean()))
    slack = _tolerance(values.T, precision)
    if whole >= 1 and (np.abs(downwards - whole) <= slack).all():
        words = f"each class sums to {whole:g} over the answers, and the answers do not sum to 1"
        return Scale("probabilities", words, precision, axis=0)
    words = f"they lie between {values.min():.4g} and {peak:.4g}, and the sums of answers between "
    words += f"{sums.min():.4g} and {sums.max():.4g}"
    return Scale("sigmoids" if peak <= 1 else "logits", words, precision)


def _tolerance(values: Values, precision: Precision, whole: float = 1.0) -> Values:
    """Return how far the sum of each row (N,) may be from the whole."""
    held = np.nan_to_num(values)
    systematic = precision.error(held).sum(axis=1)
    error = np.square(precision.error(held)).sum(axis=1) / 3  # uniform between its bounds
    likely = _SPREADS * np.sqrt(error)
    # Equal numbers are rounded alike, and their errors add up; many of them could be anything.
    found: Values = 1e-5 * whole + np.where(systematic <= _UNTOLD * whole, systematic, likely)
    return found


def _worst(sums: Values, whole: float) -> str:
    return f"{np.abs(sums - whole).max() or 1e-16:.0e}"
