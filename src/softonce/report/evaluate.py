"""Figures and, if it is asked for, the page that shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from softonce.config import EvaluateConfig
from softonce.config.keywords import config_of
from softonce.evaluation.run import evaluate as measure

if TYPE_CHECKING:
    from softonce.config.fields import Data
    from softonce.evaluation.result import Evaluation


def evaluate(config: EvaluateConfig | Data, *data: Data, **options: Any) -> Evaluation:
    """Measure an artefact, or a network with foreign weights, on a folder of images.

    Every image counts exactly once; an artefact computes in float32, as it was trained.

    Args:
        config: the options of `softonce evaluate`, or the artefact.
        data: the images, if the artefact is given.
        options: fields of `EvaluateConfig` by name; `report` and `predictions` are files that are
            written; `json` is how the command line prints.

    Raises:
        SoftonceError: if the options, the artefact or the data cannot be used.
        StorageError: if a file cannot be written.

    Example:
        >>> evaluate("no.safetensors", "photos", tta="flip")
        Traceback (most recent call last):
        softonce.errors.ArtefactError: expected a model file at no.safetensors, ...
    """
    settled = config_of(EvaluateConfig, config, *data, **options)
    found = measure(settled)
    if settled.report is not None:
        from softonce.report.run import write_evaluation_report  # matplotlib: half a second

        title = f"{settled.model or settled.artefact} on {settled.data}"
        write_evaluation_report(found, title, settled.report)
    return found
