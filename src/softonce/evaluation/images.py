"""Which images are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from softonce.console import LOG
from softonce.data.samples import list_samples, split_off_val
from softonce.data.sources import open_source
from softonce.data.sources.source import WHOLE
from softonce.errors import DataError

if TYPE_CHECKING:
    from softonce.config import EvaluateConfig
    from softonce.data.samples import Samples


def choose_samples(
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
