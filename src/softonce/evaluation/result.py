"""What an evaluation has found: figures, logits, and pictures of them."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from softonce.config.fields import PREDICTIONS_SUFFIXES
from softonce.console.tables import format_table
from softonce.decisions import Decisions
from softonce.errors import ArgumentError, DataError
from softonce.metrics import Figures, score_rows
from softonce.metrics.table import build_table, column_names, figure_rows, interval_notes
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure
    from rich.table import Table
    from torch import Tensor

    from softonce.calibrate.abstention import CoveragePoint
    from softonce.data.scan import Scan
    from softonce.engines import Engine
    from softonce.evaluation.comparison import Comparison
    from softonce.evaluation.decided import Decided
    from softonce.evaluation.suspects import Suspect
    from softonce.metrics.table import FigureRow


@dataclass(frozen=True, kw_only=True)
class ScoredImage:
    """An image of an evaluation, and how well it was predicted.

    Args:
        path: of the image.
        target: name of the class that it has.
        pred: name of the most probable class.
        prob: probability of `pred`.
        loss: negative log-likelihood of `target`, in nats.
    """

    path: str
    target: str
    pred: str
    prob: float
    loss: float


def choices_of_val(training: Mapping[str, Any], temperature: float) -> tuple[str, ...]:
    """Return what a run has chosen on its val, by what it wrote of its training."""
    has_best = "best_epoch" in training and training["epochs"] > 1
    best = "regularisation" if "l2" in training else "epoch"
    chosen = {
        best: has_best and not training.get("is_crossed", False),
        "temperature": temperature != 1.0,
    }
    return tuple(name for name, is_chosen in chosen.items() if is_chosen)


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The figures of one split, and all that a page about them needs.

    Printed, it is the table of `softonce evaluate`.

    Args:
        split: which part of the data.
        classes: class names in index order.
        temperature: what the logits were divided by.
        figures: with the temperature.
        uncalibrated: the same at temperature 1.
        logits: (N, C) float32.
        scan: the images and the files that were left out.
        num_trained_on: how many of the images the network was trained on, as far as it says so.
        val_chose: what was chosen on these images, `epoch`, `regularisation` or `temperature`, if
            they are the training's val: new images will do a little worse.
        engine: what computed the logits, if more may be asked of it.
    """

    split: str
    classes: tuple[str, ...]
    temperature: float
    figures: Figures
    uncalibrated: Figures
    logits: Tensor
    scan: Scan
    num_trained_on: int = 0
    val_chose: tuple[str, ...] = ()
    engine: Engine | None = field(default=None, repr=False, compare=False)

    @property
    def title(self) -> str:
        """What was measured, in one line."""
        images = format_count(self.figures.n, "image")
        known = f", {self.num_trained_on} of them trained on" if self.num_trained_on else ""
        choices = " and the ".join(self.val_chose)
        chosen = f"; val also chose the {choices}" if choices else ""
        return (
            f"{images} of {self.split}{known}, {format_count(len(self.classes), 'class')}{chosen}"
        )

    def table(self) -> Table:
        """Return the figures with their intervals, before and after the temperature."""
        return build_table(self.title, self._rows(), self.temperature, self._notes())

    @property
    def decided(self) -> Decided | None:
        """How the classifier's rules of decision do on these images; None if it has none."""
        from softonce.evaluation.decided import measure_decisions

        rules = self._decisions()
        return measure_decisions(self, rules) if rules != Decisions() else None

    def _decisions(self) -> Decisions:
        return Decisions() if self.engine is None else self.engine.metadata.decisions

    def _notes(self) -> list[str]:
        decided = self.decided
        notes = [] if decided is None else decided.notes(self._decisions())
        return interval_notes(self.figures) + notes

    def worst(self, n: int = 20) -> list[ScoredImage]:
        """Return the images with the largest loss, the largest first.

        Wrong labels and pictures of two things are found among them.

        Args:
            n: how many; all if there are fewer.

        Raises:
            ArgumentError: if n is less than 1.
        """
        if n < 1:
            raise ArgumentError(f"expected n >= 1, found {n}: ask for at least one image")
        samples = self.scan.samples
        rows = score_rows(
            self.logits, torch.from_numpy(samples.target), temperature=self.temperature
        )
        order = rows.nll.argsort(descending=True, stable=True)[:n].tolist()
        return [
            ScoredImage(
                path=samples.where(index),
                target=self.classes[int(rows.target[index])],
                pred=self.classes[int(rows.pred[index])],
                prob=rows.confidence[index].item(),
                loss=rows.nll[index].item(),
            )
            for index in order
        ]

    def suspects(self) -> list[Suspect]:
        """Return the images whose labels are probably wrong, the surest first.

        The network must not have learned them. Look at each: a hard picture is a suspect, too.

        Source:
            Northcutt, Jiang, Chuang 2021: Confident Learning (JAIR 70), section 3.
        """
        from softonce.evaluation.suspects import find_suspects

        return find_suspects(self)

    def coverage_curve(self) -> list[CoveragePoint]:
        """Return accuracy against coverage, if only the surest answers are given.

        Returns:
            A point for every threshold, from the highest on: the threshold, the share of answers
            that are at least as sure, and how many of these are right.
        """
        from softonce.calibrate.abstention import coverage_curve

        target = torch.from_numpy(self.scan.samples.target)
        rows = score_rows(self.logits, target, temperature=self.temperature)
        return coverage_curve(rows.confidence.numpy(), (rows.pred == rows.target).numpy())

    def write_predictions(self, path: str | Path) -> None:
        """Write a row for every image: path, split, label, pred, loss, and all probabilities.

        Args:
            path: the file; its suffix, .csv or .parquet, says what it is.

        Raises:
            ArgumentError: if the suffix is another.
            MissingExtraError: if parquet is asked for and pyarrow is not installed.
            StorageError: if the file cannot be written.
        """
        from softonce.evaluation.predictions_file import write_predictions

        path = Path(path)
        if path.suffix.lower() not in PREDICTIONS_SUFFIXES:
            raise ArgumentError(
                f"expected a file that ends in {' or '.join(PREDICTIONS_SUFFIXES)}, found {path}: "
                "its suffix says what to write"
            )
        write_predictions(self, path)

    def compare(
        self, other: Evaluation, *, names: tuple[str, str] = ("A", "B"), seed: int = 0
    ) -> Comparison:
        """Compare with another classifier's evaluation of the same images.

        Args:
            other: its classes may be in another order; images are matched by path.
            names: of this classifier and of the other one, in what is printed.
            seed: of the bootstrap intervals.

        Raises:
            ArgumentError: if no image is in both, or classes or labels differ.
        """
        from softonce.evaluation.comparison import compare_evaluations

        return compare_evaluations(self, other, names=names, seed=seed)

    def plot_reliability(self) -> Figure:
        """Return the reliability diagram as a matplotlib figure: accuracy over confidence."""
        from softonce.plots import plot_reliability

        title = f"temperature {self.temperature:.3g}, ECE {self.figures.ece:.2%}"
        return plot_reliability(self.figures.reliability, title=title)

    def plot_confusion(self) -> Figure:
        """Return the confusion matrix as a matplotlib figure.

        Raises:
            DataError: if there are more than 1,000 classes, for which none is counted.
        """
        from softonce.plots import plot_confusion

        if not self.figures.confusion:
            raise DataError(
                f"expected at most 1,000 classes for a confusion matrix, found "
                f"{len(self.classes):,}: look at figures.confused_pairs"
            )
        return plot_confusion(self.figures.confusion, self.classes)

    def _rows(self) -> list[FigureRow]:
        return figure_rows(self.figures, self.uncalibrated, self.temperature)

    def __repr__(self) -> str:
        return format_table(self.table(), width=100)

    def _repr_html_(self) -> str:
        names = column_names(self.temperature)
        head = "".join(f"<th>{name}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{cell}</td>" for cell in row[: len(names)]) + "</tr>"
            for row in self._rows()
        )
        title = html.escape(self.title)
        notes = "".join(f"<p>{note}</p>" for note in self._notes())
        return (
            f"<table><caption>{title}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>{notes}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the record that `softonce evaluate --json` prints."""
        found = self.figures
        plain = ("auc", "nll", "brier", "ece", "adaptive_ece")
        names = ("n", "top1", "top5", "balanced_accuracy", "macro_f1", *plain)
        return {
            "split": self.split,
            **{name: getattr(found, name) for name in names},
            "temperature": self.temperature,
            "val_chose": list(self.val_chose),
            "intervals": {name: list(bounds) for name, bounds in found.intervals.items()},
            "per_class": found.per_class,
            "confusion": found.confusion,
            "uncalibrated": {name: getattr(self.uncalibrated, name) for name in plain},
            **({} if self.decided is None else {"decided": self.decided.to_dict()}),
            "bad_files": [file.to_dict() for file in self.scan.bad_files],
        }
