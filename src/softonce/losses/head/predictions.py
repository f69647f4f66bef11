"""The predicted class of each row, from the logits that a loop over blocks makes anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from softonce.losses.tuning import tuning

if TYPE_CHECKING:
    from torch import Tensor


class Predictions:
    """The first class with the largest logit of each row, among the blocks that were shown.

    Args:
        features: (N, D), in the precision of the logits.
    """

    def __init__(self, features: Tensor) -> None:
        self.largest = features.new_full((len(features),), -torch.inf)
        self.classes = torch.zeros(len(features), dtype=torch.int64, device=features.device)

    def look(self, logits: Tensor, rows: slice, class_start: int = 0) -> None:
        """Look at the logits of some rows, for the classes from `class_start` on."""
        place = find_largest(logits)
        largest = logits.gather(1, place.unsqueeze(1)).squeeze(1)
        is_larger = _is_above(largest, self.largest[rows])
        self.largest[rows] = largest.where(is_larger, self.largest[rows])
        self.classes[rows] = (place + class_start).where(is_larger, self.classes[rows])


def find_largest(logits: Tensor) -> Tensor:
    """Return `logits.argmax(1)` of (n, c), the first if there are several.

    On a CPU argmax takes five to ten times as long as amax, so spans of classes come first.

    Example:
        >>> find_largest(torch.tensor([[0.0, 2.0, 2.0], [3.0, 2.0, 1.0]]))
        tensor([1, 0])
    """
    width = tuning().argmax_span
    num_spans = logits.shape[1] // width
    if num_spans < 2 or logits.device.type != "cpu":
        return logits.argmax(1)
    spans = logits[:, : num_spans * width].view(len(logits), num_spans, width)
    span = spans.amax(2).argmax(1)
    inside = spans[torch.arange(len(logits)), span].argmax(1)
    found = span * width + inside
    rest = logits[:, num_spans * width :]
    if rest.shape[1] == 0:
        return found
    later = rest.argmax(1)
    is_later = _is_above(rest.gather(1, later.unsqueeze(1)), logits.gather(1, found.unsqueeze(1)))
    return (later + num_spans * width).where(is_later.squeeze(1), found)


def _is_above(later: Tensor, earlier: Tensor) -> Tensor:
    """Return whether argmax would take the later one: it is larger, or the first NaN."""
    return (later > earlier) | (later.isnan() & ~earlier.isnan())
