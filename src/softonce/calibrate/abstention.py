"""How sure an answer must be, so that those that are given reach a wanted accuracy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from softonce.decisions import Abstention
from softonce.errors import DataError
from softonce.plurals import format_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE = 0.95
"""The chance, over validation sets, with which a threshold that is offered keeps its promise."""


class CoveragePoint(NamedTuple):
    """If only answers of at least this probability are given: how many are, and how many right."""

    threshold: float
    coverage: float
    accuracy: float


def coverage_curve(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_]
) -> list[CoveragePoint]:
    """Return accuracy against coverage: a point for every threshold, from the surest answers on.

    Args:
        confidence: (N,) probability of the most probable class.
        correct: (N,) whether it is the right one.

    Source:
        El-Yaniv and Wiener 2010, On the Foundations of Noise-free Selective Classification.
    """
    order = np.argsort(-confidence, kind="stable")
    ranked, hits = confidence[order], np.cumsum(correct[order])
    is_last = np.append(ranked[1:] != ranked[:-1], True)  # equal answers are given together
    counts = np.flatnonzero(is_last) + 1
    return [
        CoveragePoint(float(ranked[count - 1]), count / len(ranked), hits[count - 1] / count)
        for count in counts.tolist()
    ]


def fit_abstention(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], *, accuracy: float
) -> Abstention:
    """Find the lowest threshold whose answers reach an accuracy, with 95 % confidence.

    A threshold at which the answers here are just accurate enough would disappoint every second
    time: what counts is an upper bound of the error, exact for a binomial number and for as many
    thresholds as are looked at.

    Args:
        confidence: (N,) probability of the most probable class, of images that had no part in
            training.
        correct: (N,) whether it is the right one.
        accuracy: of the answers that are given, between 0 and 1.

    Raises:
        DataError: if no threshold can promise that, as of few images.

    Source:
        Geifman and El-Yaniv 2017, Selective Classification for Deep Neural Networks, algorithm 1
        (selection with guaranteed risk).
    """
    curve = coverage_curve(confidence, correct)
    n = len(confidence)
    # Each step of a binary search may err: they share the 5 % evenly.
    num_steps = max(1, math.ceil(math.log2(len(curve))))
    chance = (1 - CONFIDENCE) / num_steps
    found, low, high = None, 0, len(curve) - 1
    for _ in range(num_steps):
        middle = (low + high + 1) // 2
        point = curve[middle]
        answered = round(point.coverage * n)
        wrong = answered - round(point.accuracy * answered)
        if binomial_tail(wrong, answered, 1 - accuracy) <= chance:
            found, low = point, middle
        else:
            high = max(low, middle - 1)
    if found is None:
        raise DataError(
            f"expected images that show at which probability {accuracy:.4g} of the answers are "
            f"right, found {format_count(n, 'image')} that do not: give more images, or a lower "
            "accuracy"
        )
    return Abstention(
        threshold=found.threshold,
        accuracy=accuracy,
        confidence=CONFIDENCE,
        coverage=found.coverage,
        n=n,
    )


def binomial_tail(k: int, n: int, prob: float) -> float:
    """Return the chance of at most k of n events of a probability, below 1.

    Example:
        >>> round(binomial_tail(0, 59, 0.05), 4)
        0.0485
    """
    counts = np.arange(k + 1)
    steps = np.log(np.maximum(n - counts[:-1], 1)) - np.log(counts[1:])
    ways = np.concatenate([[0.0], np.cumsum(steps)])
    logs = ways + counts * math.log(prob) + (n - counts) * math.log1p(-prob)
    return float(min(1.0, np.exp(logs).sum()))
