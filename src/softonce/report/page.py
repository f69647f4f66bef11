"""The report's content, and the page that it is written to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from softonce.floors import double_softmax_floor
from softonce.metrics.table import interval_notes
from softonce.plurals import format_count
from softonce.report import charts
from softonce.report.rendering import format_decimal, write_page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from softonce.data.doubles import Double
    from softonce.evaluation import Suspect
    from softonce.metrics import ClassFigures, Figures
    from softonce.metrics.summary import ConfusedPair

MAX_MATRIX_CLASSES = 40
"""A matrix of more classes is wider than a screen; the most confused pairs are listed."""
NUM_WEAKEST = 20
"""Classes that are listed if there are more than that."""
MAX_LIST = 200
"""Files that a list on the page names; the lists in the run folder have all."""
MAX_CLASS_ROWS = 1000
"""Classes whose number of images is listed."""


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A sample that was confidently predicted as another class.

    Args:
        path: of the image.
        target: class index that it has.
        pred: class index that was predicted.
        prob: probability of `pred`.
        thumbnail: the image, small, as the bytes of a JPEG file; empty if it cannot be read.
        lit: the same, bright where the evidence for the predicted and for the true class lies;
            empty if that is not known.
    """

    path: str
    target: int
    pred: int
    prob: float
    thumbnail: bytes
    lit: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class ConfusedPictures:
    """A pair of classes that is often confused.

    Args:
        pair: the classes, and how many images.
        examples: a few of the images.
    """

    pair: ConfusedPair
    examples: Sequence[Mistake]


