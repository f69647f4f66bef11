"""What a loss cannot go below: mathematics only, no tensors."""

from __future__ import annotations

import math


def double_softmax_floor(num_classes: int) -> float:
    """Return the least cross-entropy, in nats, that a network with a softmax of its own can reach.

    Equals `ln(1 + (C - 1) / e)`: the best such a network can put out is a one-hot row, and the
    softmax inside the loss sees a gap of 1 between its entries, never more.

    Args:
        num_classes: C, the number of classes.

    Raises:
        ValueError: if `num_classes` is less than 1.

    Example:
        >>> [round(double_softmax_floor(c), 3) for c in (2, 10, 1000)]
        [0.313, 1.461, 5.909]
    """
    if num_classes < 1:
        raise ValueError(f"expected at least 1 class, found {num_classes}")
    return math.log1p((num_classes - 1) / math.e)
