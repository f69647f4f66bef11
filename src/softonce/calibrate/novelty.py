"""How high the energy of logits may be, so that few images like those of training are marked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from softonce.decisions import Novelty
from softonce.errors import DataError
from softonce.plurals import format_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDING = 1e-9
"""So much a product with a share such as 0.95 may lie above the whole number that it is."""


def fit_novelty(energy: NDArray[np.float64], *, false_alarms: float) -> Novelty:
    """Find the limit of the energy above which an image is marked.

    Of new images like these, a share of at most `false_alarms` is marked, on average over the draws
    of the images here. How many unlike ones are marked depends on what they are, and is promised by
    nobody.

    Args:
        energy: (N,) of images that had no part in training.
        false_alarms: between 0 and 1.

    Raises:
        DataError: if there are too few images for such a share.

    Source:
        Vovk, Gammerman and Shafer 2005, Algorithmic Learning in a Random World (conformal
        prediction); Bates et al. 2023, Testing for Outliers with Conformal p-values, section 2.
    """
    n = len(energy)
    rank = math.ceil((n + 1) * (1 - false_alarms) - _ROUNDING)
    if rank > n:
        needed = math.ceil((1 - false_alarms) / false_alarms - _ROUNDING)
        raise DataError(
            f"expected at least {format_count(needed, 'image')} for {false_alarms:.4g} false "
            f"alarms, found {n}: give more images, or allow more false alarms"
        )
    return Novelty(limit=float(np.sort(energy)[rank - 1]), false_alarms=false_alarms, n=n)
