"""Two evaluations of the same images, side by side: is one better, or is it chance?"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from rich.table import Table

from softonce.console.tables import format_table
from softonce.errors import ArgumentError
from softonce.metrics import figures, one_vs_rest_auc, score_rows
from softonce.metrics.intervals import MIN_OF_EACH, percentiles, resample
from softonce.metrics.paired import Agreement
from softonce.metrics.summary import ClassCounts
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from softonce.evaluation.result import Evaluation
    from softonce.metrics import Figures, Rows
    from softonce.metrics.intervals import Column

_FIGURES = (
    ("top-1", "top1", "{:.2%}", 100, " pp"),
    ("balanced accuracy", "balanced_accuracy", "{:.2%}", 100, " pp"),
    ("macro-F1", "macro_f1", "{:.2%}", 100, " pp"),
    ("AUC", "auc", "{:.4f}", 1, ""),
    ("NLL (nats)", "nll", "{:.4f}", 1, ""),
    ("Brier", "brier", "{:.4f}", 1, ""),
    ("ECE", "ece", "{:.2%}", 100, " pp"),
)
"""What is compared: label, field, form, and the scale and unit of the difference."""


class Difference(NamedTuple):
    """The second figure minus the first, with its 95 % interval if the images allow one."""

    value: float
    interval: tuple[float, float] | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {"value": self.value, "interval": self.interval and list(self.interval)}


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two classifiers on the same images.

    Printed, it is the table of `softonce compare`.

    Args:
        names: of the two.
        split: which part of the data.
        first: figures of the first classifier on the images that both were measured on.
        second: those of the second.
        agreement: how many images both, one or neither classify rightly.
        differences: of each figure, the second minus the first.
        num_unpaired: images that only one of the two was measured on; they are left out.
    """

    names: tuple[str, str]
    split: str
    first: Figures
    second: Figures
    agreement: Agreement
    differences: dict[str, Difference]
    num_unpaired: int

    @property
    def p_value(self) -> float:
        """McNemar's exact p-value of the two accuracies."""
        return self.agreement.p_value()

    @property
    def title(self) -> str:
        """What was compared, in one line."""
        images = format_count(self.first.n, "image")
        return f"{images} of {self.split}: A is {self.names[0]}, B is {self.names[1]}"

    def table(self) -> Table:
        """Return the figures of both and their differences."""
        table = Table(
            title=self.title,
            caption="\n".join(self.notes()),
            box=None,
            pad_edge=False,
        )
        table.add_column("")
        for name in ("A", "B", "B - A", "95 % interval"):
            table.add_column(name, justify="right")
        for label, name, form, scale, unit in _FIGURES:
            difference = self.differences.get(name)
            if difference is None:
                continue
            digits = 2 if scale == 100 else 4
            bounds = difference.interval or ()
            interval = " to ".join(f"{scale * bound:+.{digits}f}" for bound in bounds)
            table.add_row(
                label,
                form.format(getattr(self.first, name)),
                form.format(getattr(self.second, name)),
                f"{scale * difference.value:+.{digits}f}{unit}",
                interval and interval + unit,
            )
        return table

    def notes(self) -> list[str]:
        """Return what the pairs say, a sentence each."""
        found = self.agreement
        only_first = format_count(found.only_first, "image")
        counts = f"Only A is right on {only_first}, only B on {found.only_second:,}"
        notes = [f"{counts}; McNemar's exact p is {self.p_value:.3g}."]
        low, high = self.differences["top1"].interval or (0.0, 0.0)
        if low <= 0 <= high:
            notes.append("The interval of top-1 holds 0: these images do not tell which is better.")
        if self.num_unpaired:
            notes.append(
                f"{format_count(self.num_unpaired, 'image')} that only one was measured on "
                f"{'is' if self.num_unpaired == 1 else 'are'} left out."
            )
        return notes

    def to_dict(self) -> dict[str, Any]:
        """Return the record that `softonce compare --json` prints."""
        names = [name for _, name, *_ in _FIGURES]
        return {
            "n": self.first.n,
            "split": self.split,
            "names": list(self.names),
            "first": {name: getattr(self.first, name) for name in names},
            "second": {name: getattr(self.second, name) for name in names},
            "differences": {name: row.to_dict() for name, row in self.differences.items()},
            "agreement": self.agreement._asdict(),
            "p_value": self.p_value,
            "num_unpaired": self.num_unpaired,
        }

    def __repr__(self) -> str:
        return format_table(self.table(), width=100)


