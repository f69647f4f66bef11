"""Which images are measured: never in silence one that was trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from softonce.config import TrainConfig
from softonce.console import LOG
from softonce.data.doubles import find_copies
from softonce.data.membership import are_among, choose_val
from softonce.data.samples import join_samples, list_samples
from softonce.data.sources import open_source
from softonce.data.sources.columns import Columns
from softonce.data.sources.source import WHOLE
from softonce.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from softonce.artefact import Metadata
    from softonce.config import EvaluateConfig
    from softonce.data.samples import Samples
    from softonce.data.scan import Scan
    from softonce.data.sources.source import Source


def choose_samples(
    config: EvaluateConfig, classes: tuple[str, ...] | None
) -> tuple[str, Samples, bool]:
    """List the split's images, by the artefact's classes or by DATA's own folders.

    Returns:
        The split that is wanted; its images, or those of which it is a part; and whether it is:
        of DATA without val/, content decides what val is, and what has been trained on.
    """
    source = open_source(config.data, Columns.of(config))
    splits = source.splits()
    split = config.split or _default_split(splits)
    if split == WHOLE and WHOLE not in splits:
        return split, _list_all(source, config, classes), False
    there = next((name for name in (split, "train", WHOLE) if name in splits), None)
    if there is None or (split == "test" and "test" not in splits):
        raise DataError(
            f"expected a {split} split in {config.data}, found {', '.join(splits)}: "
            "choose one of these with --split"
        )
    samples = list_samples(source, there, classes, max_pixels=config.max_pixels)
    if classes is None:
        shown = _join_classes(samples.classes)
        LOG.info("class names come from %s, in order: %s", samples.place, shown)
    return split, samples, split not in splits or (split == WHOLE and config.split is None)


def match_classes(samples: Samples, names: tuple[str, ...] | None, num_logits: int) -> Samples:
    """Return the images with the classes of foreign weights.

    Args:
        samples: with the classes of DATA's own folders.
        names: of the logits, if the weights say them: DATA's are then found among them by name,
            unless it has none of them, as a folder of ImageNet that is named by WordNet's numbers.
        num_logits: of the network; without names DATA's classes are these in their order.

    Raises:
        DataError: if DATA has other classes.
    """
    if names is not None and set(names) & set(samples.classes):
        found = [name for name in samples.classes if names.count(name) == 1]
        if len(found) == len(samples.classes):
            LOG.info("they are found by name among the %d of the weights", len(names))
            return samples.in_order(names)
        strange = _join_classes(tuple(name for name in samples.classes if name not in found))
        raise DataError(
            f"expected classes in {samples.place} that the weights name, each once, found "
            f"{strange}: rename or remove them"
        )
    if num_logits != len(samples.classes):
        raise DataError(
            f"expected the {num_logits} classes of the weights in {samples.place}, found "
            f"{len(samples.classes)}: use the data they were made for"
        )
    return samples


def _list_all(source: Source, config: EvaluateConfig, classes: tuple[str, ...] | None) -> Samples:
    """List the images of every split; the class names of DATA itself are those of the first."""
    parts: list[Samples] = []
    for split in source.splits():
        parts.append(list_samples(source, split, classes, max_pixels=config.max_pixels))
        classes = parts[0].classes
    names = np.repeat(source.splits(), [len(part) for part in parts])
    return replace(join_samples(parts, config.data), splits=names)


def _default_split(splits: tuple[str, ...]) -> str:
    """Return test if it exists, else val, which may have to be split off train."""
    return next((name for name in ("test", "val", WHOLE) if name in splits), "val")


def choose_part(
    config: EvaluateConfig, split: str, readable: Scan, metadata: Metadata, *, is_part: bool
) -> tuple[str, Scan, int]:
    """Return the name and the images of what is scored, and how many of these were trained on.

    Args:
        config: the options.
        split: what is wanted.
        readable: all images that it may be made of.
        metadata: of the network.
        is_part: whether the split is a part of these, by content.
    """
    if config.artefact is None:
        known = np.zeros(len(readable), np.bool_)
        wanted = _split_off(readable, split) if is_part and split != WHOLE else ~known
    else:
        known = _find_known(readable, metadata, config.artefact)
        if not is_part or (split == WHOLE and (known.all() or not known.any())):
            if split == WHOLE and readable.samples.splits is None:
                readable = readable.with_splits(np.where(known, "train", _unseen(metadata)))
            return split, readable, int(known.sum())
        wanted = known if split == "train" else ~known
    if not wanted.any():
        raise DataError(
            f"expected images in {readable.samples.place} for --split {split}, found none that "
            f"{config.artefact} was {'' if split == 'train' else 'not '}trained on: "
            "--split all scores every image"
        )
    if split == WHOLE and known.any():
        LOG.info(
            "%s: %d of %d images were trained on and are left out; --split all scores them too",
            readable.samples.place,
            known.sum(),
            len(known),
        )
        split = _unseen(metadata)
    return split, readable.take(np.flatnonzero(wanted)), int((known & wanted).sum())


def _unseen(metadata: Metadata) -> str:
    """Return what images are that the network was not trained on, in DATA without splits."""
    return "val" if "split" in metadata.training else WHOLE


def _find_known(readable: Scan, metadata: Metadata, artefact: Path) -> npt.NDArray[np.bool_]:
    """Return which images the network was trained on."""
    if metadata.trained_on:
        return are_among(readable.digests, metadata.trained_on)
    LOG.warning(
        "%s does not say which images it was trained on: if these are among them, the figures are "
        "too good",
        artefact,
    )
    return np.zeros(len(readable), np.bool_)


def _split_off(readable: Scan, split: str) -> npt.NDArray[np.bool_]:
    """Return which images a run with the default options would take as train or val."""
    default = TrainConfig()
    is_val = choose_val(
        find_copies({"train": readable}).group_first_part().units,
        readable.samples.target,
        num_classes=len(readable.samples.classes),
        fraction=default.val_fraction,
        seed=default.seed,
    )
    return is_val if split == "val" else ~is_val


def _join_classes(classes: tuple[str, ...]) -> str:
    return ", ".join(classes[:6]) + (", ..." if len(classes) > 6 else "")
