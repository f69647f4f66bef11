"""The verb: a foreign model file becomes a classifier of ours, compared before it is there."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from softonce.adoption.agreement import Original, compare, prove
from softonce.adoption.class_names import find_names
from softonce.adoption.entrance import find_entrance
from softonce.adoption.foreign import Plan, open_foreign
from softonce.adoption.head import find_head
from softonce.adoption.labelled import list_labelled, settle_classes, some
from softonce.adoption.scaling import settle_scaling
from softonce.artefact import Metadata
from softonce.calibrate import calibrate
from softonce.config import AdoptConfig
from softonce.config.keywords import config_of
from softonce.console import LOG, visible_notes
from softonce.data.loader import Loader
from softonce.data.scan import scan
from softonce.engines import open_engine
from softonce.engines.graph_engine import GraphEngine
from softonce.errors import ConfigError, DataError
from softonce.evaluation.measuring import collect_logits
from softonce.exporting.pictures import made_up_pictures, read_pictures
from softonce.exporting.run import folder_beside, move_made
from softonce.formats import format_of
from softonce.plurals import format_count
from softonce.preprocessing import num_channels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from softonce.adoption.agreement import Agreement
    from softonce.adoption.entrance import Found
    from softonce.adoption.foreign import Foreign
    from softonce.adoption.head import Head
    from softonce.calibrate import Calibration
    from softonce.classifier import Classifier
    from softonce.data.samples import Samples
    from softonce.inference import Normaliser
    from softonce.preprocessing import Preprocessing

_NUM_PROBED = 4
"""Pictures for the proof of the head: more than one, so that the axis of the batch is seen."""


@dataclass(frozen=True, repr=False)
class Adopted:
    """What an adoption came to.

    Args:
        file: where the classifier is.
        metadata: what it says of itself.
        notes: what was found and decided, a line each, by heading.
        agreement: how its answers compare with the original's.
        calibration: what DATA says of the temperature; None without DATA, and of sigmoids.
    """

    file: Path
    metadata: Metadata
    notes: dict[str, str]
    agreement: Agreement
    calibration: Calibration | None

    @property
    def classifier(self) -> Classifier:
        """The classifier, ready to predict."""
        from softonce.classifier import Classifier

        return Classifier.load(self.file)

    def __repr__(self) -> str:
        return (
            f"Adopted({str(self.file)!r}, {len(self.metadata.classes)} classes, "
            f"{self.metadata.normaliser}, temperature {self.metadata.temperature:.4g}, "
            f"answers within {self.agreement.probs:.1e})"
        )


def adopt(config: AdoptConfig | str | Path, *data: str | Path, **options: Any) -> Adopted:
    """Make a classifier of a model file that another program wrote.

    The normaliser is found in the graph and taken off, so that the new file has logits and one
    softmax of ours; what the graph does not say of its pictures is an option, or is measured on
    labelled images. Nothing of the file is run but its graph, without operators of other libraries.

    Args:
        config: the options of `softonce adopt`, or the model file.
        data: labelled images, if the model file is given.
        options: fields of `AdoptConfig` by name.

    Returns:
        Where the file is, what was found, and how its answers compare with the original's.

    Raises:
        ArtefactError: if the file cannot be used, or does not classify pictures; the message
            names the node.
        ConfigError: if an option is needed, or cannot be used.
        DataError: if the images cannot be used, or do not show how pixels are scaled.
        MissingExtraError: if what reads or runs the file is not installed.

    Example:
        >>> adopt("no.onnx", "photos")
        Traceback (most recent call last):
        softonce.errors.ArtefactError: expected a model file at no.onnx, found nothing: ...
    """
    settled = config_of(AdoptConfig, config, *data, **options)
    with visible_notes(quiet=settled.quiet):
        return _adopt(settled)


def _adopt(config: AdoptConfig) -> Adopted:
    foreign = open_foreign(config.foreign)
    head = find_head(foreign.graph, asked=config.head, output=config.output_name)
    found = find_entrance(foreign, config)
    size = _size(found, config)
    original = Original(foreign, head, found.entrance)
    num_scores = prove(original, _noise(found, size))
    num_classes = max(2, num_scores)
    normaliser: Normaliser = (head.kind or "softmax") if num_scores > 1 else "softmax"
    names = find_names(foreign.path, foreign.about, num_classes, config.classes)
    samples = list_labelled(config, names, num_classes)
    classes, about_classes = settle_classes(names, samples, num_classes)
    shown = None if samples is None else some(samples, config.samples)
    scaled = settle_scaling(foreign, found, size, config, original=original, samples=shown)
    metadata = Metadata(
        arch=f"{foreign.producer or 'foreign'}: {foreign.path.name}",
        arch_args={},
        classes=classes,
        preprocessing=scaled.preprocessing,
        training=_origin(foreign.path, head),
        normaliser=normaliser,
    )
    entrance = replace(found.entrance, order=scaled.order)
    fill = _fill(head, num_scores, num_classes)
    plan = Plan(head, entrance, metadata, num_scores, fill, entrance.batch)
    notes = {
        "scores": _scores_in_words(head, num_scores, normaliser),
        "classes": about_classes,
        "pixels": _pixels_in_words(scaled.preprocessing, scaled.order, scaled.note),
    }
    return _write(config, foreign, plan, notes, samples)


def _size(found: Found, config: AdoptConfig) -> int:
    size = found.size or config.size
    if size is None:
        raise ConfigError(
            f"expected --size for {config.foreign}, whose input takes any, found none: say the "
            "side of the square that the network was trained on"
        )
    return size


def _noise(found: Found, size: int) -> NDArray[np.float32]:
    """Return planes that tell classes apart, in the range that the graph takes."""
    shape = (_NUM_PROBED, num_channels(found.mode), size, size)
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    return noise if found.takes == "0..255" else noise / np.float32(255)


def _fill(head: Head, num_scores: int, num_classes: int) -> Literal["", "before", "after"]:
    if num_scores == num_classes:
        return ""
    return "after" if head.is_yes_first else "before"


def _origin(path: Path, head: Head) -> dict[str, Any]:
    """Return what the new file says of where it comes from."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    taken_off = [step.node for step in head.normalisers]
    return {"adopted": path.name, "sha256": digest, "taken_off": taken_off}


