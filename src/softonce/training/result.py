"""What a run has made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from softonce.classifier import Classifier
from softonce.plurals import format_count
from softonce.run_folder import RunFolder
from softonce.training.metrics_file import MetricsFile

if TYPE_CHECKING:
    from pathlib import Path

    from softonce.evaluation import Evaluation


@dataclass(frozen=True, repr=False)
class TrainResult:
    """What a run has made.

    Args:
        run: the run folder.
        artefact: the classifier of the best epoch.
        report: the HTML page.
        evaluation: of test if DATA has one, else of val.
        validation: of val, by which the epoch was chosen.
    """

    run: Path
    artefact: Path
    report: Path
    evaluation: Evaluation
    validation: Evaluation

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier of the best epoch, loaded when it is first asked for.

        Raises:
            ArtefactError: if the file is not there any more, or damaged.
        """
        return Classifier.load(self.artefact)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of `metrics.jsonl`: two an epoch, of train and of val."""
        return MetricsFile(RunFolder(self.run).metrics).rows()

    def __repr__(self) -> str:
        found = self.evaluation.figures
        images = format_count(found.n, "image")
        return (
            f"TrainResult({str(self.run)!r}, top-1 {found.top1:.2%} of {images} of "
            f"{self.evaluation.split})"
        )

    def _repr_html_(self) -> str:
        return self.evaluation._repr_html_() + f"<p>{self!r}</p>"
