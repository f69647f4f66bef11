"""An artefact and a folder of images become figures."""

from __future__ import annotations

import html
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from softonce.artefact import Metadata
from softonce.config import EvaluateConfig
from softonce.config.fields import preprocessing_from
from softonce.config.keywords import config_of
from softonce.console import LOG, progress, visible_notes
from softonce.console.tables import format_table
from softonce.data.loader import Loader
from softonce.data.samples import list_samples, split_off_val
from softonce.data.scan import Scan, scan
from softonce.data.scan_file import ScanFile
from softonce.data.sources import open_source
from softonce.data.sources.source import WHOLE
from softonce.distributed import raise_on_all_ranks
from softonce.engines import open_engine
from softonce.engines.engine import with_tta
from softonce.engines.networks import as_evaluated, build_network
from softonce.engines.torch_engine import TorchEngine
from softonce.errors import ArgumentError, ConfigError, DataError
from softonce.groups import gather_rows
from softonce.hardware import pick_device
from softonce.metrics import Figures, figures, score_rows
from softonce.metrics.table import build_table, column_names, figure_rows
from softonce.plurals import format_count
from softonce.run_folder import RunFolder, model_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table
    from torch import Tensor

    from softonce.config.fields import Data
    from softonce.data.samples import Samples
    from softonce.engines import Engine
    from softonce.metrics.table import FigureRow
    from softonce.preprocessing import Preprocessing


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
        engine: what computed the logits, if more may be asked of it.
    """

    split: str
    classes: tuple[str, ...]
    temperature: float
    figures: Figures
    uncalibrated: Figures
    logits: Tensor
    scan: Scan
    engine: Engine | None = field(default=None, repr=False, compare=False)

    @property
    def title(self) -> str:
        """What was measured, in one line."""
        images = format_count(self.figures.n, "image")
        return f"{images} of {self.split}, {format_count(len(self.classes), 'class')}"

    def table(self) -> Table:
        """Return the figures with their intervals, before and after the temperature."""
        return build_table(self.title, self._rows(), self.temperature)

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
        return (
            f"<table><caption>{title}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the record that `softonce evaluate --json` prints."""
        found = self.figures
        names = ("n", "top1", "top5", "nll", "brier", "ece")
        return {
            "split": self.split,
            **{name: getattr(found, name) for name in names},
            "adaptive_ece": found.adaptive_ece,
            "temperature": self.temperature,
            "intervals": {name: list(bounds) for name, bounds in found.intervals.items()},
            "per_class": found.per_class,
            "confusion": found.confusion,
            "uncalibrated": {name: getattr(self.uncalibrated, name) for name in names[3:]},
            "bad_files": [file.to_dict() for file in self.scan.bad_files],
        }


def evaluate(config: EvaluateConfig | Data, *data: Data, **options: Any) -> Evaluation:
    """Measure an artefact, or a network with foreign weights, on a folder of images.

    Every image counts exactly once; an artefact computes in float32, as it was trained.

    Args:
        config: the options of `softonce evaluate`, or the artefact.
        data: the images, if the artefact is given.
        options: fields of `EvaluateConfig` by name.

    Raises:
        SoftonceError: if the options, the artefact or the data cannot be used.

    Example:
        >>> evaluate("no.safetensors", "photos", tta="flip")
        Traceback (most recent call last):
        softonce.errors.ArtefactError: expected a model file at no.safetensors, ...
    """
    settled = config_of(EvaluateConfig, config, *data, **options)
    with visible_notes(quiet=settled.quiet):
        return _evaluate(settled)


def _evaluate(config: EvaluateConfig) -> Evaluation:
    engine: Engine
    if config.artefact is None:
        engine, split, samples = _foreign(config)
    else:
        engine = open_engine(
            config.artefact,
            name=config.engine,
            device=config.device,
            exact=True,
            threads=config.threads,
            trust=config.trust,
            model=config.model,
        )
        split, samples = _samples(config, engine.metadata.classes, engine.metadata.training)
    preprocessing = preprocessing_from(config, engine.metadata.preprocessing)
    engine = _with_preprocessing(engine, preprocessing)
    kept = _scan_file(config, preprocessing)
    readable = scan(samples, preprocessing, max_bad_fraction=config.max_bad_fraction, kept=kept)
    if kept is not None:
        kept.say()
    loader = Loader(readable, preprocessing, config.batch_size, workers=config.workers)
    engine = with_tta(engine, config.tta)
    temperature = engine.metadata.temperature
    with closing(loader):
        found = measure(engine, loader, split, temperature=temperature, seed=config.seed)
    return replace(found, engine=engine)


def _scan_file(config: EvaluateConfig, preprocessing: Preprocessing) -> ScanFile | None:
    """Return what the run that made the artefact has found in the same data, if it is there."""
    if config.artefact is None:
        return None
    path = RunFolder(model_file(config.artefact).parent).scan
    return ScanFile(path, config.data, preprocessing.mode) if path.exists() else None


