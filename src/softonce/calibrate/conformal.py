"""Sets of classes that hold the right one as often as was asked for: split conformal prediction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from softonce.decisions import SetMethod, SetRule, in_set, set_scores
from softonce.errors import DataError
from softonce.plurals import format_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

PENALTY, NUM_FREE = 0.01, 5
"""Of RAPS: weak, so that sets of a few plausible classes stay whole, and tails of many improbable
ones end."""

_ROUNDING = 1e-9
"""So much a product with a coverage such as 0.9 may lie above the whole number that it is."""


def fit_sets(
    probs: NDArray[np.float64],
    target: NDArray[np.int64],
    *,
    coverage: float,
    method: SetMethod = "lac",
) -> SetRule:
    """Find the limit of the scores of a set, so that sets hold the right class often enough.

    Of new images like these, a share of at least `coverage` has its class in its set, on average
    over the draws of the images here.

    Args:
        probs: (N, C) probabilities of images that had no part in training.
        target: (N,) their classes.
        coverage: between 0 and 1.
        method: `lac` makes the smallest sets, which may be empty; the sets of `aps` and `raps` are
            larger if the network is unsure, and never empty.

    Raises:
        DataError: if there are too few images for such a coverage.

    Source:
        Vovk, Gammerman and Shafer 2005, Algorithmic Learning in a Random World; the quantile as in
        Angelopoulos and Bates 2023, Conformal Prediction: A Gentle Introduction, section 1.
    """
    n = len(target)
    rank = math.ceil((n + 1) * coverage - _ROUNDING)
    if rank > n:
        needed = math.ceil(coverage / (1 - coverage) - _ROUNDING)
        raise DataError(
            f"expected at least {format_count(needed, 'image')} for sets of {coverage:.4g} "
            f"coverage, found {n}: give more images, or a lower coverage"
        )
    scores = set_scores(method, probs, penalty=PENALTY, num_free=NUM_FREE)
    own = np.sort(scores[np.arange(n), target])
    rule = SetRule(
        method=method,
        coverage=coverage,
        limit=float(own[rank - 1]),
        penalty=PENALTY if method == "raps" else 0.0,
        num_free=NUM_FREE if method == "raps" else 0,
        mean_size=0.0,
        n=n,
    )
    size = float(in_set(rule, probs).sum(axis=1).mean())
    return SetRule(**vars(rule) | {"mean_size": size})
