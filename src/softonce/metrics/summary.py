"""Every figure of an evaluation, computed from the rows of all its samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch

from softonce.errors import ArgumentError
from softonce.metrics.intervals import (
    MIN_OF_EACH,
    mean_of_shares,
    percentiles,
    rarer_kind,
    resample,
    wilson,
)
from softonce.metrics.reliability import (
    ReliabilityBin,
    adaptive_ece,
    bin_index,
    binned_gap,
    reliability,
)
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    from softonce.metrics.rows import Rows

    Column: TypeAlias = NDArray[Any]

MAX_CONFUSION_CLASSES = 1000
"""A matrix of 1,000 classes has a million counts; of more, only the confused pairs are kept."""
NUM_CONFUSED_PAIRS = 30
"""More than a reader looks at."""
NUM_TOP = 5
"""Top-5, as ImageNet has been measured since 2010."""

ClassFigures = TypedDict(
    "ClassFigures",
    {
        "class": str,
        "precision": float | None,
        "recall": float | None,
        "f1": float | None,
        "support": int,
    },
)


class ConfusedPair(TypedDict):
    """How many samples of class `target` were predicted as class `pred`, another one."""

    target: int
    pred: int
    count: int


@dataclass(frozen=True)
class Figures:
    """Every figure of one evaluation; plain values, so `dataclasses.asdict` is ready for JSON.

    Args:
        n: number of samples.
        top1: fraction whose largest logit is the target's.
        top5: fraction whose target is among the 5 largest logits; None of five classes or fewer,
            since it would always be 1.
        balanced_accuracy: mean recall of the classes that occur: every class counts alike.
        macro_f1: mean F1 of the classes that occur or are predicted.
        auc: mean area under the ROC curve, one class against the rest; None if it was not asked
            for, or is not defined.
        nll: mean negative log-likelihood, in nats.
        brier: mean Brier score, from 0 to 2.
        ece: expected calibration error over 15 bins of equal width.
        adaptive_ece: the same over 15 bins of equal mass.
        intervals: 95 % intervals (low, high): of top1, top5 and balanced_accuracy always; of
            macro_f1, nll, brier and ece with at least five samples right and five wrong, since
            fewer say nothing about how far off these may be.
        per_class: precision, recall and F1 of every class, None if undefined; support.
        confusion: counts, a row per target and a column per prediction; empty above 1,000 classes.
        confused_pairs: the 30 most frequent mistakes, the most frequent first.
        reliability: confidence and accuracy in the 15 bins of equal width.
    """

    n: int
    top1: float
    top5: float | None
    balanced_accuracy: float
    macro_f1: float
    auc: float | None
    nll: float
    brier: float
    ece: float
    adaptive_ece: float
    intervals: dict[str, tuple[float, float]]
    per_class: list[ClassFigures]
    confusion: list[list[int]]
    confused_pairs: list[ConfusedPair]
    reliability: list[ReliabilityBin]

    @property
    def num_right(self) -> int:
        """How many samples were predicted as their own class."""
        return round(self.n * self.top1)


def figures(
    rows: Rows,
    classes: Sequence[str],
    *,
    auc: float | None = None,
    seed: int = 0,
    num_resamples: int = 1000,
) -> Figures:
    """Compute every figure of an evaluation.

    Equals the figures of the same rows in any other order, up to rounding; the intervals alone
    depend on it, because their resamples are drawn by position.

    Args:
        rows: the scored samples, all parts together.
        classes: the class names, in index order.
        auc: of `one_vs_rest_auc`, which takes more than rows.
        seed: of the bootstrap; the same rows and seed give the same intervals.
        num_resamples: of the bootstrap; with 0 `intervals` is empty, as in a quick evaluation
            between two epochs.

    Returns:
        The figures; fractions from 0 to 1, `nll` in nats.

    Raises:
        ArgumentError: if there are no rows, or they hold a class that has no name.

    Example:
        >>> from softonce.metrics import score_rows
        >>> rows = score_rows(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0]))
        >>> result = figures(rows, ["cat", "dog"])
        >>> result.top1, result.confusion, result.per_class[0]["precision"]
        (0.5, [[1, 1], [0, 0]], 1.0)

    Source:
        ECE: Guo et al. 2017, On Calibration of Modern Neural Networks, section 2. Bins of equal
        mass: Nixon et al. 2019, Measuring Calibration in Deep Learning, section 4. Intervals: as
        `softonce.metrics.intervals` says.
    """
    _check_rows(rows, classes)
    target, pred = rows.target.numpy(), rows.pred.numpy()
    confidence, correct = rows.confidence.numpy(), (pred == target).astype(np.float64)
    counts = ClassCounts.of(target, pred, len(classes))
    return Figures(
        n=len(rows),
        top1=float(correct.mean()),
        top5=float(rows.in_top5.double().mean()) if len(classes) > NUM_TOP else None,
        balanced_accuracy=counts.balanced_accuracy(),
        macro_f1=counts.macro_f1(),
        auc=auc,
        nll=float(rows.nll.mean()),
        brier=float(rows.brier.mean()),
        ece=binned_gap(bin_index(confidence), correct - confidence),
        adaptive_ece=adaptive_ece(confidence, correct),
        intervals=_intervals(rows, counts, seed=seed, num_resamples=num_resamples),
        per_class=_per_class(counts, classes),
        confusion=_confusion(target, pred, len(classes)),
        confused_pairs=_confused_pairs(target, pred, len(classes)),
        reliability=reliability(confidence, correct),
    )


def _check_rows(rows: Rows, classes: Sequence[str]) -> None:
    if len(rows) == 0:
        raise ArgumentError(
            "expected at least one evaluated sample, found none: look at the split that was asked "
            "for, and at the list of bad files"
        )
    largest = int(torch.maximum(rows.target, rows.pred).max())
    if largest >= len(classes):
        raise ArgumentError(
            f"expected a name for each class, found {format_count(len(classes), 'name')} and "
            f"class index {largest}: pass the classes that the network was trained with"
        )


@dataclass(frozen=True)
class ClassCounts:
    """Of every class (C,): its samples, how often it was predicted, and how often rightly."""

    support: Column
    predicted: Column
    hits: Column

    @classmethod
    def of(
        cls, target: Column, pred: Column, num_classes: int, weights: Column | None = None
    ) -> ClassCounts:
        """Count; each sample `weights` times, if there are any."""
        hit = target == pred
        own = None if weights is None else weights[hit]
        parts = ((target, weights), (pred, weights), (target[hit], own))
        return cls(*(np.bincount(index, weights, num_classes) for index, weights in parts))

    def balanced_accuracy(self) -> float:
        """Return the mean recall of the classes that occur."""
        occurs = self.support > 0
        return float((self.hits[occurs] / self.support[occurs]).mean())

    def macro_f1(self) -> float:
        """Return the mean F1 of the classes that occur or are predicted."""
        whole = self.support + self.predicted
        return float((2 * self.hits[whole > 0] / whole[whole > 0]).mean())


def _intervals(
    rows: Rows, counts: ClassCounts, *, seed: int, num_resamples: int
) -> dict[str, tuple[float, float]]:
    if num_resamples == 0:
        return {}
    occurs = counts.support > 0
    num_right = int(counts.hits.sum())
    found = {
        "top1": wilson(num_right, len(rows)),
        "balanced_accuracy": mean_of_shares(counts.hits[occurs], counts.support[occurs]),
    }
    if len(counts.support) > NUM_TOP:
        found["top5"] = wilson(int(rows.in_top5.sum()), len(rows))
    if rarer_kind(num_right, len(rows))[0] < MIN_OF_EACH:
        return found
    return found | _bootstrap(rows, len(counts.support), seed=seed, num_resamples=num_resamples)


def _bootstrap(
    rows: Rows, num_classes: int, *, seed: int, num_resamples: int
) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals from resamples of whole samples.

    A mean takes the percentiles of its resamples. ECE is a sum of absolute values, which noise
    only ever raises: all its resamples lie too high, as the figure itself does, so its interval is
    the reflected ("basic") one, cut off at 0.
    """
    target, pred = rows.target.numpy(), rows.pred.numpy()
    means = torch.stack([rows.nll, rows.brier]).numpy()
    confidence = rows.confidence.numpy()
    bins, gap = bin_index(confidence), (pred == target) - confidence

    def statistics(counts: Column) -> list[float]:
        f1 = ClassCounts.of(target, pred, num_classes, counts).macro_f1()
        return [f1, *(means @ counts / len(gap)), binned_gap(bins, gap * counts)]

    resampled = resample(statistics, len(gap), seed=seed, num_resamples=num_resamples)
    low, high = percentiles(resampled)
    ece = binned_gap(bins, gap)
    low[3], high[3] = np.clip([2 * ece - high[3], 2 * ece - low[3]], 0.0, 1.0)
    names = ("macro_f1", "nll", "brier", "ece")
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}