def _with_preprocessing(engine: Engine, preprocessing: Preprocessing) -> Engine:
    """Return the engine with the preprocessing that the flags ask for."""
    if preprocessing == engine.metadata.preprocessing:
        return engine
    if not isinstance(engine, TorchEngine):
        raise ConfigError(
            "expected no --size, --resize, --mean or --std for an exported file, whose own "
            "preprocessing is inside: evaluate the artefact, or export another one"
        )
    return replace(engine, metadata=replace(engine.metadata, preprocessing=preprocessing))


def _foreign(config: EvaluateConfig) -> tuple[TorchEngine, str, Samples]:
    """Build the named network with foreign weights, whose classes are DATA's own folders."""
    assert config.model is not None  # noqa: S101 - checked by the configuration
    split, samples = _samples(config, None, {})
    model, preprocessing = build_network(
        config.model,
        num_classes=len(samples.classes),
        in_channels=3,
        weights=config.weights,
        fresh_head=False,
    )
    metadata = Metadata(
        arch=config.model, arch_args={}, classes=samples.classes, preprocessing=preprocessing
    )
    network = as_evaluated(model, pick_device(config.device))
    return TorchEngine(network, metadata), split, samples


def measure(
    engine: Engine, loader: Loader, split: str, *, temperature: float, seed: int = 0
) -> Evaluation:
    """Run a network over a split and compute its figures.

    Args:
        engine: the network.
        loader: its images, without augmentation.
        split: the split's name.
        temperature: what the logits are divided by.
        seed: of the bootstrap intervals.
    """
    logits, target = collect_logits(engine, loader, label=f"evaluating {split}")
    return summarise(logits, target, loader.scan, split, temperature=temperature, seed=seed)


def summarise(
    logits: Tensor, target: Tensor, readable: Scan, split: str, *, temperature: float, seed: int = 0
) -> Evaluation:
    """Compute the figures of logits that are already there."""
    classes = readable.samples.classes
    calibrated = figures(score_rows(logits, target, temperature=temperature), classes, seed=seed)
    plain = calibrated
    if temperature != 1.0:
        plain = figures(score_rows(logits, target), classes, seed=seed)
    return Evaluation(split, classes, temperature, calibrated, plain, logits, readable)


def collect_logits(
    engine: Engine, loader: Loader, *, label: str = "evaluating"
) -> tuple[Tensor, Tensor]:
    """Return the logits (N, C) and the target (N,) of every image, in order.

    Many processes compute a share each; every image counts once, and all get the same logits.
    """
    own = raise_on_all_ranks(lambda: _own_logits(engine, loader, label))
    return gather_rows(own, loader.counts()), torch.from_numpy(loader.scan.samples.target)


def _own_logits(engine: Engine, loader: Loader, label: str) -> Tensor:
    logits = [torch.empty(0, len(loader.scan.samples.classes))]
    with progress(label, len(loader.scan)) as advance, closing(loader.batches()) as batches:
        for pixels, target in batches:
            logits.append(torch.from_numpy(engine.logits(pixels.numpy())))
            advance(len(target) * loader.world_size)
    return torch.cat(logits)


def _samples(
    config: EvaluateConfig, classes: tuple[str, ...] | None, training: dict[str, Any]
) -> tuple[str, Samples]:
    """List the split's images, by the artefact's classes or by DATA's own folders."""
    source = open_source(config.data)
    splits = source.splits()
    split = config.split or _default_split(splits)
    there = next((name for name in (split, "train", WHOLE) if name in splits), None)
    if there is None or (split == "test" and "test" not in splits):
        raise DataError(
            f"expected a {split} split in {config.data}, found {', '.join(splits)}: "
            "choose one of these with --split"
        )
    samples = list_samples(source, there, classes)
    if classes is None:
        shown = _join_classes(samples.classes)
        LOG.info("class names come from %s, in order: %s", samples.place, shown)
    if split == WHOLE and config.split is None and samples.listing() == training.get("listing"):
        LOG.info(
            "%s is what the classifier was trained on: only its val part is evaluated",
            samples.place,
        )
        split = "val"
    if split in splits or split == WHOLE:
        return split, samples
    return split, _split_again(samples, split, training)


def _default_split(splits: tuple[str, ...]) -> str:
    """Return test where it exists, else val, which may have to be split off train."""
    return next((name for name in ("test", "val", WHOLE) if name in splits), "val")


def _split_again(samples: Samples, split: str, training: dict[str, Any]) -> Samples:
    """Make the split of the training run again, from the numbers in its artefact."""
    by = training.get("split") or {"val_fraction": 0.2, "seed": 0}
    train, val = split_off_val(samples, by["val_fraction"], seed=by["seed"])
    return samples.take(val if split == "val" else train)


def _join_classes(classes: tuple[str, ...]) -> str:
    return ", ".join(classes[:6]) + (", ..." if len(classes) > 6 else "")
