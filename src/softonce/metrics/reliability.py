"""Confidence against accuracy, in bins: the reliability diagram and the calibration errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    Column: TypeAlias = NDArray[Any]

NUM_BINS = 15
"""As in Guo et al. 2017, so that figures compare."""


class ReliabilityBin(TypedDict):
    """The samples whose confidence lies in (low, high]; means are None if there is none."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


def bin_index(confidence: Column) -> NDArray[np.int64]:
    """Index of the bin (low, high] of equal width that holds each confidence."""
    edges = np.arange(1, NUM_BINS) / NUM_BINS
    return np.searchsorted(edges, confidence, side="left")


def binned_gap(bins: Column, gap: Column) -> float:
    """Sum over the bins of |sum of accuracy - confidence|, as a fraction of the samples."""
    return float(np.abs(np.bincount(bins, weights=gap)).sum() / len(gap))


def adaptive_ece(confidence: Column, correct: Column) -> float:
    """ECE over bins of equal mass; equal confidences share their accuracy, so order is nothing."""
    values, group, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    gap = np.bincount(group, weights=correct) / counts - values
    bins = np.arange(len(group)) * NUM_BINS // len(group)
    return binned_gap(bins, np.repeat(gap, counts))


def reliability(confidence: Column, correct: Column) -> list[ReliabilityBin]:
    """Return the bins of the reliability diagram, the empty ones too."""
    bins = bin_index(confidence)
    counts = np.bincount(bins, minlength=NUM_BINS).tolist()
    sums = (
        np.bincount(bins, weights=column, minlength=NUM_BINS) for column in (confidence, correct)
    )
    return [
        {
            "low": i / NUM_BINS,
            "high": (i + 1) / NUM_BINS,
            "count": count,
            "confidence": float(confidence_sum) / count if count else None,
            "accuracy": float(correct_sum) / count if count else None,
        }
        for i, (count, confidence_sum, correct_sum) in enumerate(zip(counts, *sums, strict=True))
    ]