def _write(
    config: AdoptConfig,
    foreign: Foreign,
    plan: Plan,
    notes: dict[str, str],
    samples: Samples | None,
) -> Adopted:
    """Write the file in a folder beside its place, compare it, calibrate it, and move it there."""
    form = format_of(config.file)
    assert form is not None  # noqa: S101 - the foreign file has the same suffix, and was read
    pixels = _pixels(config, plan.metadata.preprocessing, samples)
    with folder_beside(config.file) as folder:
        made = folder / config.file.name

        def written(plan: Plan) -> tuple[GraphEngine, Agreement]:
            foreign.write(plan, made)
            name = form.runtimes[0].name
            engine = open_engine(made, name=name, threads=config.threads)
            assert isinstance(engine, GraphEngine)  # noqa: S101 - it is no artefact
            original = Original(foreign, plan.head, plan.entrance)
            is_real = samples is not None
            return engine, compare(original, engine, pixels, foreign.path, is_real=is_real)

        plan, (engine, agreement) = _for_any_number(plan, written)
        found = None
        if samples is not None and plan.metadata.normaliser == "softmax":
            found = _calibrate(config, engine, samples)
            if found.temperature != 1:
                metadata = replace(plan.metadata, temperature=found.temperature)
                plan = replace(plan, metadata=metadata)
                foreign.write(plan, made)
        move_made(form, made, config.file)
    notes["temperature"] = _temperature_in_words(plan.metadata, found, samples)
    return Adopted(config.file, plan.metadata, notes, agreement, found)


def _for_any_number(
    plan: Plan, written: Callable[[Plan], tuple[GraphEngine, Agreement]]
) -> tuple[Plan, tuple[GraphEngine, Agreement]]:
    """Let the file take any number of pictures; if the graph's shapes forbid it, its own number."""
    if plan.batch is None:
        return plan, written(plan)
    free = replace(plan, batch=None)
    try:
        return free, written(free)
    except Exception:  # noqa: BLE001 - shapes that do not fit are an error of each runtime's own
        return plan, written(plan)


def _pixels(
    config: AdoptConfig, preprocessing: Preprocessing, samples: Samples | None
) -> NDArray[np.uint8]:
    """Return the pictures that both files are compared on."""
    if samples is None:
        LOG.warning("no images: compared on made-up pictures; DATA names real ones")
        pictures = made_up_pictures(preprocessing)
    else:
        pictures = read_pictures(some(samples, config.samples), preprocessing)
    pixels = [picture.pixels for picture in pictures]
    if not pixels:
        raise DataError("expected pictures to compare on, found none that can be read")
    return np.stack(pixels)


def _calibrate(config: AdoptConfig, engine: GraphEngine, samples: Samples) -> Calibration:
    """Fit the temperature on all labelled images; it is kept if it helps others."""
    preprocessing = engine.metadata.preprocessing
    readable = scan(samples, preprocessing, max_bad_fraction=config.max_bad_fraction)
    loader = Loader(readable, preprocessing, config.batch_size, workers=config.workers)
    with closing(loader):
        return calibrate(*collect_logits(engine, loader, label="measuring"))


def _scores_in_words(head: Head, num_scores: int, normaliser: Normaliser) -> str:
    """Say what was taken off, and what the scores are."""
    nodes = [step.node for step in head.normalisers]
    if head.is_log:
        text = f"no node normalises: the logits are the logarithms of {head.output!r}"
    elif not nodes:
        text = f"{head.output!r} has logits, taken for those of a {normaliser}"
    elif len(nodes) == 1:
        text = f"logits before {nodes[0]}, which comes off"
    else:
        text = f"normalised {len(nodes)} times, by {' and then '.join(nodes)}: all come off"
    if num_scores == 1:
        return f"{text}; one logit z for two classes, whose logits are 0 and z"
    if normaliser == "sigmoid":
        return f"{text}; {num_scores} labels, each with a sigmoid of its own"
    return text


def _pixels_in_words(preprocessing: Preprocessing, order: str, note: str) -> str:
    """Say what the network sees, and how that is known."""
    numbers = ("mean", "std")
    mean, std = (" ".join(f"{x:.4g}" for x in getattr(preprocessing, name)) for name in numbers)
    side = f"{preprocessing.size} px, {preprocessing.fit}"
    if preprocessing.fit == "crop" and preprocessing.resize > preprocessing.size:
        side += f" of {preprocessing.resize}"
    colours = order if preprocessing.mode == "RGB" else f"mode {preprocessing.mode}"
    return f"{side}, {colours}, mean {mean}, std {std}: {note}"


def _temperature_in_words(
    metadata: Metadata, found: Calibration | None, samples: Samples | None
) -> str:
    if samples is None:
        return "1: no images to fit it on"
    if found is None:
        return "1: DATA has one class a picture, and labels by themselves need labels of their own"
    if found.reason:
        return f"1: {found.reason}"
    return (
        f"{metadata.temperature:.4g}, fitted on {format_count(len(samples), 'image')} of "
        f"{samples.place}: the NLL of images without a part in it falls by {found.gain:.3g} nats "
        "(95 % interval {:.3g} to {:.3g})".format(*found.gain_interval)
    )
