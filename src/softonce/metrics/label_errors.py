"""Labels that are probably wrong, by confident learning and Bayes' rule.

A label is suspected if the network finds another class more probable, and is as sure of that one as
it is, on average, of the pictures that bear it. Each class has the average of its own as threshold,
so that one that the network finds hard does not flood the list. That by itself names most mistakes
of a mediocre network, too; so the other class must also be so much more probable that a wrong
label is the likelier explanation, if one label in fifty is wrong and each other class as likely to
be taken for it. That needs calibrated probabilities, and a network that has not learned the
pictures: it would have learned the wrong labels, too.

Source:
    Northcutt, Jiang, Chuang 2021: Confident Learning: Estimating Uncertainty in Dataset Labels
    (JAIR 70), equations 1 and 2; the order is the normalised margin of its section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from softonce import inference
from softonce.metrics.rows import check_target

if TYPE_CHECKING:
    from torch import Tensor

_ROWS_AT_ONCE = 4096
"""Rows whose probabilities are in memory: 33 MB for 1,000 classes in float64."""
_SHARE_OF_WRONG = 0.02
"""Assumed before looking. In benchmarks/planted_faults.py, where 0.01 is true, one innocent picture
of 2,000 is named, and 231 without this rule (at a temperature of 1)."""


@dataclass(frozen=True)
class LabelErrors:
    """The suspected labels, the surest first.

    Args:
        rows: (M,) indices of the samples.
        suggested: (M,) the class that the network takes each for.
        prob_label: (M,) probability of the label.
        prob_suggested: (M,) probability of the suggested class.
    """

    rows: Tensor
    suggested: Tensor
    prob_label: Tensor
    prob_suggested: Tensor


def find_label_errors(logits: Tensor, target: Tensor, *, temperature: float = 1.0) -> LabelErrors:
    """Return the samples whose labels are probably wrong.

    Args:
        logits: (N, C), of a network that has not learned these samples.
        target: (N,) the labels, int64.
        temperature: what the logits are divided by.

    Raises:
        ArgumentError: if target does not fit the logits.

    Example:
        >>> logits = torch.tensor([[9.0, 0.0]] * 9 + [[0.0, 9.0]] * 9)
        >>> target = torch.tensor([0] * 8 + [1] * 10)
        >>> find_label_errors(logits, target).rows.tolist()
        [8]
    """
    check_target(logits, target)
    num_classes = logits.shape[1]
    blocks = torch.split(logits, _ROWS_AT_ONCE)
    own = torch.cat(
        [
            _probs(part, temperature).gather(1, labels[:, None])[:, 0]
            for part, labels in zip(blocks, torch.split(target, _ROWS_AT_ONCE), strict=True)
        ]
    )
    counts = torch.bincount(target, minlength=num_classes)
    sums = torch.zeros(num_classes, dtype=torch.float64).index_add_(0, target, own)
    # A class without a sample is suggested for none: there is nothing to compare with.
    threshold = torch.where(counts > 0, sums / counts.clamp(min=1), torch.inf)
    best, suggested = zip(
        *(_confident(_probs(part, temperature), threshold) for part in blocks),
        strict=True,
    )
    prob_suggested, classes = torch.cat(best), torch.cat(suggested)
    odds_of_right = (1 - _SHARE_OF_WRONG) / _SHARE_OF_WRONG * (num_classes - 1)
    rows = (prob_suggested > odds_of_right * own).nonzero()[:, 0]
    order = (own - prob_suggested)[rows].argsort(stable=True)
    rows = rows[order]
    return LabelErrors(rows, classes[rows], own[rows], prob_suggested[rows])


def _probs(logits: Tensor, temperature: float) -> Tensor:
    return inference.probs(logits.double(), temperature=temperature)


def _confident(probs: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """Return the most probable class among those at their threshold, and 0 if there is none."""
    best, classes = probs.where(probs >= threshold, 0.0).max(dim=1)
    return best, classes
