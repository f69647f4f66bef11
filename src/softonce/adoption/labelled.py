"""Labelled images and the names of a foreign classifier's classes, matched by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from softonce.data.samples import join_samples, list_samples
from softonce.data.sources import open_source
from softonce.data.sources.columns import Columns
from softonce.data.sources.source import WHOLE
from softonce.errors import DataError
from softonce.plurals import format_count

if TYPE_CHECKING:
    from softonce.adoption.class_names import ClassNames
    from softonce.config import AdoptConfig
    from softonce.data.samples import Samples

_NUM_SHOWN = 6


def list_labelled(config: AdoptConfig, names: ClassNames | None, number: int) -> Samples | None:
    """List the images of DATA, by the names of the classes if these are known.

    Args:
        config: the options.
        names: of the classes, if something says them.
        number: of the classes.

    Returns:
        The images of val if it exists, else of all there is; None without DATA.

    Raises:
        DataError: if DATA has other classes than the network, or no such split.
    """
    if config.data is None:
        return None
    source = open_source(config.data, Columns.of(config))
    splits, known = source.splits(), None if names is None else names.names
    wanted = (config.split,) if config.split else ("val", WHOLE, "train", *splits)
    split = next((name for name in wanted if name in splits), None)
    if split is not None:
        samples = list_samples(source, split, known)
    elif config.split == WHOLE:
        samples = join_samples([list_samples(source, s, known) for s in splits], str(config.data))
    else:
        raise DataError(
            f"expected a {config.split} split in {config.data}, found {', '.join(splits)}: choose "
            "one of these with --split"
        )
    if len(samples.classes) != number:
        raise DataError(
            f"expected {format_count(number, 'class')} in {samples.place}, one for each score of "
            f"the network, found {len(samples.classes)}: name the network's classes with "
            "--classes FILE"
        )
    return samples


def some(samples: Samples, number: int) -> Samples:
    """Return so many of the images at most, evenly spread."""
    chosen = np.linspace(0, len(samples) - 1, min(number, len(samples))).round().astype(np.int64)
    return samples.take(chosen)


def settle_classes(
    names: ClassNames | None, samples: Samples | None, number: int
) -> tuple[tuple[str, ...], str]:
    """Return the class names in index order, and a line about them."""
    if names is not None:
        found, place = names.names, f"from {names.place}"
    elif samples is not None:
        found, place = samples.classes, f"the classes of {samples.place}, in this order"
    else:
        found = tuple(map(str, range(number)))
        place = "nothing names them; --classes FILE does"
    shown = ", ".join(found[:_NUM_SHOWN]) + (", ..." if number > _NUM_SHOWN else "")
    return found, f"{shown}: {place}"
