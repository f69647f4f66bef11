"""The verb: a classifier and images that it was not trained on become its rules of decision."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from softonce import inference
from softonce.artefact import read_artefact, write_artefact
from softonce.calibrate.abstention import fit_abstention
from softonce.calibrate.conformal import fit_sets
from softonce.calibrate.novelty import fit_novelty
from softonce.config import DecideConfig, EvaluateConfig
from softonce.config.keywords import config_of
from softonce.console import LOG, visible_notes
from softonce.decisions import Decisions, energies
from softonce.engines import open_engine
from softonce.engines.graph_record import HOLD_RECORDS, is_adopted, write_record
from softonce.errors import ConfigError, DataError
from softonce.evaluation.run import evaluate
from softonce.formats import is_artefact
from softonce.run_folder import model_file

if TYPE_CHECKING:
    from softonce.config.fields import Data
    from softonce.evaluation.result import Evaluation


def decide(config: DecideConfig | Data, *data: Data, **options: Any) -> Decisions:
    """Find the rules that a classifier decides by, and store them in its file.

    `predict`, `serve` and files that are exported afterwards follow them.

    Args:
        config: the options of `softonce decide`, or the classifier.
        data: images that it was not trained on, if the classifier is given.
        options: fields of `DecideConfig` by name, such as `accuracy=0.95` or `coverage=0.9`.

    Returns:
        The rules that are now in the file.

    Raises:
        ConfigError: if an option cannot be used, or the classifier is an exported file.
        DataError: if the images do not suffice for what was asked, or were trained on.
        SoftonceError: if the classifier or the data cannot be used otherwise.

    Example:
        >>> decide("no.safetensors", "photos", coverage=0.9)
        Traceback (most recent call last):
        softonce.errors.ArtefactError: expected a model file at no.safetensors, ...
    """
    settled = config_of(DecideConfig, config, *data, **options)
    path = model_file(settled.artefact)
    graph = open_engine(path).metadata if path.suffix.lower() in HOLD_RECORDS else None
    if not is_artefact(path) and (graph is None or not is_adopted(graph)):
        raise ConfigError(
            f"expected a .safetensors file, found the exported {path}: decide for the run's "
            "model.safetensors, and export it again"
        )
    with visible_notes(quiet=settled.quiet):
        decisions = Decisions() if settled.off else _find(settled)
        if graph is not None:
            write_record(path, replace(graph, decisions=decisions))
        else:
            tensors, metadata = read_artefact(path)
            write_artefact(path, tensors, replace(metadata, decisions=decisions))
    return decisions


def _find(config: DecideConfig) -> Decisions:
    own = ("artefact", "data", "accuracy", "coverage", "false_alarms", "method", "off")
    shared = {name: value for name, value in vars(config).items() if name not in own}
    evaluation = evaluate(EvaluateConfig((config.artefact, config.data), **shared))
    _check_unseen(evaluation)
    target = torch.from_numpy(evaluation.scan.samples.target)
    logits = evaluation.logits.double()
    probs = inference.probs(logits, temperature=evaluation.temperature)
    abstention = sets = novelty = None
    if config.accuracy is not None:
        confidence, pred = probs.max(dim=1)
        correct = (pred == target).numpy()
        abstention = fit_abstention(confidence.numpy(), correct, accuracy=config.accuracy)
    if config.coverage is not None:
        rows = (probs.numpy(), target.numpy())
        sets = fit_sets(*rows, coverage=config.coverage, method=config.method)
    if config.false_alarms is not None:
        novelty = fit_novelty(energies(logits.numpy()), false_alarms=config.false_alarms)
    return Decisions(abstention=abstention, sets=sets, novelty=novelty)


def _check_unseen(evaluation: Evaluation) -> None:
    """Raise a `DataError` if the network was trained on the images: what it promises would fail."""
    if evaluation.num_trained_on:
        raise DataError(
            f"expected images that the classifier was not trained on, found "
            f"{evaluation.num_trained_on} of {evaluation.figures.n} that it was: its promises "
            "would not hold for new ones; take a split that it has not seen"
        )
    if evaluation.val_chose:
        LOG.warning(
            "val also chose the %s: promises made on it are a little too good; a test/ folder, or "
            "images that came later, make better ones",
            " and the ".join(evaluation.val_chose),
        )