@dataclass(frozen=True)
class FirstBatch:
    """The first training batch as the network saw it.

    Args:
        picture: the bytes of a JPEG file.
        description: the classes in it.
    """

    picture: bytes
    description: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that one page says.

    Args:
        title: the page's heading.
        classes: the class names, in index order.
        headline: short facts under the title, such as model, data and best epoch.
        figures: of the final split, with the temperature.
        temperature: that the probabilities were computed with.
        split: name of the final split.
        uncalibrated: the figures of the same split at a temperature of 1.
        coverage: (coverage, accuracy) if only the surest answers are given, by rising coverage.
        selection: a sentence about what val has chosen, and whether these are its figures.
        history: rows of `metrics.jsonl`.
        loss_parts: what the loss of training holds beside the cross-entropy of one class an image,
            such as label smoothing.
        images: of each split, the number of images of each class, in index order.
        first_batch: of the training.
        mistakes: the worst ones first.
        about_light: a sentence on how the mistakes are lit, or why they are not.
        confused: the most confused pairs of classes, if they are shown.
        bad_files: records with `path` and `reason`.
        doubles: pictures that are there twice.
        suspects: images whose labels are probably wrong.
        notes: sentences that the reader should know.
        config_toml: the resolved configuration.
        versions: of the packages.
        speed: facts with their units.
    """

    title: str
    classes: Sequence[str]
    headline: dict[str, Any]
    figures: Figures
    temperature: float
    split: str
    uncalibrated: Figures | None = None
    coverage: Sequence[tuple[float, float]] = ()
    selection: str = ""
    history: Sequence[dict[str, Any]] = ()
    loss_parts: Sequence[str] = ()
    images: Mapping[str, Sequence[int]] = field(default_factory=dict)
    first_batch: FirstBatch | None = None
    mistakes: Sequence[Mistake] = ()
    about_light: str = ""
    confused: Sequence[ConfusedPictures] = ()
    bad_files: Sequence[dict[str, str]] = ()
    doubles: Sequence[Double] = ()
    suspects: Sequence[Suspect] = ()
    notes: Sequence[str] = ()
    config_toml: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    speed: dict[str, str] = field(default_factory=dict)


def write_report(report: Report, path: Path) -> None:
    """Write the report as one HTML page, whole or not at all.

    Everything lies inside the page: it asks for nothing, runs nothing, and follows the reader's
    light or dark setting. All text is escaped.

    Args:
        report: what the page says.
        path: of the page, usually `report.html` in the run's folder; replaced if it exists.

    Raises:
        StorageError: if the page cannot be written.
    """
    write_page(path, "report.html.j2", _context(report))


def _context(report: Report) -> dict[str, Any]:
    num_classes = len(report.classes)
    is_small = num_classes <= MAX_MATRIX_CLASSES
    counts = _class_counts(report)
    return {
        "report": report,
        "figures": report.figures,
        "classes": report.classes,
        "guessing": math.log(num_classes),
        "few_mistakes": [] if "nll" in report.figures.intervals else interval_notes(report.figures),
        **_training(report),
        "diagrams": _diagrams(report),
        "matrix": _cells(report.figures.confusion) if is_small else [],
        "per_class": report.figures.per_class if is_small else _weakest(report.figures.per_class),
        "num_shown": num_classes if is_small else NUM_WEAKEST,
        "counts": counts if is_small else sorted(counts, key=_in_train)[:MAX_CLASS_ROWS],
        "largest_count": max((_in_train(row) for row in counts), default=0),
        "spread": _spread(report.images.get("train", ())),
        "max_list": MAX_LIST,
    }


def _training(report: Report) -> dict[str, Any]:
    """Draw the curves, and tell the caption what is drawn."""
    loss = charts.Lines.of(report.history, {"train": "loss", "val": "nll"})
    top1 = charts.Lines.of(report.history, {"train": "top1", "val": "top1"})
    rate = charts.Lines.of(report.history, {"train": "lr"})
    least = double_softmax_floor(len(report.classes))
    # Any other loss than the plain cross-entropy has another floor.
    floor = least if not report.loss_parts and loss.reaches(least) else None
    drawn = (
        charts.curve(loss, name="loss", label="loss (nats)", floor=floor, cuts_outlier=True),
        charts.curve(top1, name="top1", label="top-1 accuracy", as_percent=True),
        charts.curve(rate, name="lr", label="learning rate"),
    )
    return {
        "curves": [svg for svg in drawn if svg],
        "loss_splits": list(loss.points),
        "floor": floor,
    }


def _class_counts(report: Report) -> list[tuple[str, list[int]]]:
    """Return each class with its number of images in every split."""
    columns = zip(*report.images.values(), strict=True)
    return [(name, list(row)) for name, row in zip(report.classes, columns, strict=False)]


def _in_train(row: tuple[str, list[int]]) -> int:
    """Return how many images of a class are in train, the first split."""
    return row[1][0]


def _spread(counts: Sequence[int]) -> str:
    """Return a sentence on how evenly the classes are filled."""
    if not counts:
        return ""
    least, most = min(counts), max(counts)
    if least == most:
        return f"Train holds {format_count(least, 'image')} of each class."
    sentence = f"Train holds between {least:,} and {format_count(most, 'image')} of a class"
    if most < 2 * least:
        return sentence + "."
    return f"{sentence}: the largest class has {most / least:.0f} times as many as the smallest."


def _diagrams(report: Report) -> list[str]:
    after = f"temperature {report.temperature:.3g}, ECE {format_decimal(report.figures.ece)}"
    drawn = [charts.reliability(report.figures.reliability, name="after", title=after)]
    if report.uncalibrated is not None:
        before = f"temperature 1, ECE {format_decimal(report.uncalibrated.ece)}"
        bins = report.uncalibrated.reliability
        drawn.insert(0, charts.reliability(bins, name="before", title=before))
    if report.coverage:
        drawn.append(charts.coverage(report.coverage, name="coverage"))
    return drawn


def _cells(confusion: Sequence[Sequence[int]]) -> list[list[tuple[int, float, float]]]:
    """Count, fraction of its row, and depth of colour, which lets small fractions be seen."""
    shares = [[(count, count / (sum(row) or 1)) for count in row] for row in confusion]
    return [[(count, share, math.sqrt(share)) for count, share in row] for row in shares]


def _weakest(per_class: Sequence[ClassFigures]) -> list[ClassFigures]:
    """Return the classes with the lowest F1, the lowest first; those that never occur last."""
    ranked = sorted(per_class, key=lambda row: math.inf if row["f1"] is None else row["f1"])
    return ranked[:MAX_CLASS_ROWS]
