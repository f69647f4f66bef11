"""The images of an evaluation whose labels are probably wrong, and a table of them."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from softonce.metrics import find_label_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from softonce.evaluation.result import Evaluation


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """An image whose label is probably wrong.

    Args:
        path: of the image.
        label: name of the class that it has.
        suggested: name of the class that the network takes it for.
        prob_label: probability of `label`.
        prob_suggested: probability of `suggested`.
    """

    path: str
    label: str
    suggested: str
    prob_label: float
    prob_suggested: float


def find_suspects(evaluation: Evaluation) -> list[Suspect]:
    """Return the images whose labels are probably wrong, the surest first."""
    samples, classes = evaluation.scan.samples, evaluation.classes
    found = find_label_errors(
        evaluation.logits, torch.from_numpy(samples.target), temperature=evaluation.temperature
    )
    columns = (found.rows, found.suggested, found.prob_label, found.prob_suggested)
    return [
        Suspect(
            path=samples.where(row),
            label=classes[samples.target[row]],
            suggested=classes[suggested],
            prob_label=prob_label,
            prob_suggested=prob_suggested,
        )
        for row, suggested, prob_label, prob_suggested in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]


def suspects_to_csv(suspects: Sequence[Suspect]) -> str:
    """Return a table of suspects, of which `--exclude` takes the paths."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "suggested", "prob_label", "prob_suggested"])
    for suspect in suspects:
        probs = (f"{suspect.prob_label:.6g}", f"{suspect.prob_suggested:.6g}")
        writer.writerow([suspect.path, suspect.label, suspect.suggested, *probs])
    return text.getvalue()