def _per_class(counts: ClassCounts, classes: Sequence[str]) -> list[ClassFigures]:
    support, predicted, hits = (
        column.tolist() for column in (counts.support, counts.predicted, counts.hits)
    )
    return [
        {
            "class": name,
            "precision": _ratio(hits[i], predicted[i]),
            "recall": _ratio(hits[i], support[i]),
            "f1": _ratio(2 * hits[i], predicted[i] + support[i]),
            "support": support[i],
        }
        for i, name in enumerate(classes)
    ]


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _confusion(target: Column, pred: Column, num_classes: int) -> list[list[int]]:
    if num_classes > MAX_CONFUSION_CLASSES:
        return []
    cells = np.bincount(target * num_classes + pred, minlength=num_classes**2)
    counts: list[list[int]] = cells.reshape(num_classes, num_classes).tolist()
    return counts


def _confused_pairs(target: Column, pred: Column, num_classes: int) -> list[ConfusedPair]:
    wrong = target != pred
    cells, counts = np.unique(target[wrong] * num_classes + pred[wrong], return_counts=True)
    first = np.argsort(-counts, kind="stable")[:NUM_CONFUSED_PAIRS]
    return [
        {"target": cell // num_classes, "pred": cell % num_classes, "count": count}
        for cell, count in zip(cells[first].tolist(), counts[first].tolist(), strict=True)
    ]
