"""Logits as trained classifiers give them, and what is done to them on their way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def softmax(values: Values) -> Values:
    terms = np.exp(values - values.max(axis=1, keepdims=True))
    return terms / terms.sum(axis=1, keepdims=True)


def sigmoid(values: Values) -> Values:
    return 1 / (1 + np.exp(-values))


def calibrated(
    num_classes: int, n: int = 200, *, seed: int = 0, sharpness: float = 3.0
) -> tuple[Values, NDArray[np.int64]]:
    """Return logits (N, C) of a network that is calibrated, and labels drawn by it."""
    rng = np.random.default_rng([seed, num_classes, n])
    logits = rng.normal(size=(n, num_classes))
    logits[np.arange(n), rng.integers(num_classes, size=n)] += sharpness + np.log(num_classes)
    logits *= 2.5
    drawn = (softmax(logits).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return logits, np.minimum(drawn, num_classes - 1)
