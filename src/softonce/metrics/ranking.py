"""How well the probability of a class ranks its own samples above all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from softonce import inference
from softonce.metrics.rows import check_target

if TYPE_CHECKING:
    from torch import Tensor

    from softonce.shapes import ClassIndex, Logits

_DECIMALS = 10  # of log-probabilities, of whose float64 sums 12 or more are right

MAX_RANKED_CLASSES = 1000
"""Each class sorts all samples: of more classes that would take minutes, and say little."""


def one_vs_rest_auc(
    logits: Logits, target: ClassIndex, *, temperature: float = 1.0
) -> float | None:
    """Return the area under the ROC curve, one class against the rest, as the mean over classes.

    Equals scikit-learn's `roc_auc_score(target, probs, multi_class="ovr")`, and that of the second
    class for two classes; a class without a sample, or with all of them, is left out.

    Args:
        logits: N rows of C unnormalised class scores.
        target: N class indices from 0 to C - 1.
        temperature: positive divisor of the logits; of more than two classes it changes the ranks.

    Returns:
        0.5 for scores that say nothing, 1 for a perfect ranking; None if no class has both samples
        and others, or there are more than 1,000 classes.

    Raises:
        ArgumentError: if shapes, dtypes or indices do not fit, or a row of logits is not finite.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> one_vs_rest_auc(logits, torch.tensor([0, 1, 1]))
        1.0

    Source:
        Hanley and McNeil 1982, The Meaning and Use of the Area under a ROC Curve; over classes:
        Fawcett 2006, An introduction to ROC analysis, section 9.2, unweighted.
    """
    check_target(logits, target)
    if logits.shape[1] > MAX_RANKED_CLASSES:
        return None
    # Logarithms keep apart what rounds to a probability of 0. Rows of the same scores in another
    # order have the same probabilities but for the last bits of a sum, and are ties.
    scores = inference.log_probs(logits.detach().cpu().double(), temperature=temperature)
    scores = scores.round(decimals=_DECIMALS)
    target = target.cpu()
    areas = [
        _area(scores[:, index].contiguous(), target == index)
        for index in torch.unique(target).tolist()
    ]
    found = [area for area in areas if area is not None]
    return sum(found) / len(found) if found else None


def _area(scores: Tensor, is_own: Tensor) -> float | None:
    """Return the share of pairs (own, other) in which the own sample scores higher, ties half."""
    num_own = int(is_own.sum())
    num_others = len(scores) - num_own
    if not num_others:
        return None
    others, own = scores[~is_own].sort().values, scores[is_own]
    below = torch.searchsorted(others, own, right=False).sum().item()
    up_to = torch.searchsorted(others, own, right=True).sum().item()
    return (below + up_to) / (2 * num_own * num_others)
