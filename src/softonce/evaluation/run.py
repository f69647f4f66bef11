"""An artefact and a folder of images become figures."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softonce.artefact import Metadata
from softonce.config import CompareConfig, EvaluateConfig
from softonce.config.fields import preprocessing_from
from softonce.config.keywords import config_of
from softonce.console import visible_notes
from softonce.data.loader import Loader
from softonce.data.scan import scan
from softonce.data.scan_file import ScanFile
from softonce.engines import open_engine
from softonce.engines.engine import with_tta
from softonce.engines.networks import as_evaluated, build_network
from softonce.engines.torch_engine import TorchEngine
from softonce.errors import ConfigError
from softonce.evaluation.images import choose_part, choose_samples, match_classes
from softonce.evaluation.measuring import measure
from softonce.evaluation.result import choices_of_val
from softonce.hardware import pick_device
from softonce.run_folder import RunFolder, model_file

if TYPE_CHECKING:
    from softonce.config.fields import Data
    from softonce.data.samples import Samples
    from softonce.engines import Engine
    from softonce.evaluation.comparison import Comparison
    from softonce.evaluation.result import Evaluation
    from softonce.preprocessing import Preprocessing


def evaluate(config: EvaluateConfig | Data, *data: Data, **options: Any) -> Evaluation:
    """Measure an artefact, or a network with foreign weights, on a folder of images.

    Every image counts exactly once; an artefact computes in float32, as it was trained.

    Args:
        config: the options of `softonce evaluate`, or the artefact.
        data: the images, if the artefact is given.
        options: fields of `EvaluateConfig` by name; the page of `report` is written by
            `softonce.evaluate`, which calls this.

    Raises:
        SoftonceError: if the options, the artefact or the data cannot be used.

    Example:
        >>> evaluate("no.safetensors", "photos", tta="flip")
        Traceback (most recent call last):
        softonce.errors.ArtefactError: expected a model file at no.safetensors, ...
    """
    settled = config_of(EvaluateConfig, config, *data, **options)
    with visible_notes(quiet=settled.quiet):
        found = _evaluate(settled)
    if settled.predictions is not None:
        found.write_predictions(settled.predictions)
    return found


def compare(config: CompareConfig | Data, *paths: Data, **options: Any) -> Comparison:
    """Compare two classifiers on the same images.

    Images are paired by path, and classes by name: the intervals are of the difference, which is
    known better than either figure.

    Args:
        config: the options of `softonce compare`, or the first classifier.
        paths: the second classifier and the images, if the first is given.
        options: fields of `CompareConfig` by name.

    Raises:
        ArgumentError: if the classes differ, or no image is measured by both.
        SoftonceError: if the options, a classifier or the data cannot be used.

    Example:
        >>> compare("a.safetensors", "b.safetensors", "photos")
        Traceback (most recent call last):
        softonce.errors.ArtefactError: expected a model file at a.safetensors, ...
    """
    settled = config_of(CompareConfig, config, *paths, **options)
    shared = {
        name: value
        for name, value in vars(settled).items()
        if name not in ("first", "second", "data", "json")
    }
    names = (str(settled.first), str(settled.second))
    with visible_notes(quiet=settled.quiet):
        first, second = (
            _evaluate(EvaluateConfig((name, settled.data), **shared)) for name in names
        )
        return first.compare(second, names=names, seed=settled.seed)


def _evaluate(config: EvaluateConfig) -> Evaluation:
    engine: Engine
    if config.artefact is None:
        engine, split, samples, is_part = _foreign(config)
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
        _check_exclusive(engine.metadata, config.artefact)
        split, samples, is_part = choose_samples(config, engine.metadata.classes)
    preprocessing = preprocessing_from(config, engine.metadata.preprocessing)
    engine = _with_preprocessing(engine, preprocessing)
    kept = _scan_file(config, preprocessing)
    readable = scan(samples, preprocessing, max_bad_fraction=config.max_bad_fraction, kept=kept)
    if kept is not None:
        kept.say()
    split, readable, num_trained_on = choose_part(
        config, split, readable, engine.metadata, is_part=is_part
    )
    loader = Loader(readable, preprocessing, config.batch_size, workers=config.workers)
    engine = with_tta(engine, config.tta)
    temperature = engine.metadata.temperature
    with closing(loader):
        found = measure(engine, loader, split, temperature=temperature, seed=config.seed)
    training = engine.metadata.training if split == "val" else {}
    return replace(
        found,
        engine=engine,
        num_trained_on=num_trained_on,
        val_chose=choices_of_val(training, temperature) if training else (),
    )


def _check_exclusive(metadata: Metadata, path: Path) -> None:
    """Raise a `ConfigError` if labels do not exclude each other: DATA has one class an image."""
    if metadata.normaliser != "softmax":
        raise ConfigError(
            f"expected a classifier whose classes exclude each other, found {path}, whose "
            f"{len(metadata.classes)} labels have a {metadata.normaliser} each: images with one "
            "class each cannot measure it; predict and serve give its probabilities"
        )


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


def _foreign(config: EvaluateConfig) -> tuple[TorchEngine, str, Samples, bool]:
    """Build the named network with foreign weights, and match their classes with DATA's."""
    assert config.model is not None  # noqa: S101 - checked by the configuration
    split, samples, is_part = choose_samples(config, None)
    model, preprocessing = build_network(
        config.model,
        num_classes=len(samples.classes) if Path(config.weights or "").exists() else None,
        in_channels=3,
        weights=config.weights,
        fresh_head=False,
    )
    samples = match_classes(samples, model.classes, model.num_logits)
    metadata = Metadata(
        arch=config.model, arch_args={}, classes=samples.classes, preprocessing=preprocessing
    )
    network = as_evaluated(model, pick_device(config.device))
    return TorchEngine(network, metadata), split, samples, is_part
