"""K runs, each judged on the part of DATA that it did not learn, and one run on all of it.

Content decides in which fold a picture is, so that it stays there when others come. Every picture
is scored once, by the one run that has not seen it: these figures use all images of a small set,
and their spread over the folds tells how much they depend on the split. The classifier that is kept
has learned from every image; its temperature is the geometric mean of those of the folds, since it
has no unseen image of its own to fit one on.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from softonce.artefact import read_artefact, read_metadata, write_artefact
from softonce.config.toml import from_toml, to_toml
from softonce.config.train import ALL, TrainConfig
from softonce.console import LOG
from softonce.data.samples import join_samples
from softonce.data.scan import Scan
from softonce.distributed import is_restartable
from softonce.errors import ConfigError
from softonce.evaluation import Evaluation, headline, summarise
from softonce.evaluation.predictions_file import write_predictions
from softonce.run_folder import RunFolder
from softonce.training.finish import write_suspects
from softonce.training.result import TrainResult
from softonce.training.start import as_resumed, own_output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


SPLIT = "all folds"


@dataclass(frozen=True, repr=False)
class FoldsResult(TrainResult):
    """What the runs of all folds have made; `evaluation` is of every image, out of fold.

    Args:
        folds: the run of each fold.
        predictions: a CSV file with a row for every image, by the run that did not learn it.
    """

    folds: tuple[TrainResult, ...]
    predictions: Path

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of every fold, each with its `fold`, from 1."""
        numbered = enumerate(self.folds, 1)
        return [{"fold": number} | row for number, result in numbered for row in result.history]


def asks_for_folds(config: TrainConfig) -> bool:
    """Return whether a configuration asks for folds, or to go on with some."""
    if config.folds is not None:
        return True
    beside = None if config.resume is None else RunFolder(config.resume).config
    return (
        beside is not None and beside.is_file() and from_toml(beside, TrainConfig).folds is not None
    )


def train_folds(config: TrainConfig, train: Callable[[TrainConfig], TrainResult]) -> FoldsResult:
    """Train the runs of all folds, and the one on all images.

    Args:
        config: with `folds`, or `resume` of a folder of folds: what is finished there stays.
        train: trains one run.

    Raises:
        ConfigError: under torchrun, or if the folder cannot be used.
    """
    if is_restartable():
        raise ConfigError(
            "expected one process for --folds, found torchrun: start one run a fold, with "
            "--val-fold 1/K to K/K"
        )
    with own_output(config) as asked:
        folder, settled = _open(asked)
        assert settled.folds is not None  # noqa: S101 - asked for
        results = []
        for number in range(1, settled.folds + 1):
            LOG.info("fold %d of %d", number, settled.folds)
            part = replace(settled, folds=None, val_fold=f"{number}/{settled.folds}")
            results.append(_train_in(folder / f"fold-{number}", part, train))
        LOG.info("all images")
        whole = _train_in(folder / "whole", _on_everything(settled, results), train)
        return _finish(folder, results, whole)


def _open(config: TrainConfig) -> tuple[Path, TrainConfig]:
    """Return the folder and what is asked of it; a new one gets its configuration."""
    if config.resume is not None:
        saved = from_toml(RunFolder(config.resume).config, TrainConfig)
        return config.resume, replace(saved, output=config.resume)
    assert config.output is not None  # noqa: S101 - chosen before
    folder = RunFolder(config.output)
    folder.check_free(overwrite=config.overwrite)
    asked = replace(config, overwrite=False)
    folder.claim(to_toml(asked), overwrite=config.overwrite)
    return folder.path, asked


def _train_in(
    folder: Path, config: TrainConfig, train: Callable[[TrainConfig], TrainResult]
) -> TrainResult:
    config = replace(config, output=folder)
    return train(as_resumed(config) if RunFolder(folder).config.is_file() else config)


def _on_everything(config: TrainConfig, results: Sequence[TrainResult]) -> TrainConfig:
    """Return the configuration of the run on all images: as long as the folds were at the median.

    No epoch can be chosen there, nor patience be lost, since all that it could be judged on is
    learned.
    """
    made = [read_metadata(result.artefact).training["epochs"] for result in results]
    epochs = config.epochs if config.patience is None else round(statistics.median(made))
    return replace(config, folds=None, val_fold=ALL, patience=None, epochs=epochs)


def _finish(folder: Path, results: Sequence[TrainResult], whole: TrainResult) -> FoldsResult:
    from softonce.report.run import write_evaluation_report  # matplotlib: half a second

    run, parts = RunFolder(folder), [result.validation for result in results]
    pooled = _pool(parts)
    tensors, metadata = read_artefact(whole.artefact)
    temperature = math.exp(statistics.fmean(math.log(part.temperature) for part in parts))
    training = metadata.training | {"folds": len(parts), "metrics": headline(pooled)}
    write_artefact(
        run.artefact, tensors, replace(metadata, temperature=temperature, training=training)
    )
    predictions = folder / "out_of_fold.csv"
    write_predictions(pooled, predictions)
    write_evaluation_report(
        pooled, f"{len(parts)} folds of {metadata.training['data']}", run.report
    )
    write_suspects(run, pooled)
    top1 = [part.figures.top1 for part in parts]
    LOG.info(
        "top-1 of each fold: %s; standard deviation %.2f points",
        ", ".join(f"{value:.2%}" for value in top1),
        100 * statistics.stdev(top1),
    )
    return FoldsResult(
        folder, run.artefact, run.report, pooled, pooled, tuple(results), predictions
    )


def _pool(parts: Sequence[Evaluation]) -> Evaluation:
    """Return the evaluation of all images, each with the logits and the temperature of its fold."""
    scans = [part.scan for part in parts]
    samples = join_samples([scan.samples for scan in scans], scans[0].samples.place)
    bad = dict.fromkeys(file for scan in scans for file in scan.bad_files)
    digests, looks = (
        np.concatenate([getattr(scan, name) for scan in scans]) for name in ("digests", "looks")
    )
    joined = Scan(samples, digests, looks, None, tuple(bad))
    target = torch.from_numpy(samples.target)
    raw, scaled = (
        torch.cat([part.logits / (part.temperature if is_scaled else 1.0) for part in parts])
        for is_scaled in (False, True)
    )
    before = summarise(raw, target, joined, SPLIT, temperature=1.0)
    after = summarise(scaled, target, joined, SPLIT, temperature=1.0)
    return replace(after, uncalibrated=before.figures, val_chose=parts[0].val_chose)
