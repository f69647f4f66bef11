"""Every figure of an evaluation, computed from the rows of all its samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch

from softonce.errors import ArgumentError
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
NUM_CONFUSED_PAIRS = 30

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
        top5: fraction whose target is among the 5 largest logits.
        nll: mean negative log-likelihood, in nats.
        brier: mean Brier score, from 0 to 2.
        ece: expected calibration error over 15 bins of equal width.
        adaptive_ece: the same over 15 bins of equal mass.
        intervals: bootstrap 95 % intervals (low, high) of top1, nll, brier and ece.
        per_class: precision, recall and F1 of every class, None where undefined; support.
        confusion: counts, a row per target and a column per prediction; empty above 1,000 classes.
        confused_pairs: the 30 most frequent mistakes, the most frequent first.
        reliability: confidence and accuracy in the 15 bins of equal width.
    """

    n: int
    top1: float
    top5: float
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
    def can_miss_top5(self) -> bool:
        """Whether `top5` can be below 1; of five classes or fewer it never is."""
        return len(self.per_class) > 5


def figures(
    rows: Rows, classes: Sequence[str], *, seed: int = 0, num_resamples: int = 1000
) -> Figures:
    """Compute every figure of an evaluation.

    Equals the figures of the same rows in any other order, up to rounding; the intervals alone
    depend on it, because their resamples are drawn by position.

    Args:
        rows: the scored samples, all parts together.
        classes: the class names, in index order.
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
        mass: Nixon et al. 2019, Measuring Calibration in Deep Learning, section 4. Bootstrap:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    _check_rows(rows, classes)
    target, pred = rows.target.numpy(), rows.pred.numpy()
    confidence, correct = rows.confidence.numpy(), (pred == target).astype(np.float64)
    return Figures(
        n=len(rows),
        top1=float(correct.mean()),
        top5=float(rows.in_top5.double().mean()),
        nll=float(rows.nll.mean()),
        brier=float(rows.brier.mean()),
        ece=binned_gap(bin_index(confidence), correct - confidence),
        adaptive_ece=adaptive_ece(confidence, correct),
        intervals=_bootstrap(rows, seed=seed, num_resamples=num_resamples),
        per_class=_per_class(target, pred, classes),
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


def _bootstrap(rows: Rows, *, seed: int, num_resamples: int) -> dict[str, tuple[float, float]]:
    """95 % intervals from resamples of whole samples, one resample in memory at a time.

    A mean takes the percentiles of its resamples. ECE is a sum of absolute values, which noise
    only ever raises: all its resamples lie too high, as the figure itself does, so its interval is
    the reflected ("basic") one, cut off at 0.
    """
    if num_resamples == 0:
        return {}
    correct = (rows.pred == rows.target).double()
    means = torch.stack([correct, rows.nll, rows.brier]).numpy()
    bins, gap = bin_index(rows.confidence.numpy()), (correct - rows.confidence).numpy()
    resampled = np.empty((num_resamples, 4))
    random = np.random.default_rng(seed)
    for resample in resampled:
        counts = np.bincount(random.integers(len(gap), size=len(gap)), minlength=len(gap))
        resample[:3] = means @ counts / len(gap)
        resample[3] = binned_gap(bins, gap * counts)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    ece = binned_gap(bins, gap)
    low[3], high[3] = np.clip([2 * ece - high[3], 2 * ece - low[3]], 0.0, 1.0)
    names = ("top1", "nll", "brier", "ece")
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}


def _per_class(target: Column, pred: Column, classes: Sequence[str]) -> list[ClassFigures]:
    support, predicted, hits = (
        np.bincount(index, minlength=len(classes)).tolist()
        for index in (target, pred, target[target == pred])
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