def compare_evaluations(
    first: Evaluation, second: Evaluation, *, names: tuple[str, str] = ("A", "B"), seed: int = 0
) -> Comparison:
    """Compare two evaluations, image by image.

    Args:
        first: of one classifier.
        second: of the other, on the same images; its classes may be in another order.
        names: of the two.
        seed: of the bootstrap.

    Raises:
        ArgumentError: if they have no image in common, or other classes or labels.
    """
    columns = _columns(first, second)
    pairs = _pair(first, second)
    one, other = torch.tensor(pairs).T
    target = torch.from_numpy(first.scan.samples.target)[one]
    if not torch.equal(torch.from_numpy(second.scan.samples.target)[other], columns[target]):
        raise ArgumentError(
            "expected the same label for each image in both evaluations, found others: evaluate "
            "both on the same data"
        )
    scored = (
        _score(first.logits[one], target, first.classes, first.temperature),
        _score(second.logits[other][:, columns], target, first.classes, second.temperature),
    )
    rows, found = [own for own, _ in scored], [own for _, own in scored]
    agreement = Agreement.of(*((own.pred == own.target).numpy() for own in rows))
    intervals = _intervals(rows, agreement, len(first.classes), seed)
    return Comparison(
        names=names,
        split=first.split,
        first=found[0],
        second=found[1],
        agreement=agreement,
        differences=_differences(found, intervals | {"top1": agreement.interval()}),
        num_unpaired=len(first.logits) + len(second.logits) - 2 * len(pairs),
    )


def _score(
    logits: Tensor, target: Tensor, classes: Sequence[str], temperature: float
) -> tuple[Rows, Figures]:
    rows = score_rows(logits, target, temperature=temperature)
    auc = one_vs_rest_auc(logits, target, temperature=temperature)
    return rows, figures(rows, classes, auc=auc, num_resamples=0)


def _columns(first: Evaluation, second: Evaluation) -> Tensor:
    """Return, for each class of the first, its column in the second."""
    if set(first.classes) != set(second.classes):
        missing = sorted(set(first.classes) ^ set(second.classes))
        raise ArgumentError(
            f"expected two classifiers of the same classes, found {missing[0]!r} in only one of "
            "them: compare those that answer the same question"
        )
    place = {name: index for index, name in enumerate(second.classes)}
    return torch.tensor([place[name] for name in first.classes])


def _pair(first: Evaluation, second: Evaluation) -> list[tuple[int, int]]:
    """Return the indices of the images that both were measured on, in the order of the first.

    An image that is listed twice is paired with its own repetition.
    """
    places = {key: index for index, key in enumerate(_keys(second))}
    pairs = [(index, places[key]) for index, key in enumerate(_keys(first)) if key in places]
    if not pairs:
        raise ArgumentError(
            "expected two evaluations of the same images, found none in common: evaluate both on "
            "the same data"
        )
    return pairs


def _keys(evaluation: Evaluation) -> list[tuple[str, int]]:
    samples, seen = evaluation.scan.samples, Counter[str]()
    keys = []
    for index in range(len(samples)):
        path = samples.where(index)
        keys.append((path, seen[path]))
        seen[path] += 1
    return keys


def _differences(
    found: Sequence[Figures], intervals: dict[str, tuple[float, float]]
) -> dict[str, Difference]:
    first, second = map(asdict, found)
    return {
        name: Difference(second[name] - first[name], intervals.get(name))
        for _, name, *_ in _FIGURES
        if first[name] is not None
    }


def _intervals(
    rows: Sequence[Rows], agreement: Agreement, num_classes: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Return paired bootstrap intervals: each resample takes the same images for both.

    As of a single classifier, too few mistakes say nothing of losses, and too few images on which
    the two disagree say nothing of accuracies.
    """
    shown: tuple[str, ...] = ()
    if agreement.only_first + agreement.only_second >= MIN_OF_EACH:
        shown = ("balanced_accuracy", "macro_f1")
    if min(agreement.n - agreement.both, agreement.n - agreement.neither) >= MIN_OF_EACH:
        shown += ("nll", "brier")
    if not shown:
        return {}
    target = rows[0].target.numpy()
    preds = [own.pred.numpy() for own in rows]
    losses = (torch.stack([own.nll, own.brier]) for own in rows)
    first, second = (columns.numpy() for columns in losses)

    def statistics(counts: Column) -> list[float]:
        one, other = (ClassCounts.of(target, pred, num_classes, counts) for pred in preds)
        return [
            other.balanced_accuracy() - one.balanced_accuracy(),
            other.macro_f1() - one.macro_f1(),
            *((second - first) @ counts / len(target)),
        ]

    bounds = percentiles(resample(statistics, len(target), seed=seed, num_resamples=1000))
    names = ("balanced_accuracy", "macro_f1", "nll", "brier")
    low_high = dict(zip(names, np.transpose(bounds).tolist(), strict=True))
    return {name: tuple(low_high[name]) for name in shown}
