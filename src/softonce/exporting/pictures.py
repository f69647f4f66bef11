"""The real pictures that an export is calibrated with and compared on."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from softonce.console import LOG
from softonce.data.bands import Bands
from softonce.data.images import decode, to_array, to_square
from softonce.data.samples import list_samples
from softonce.data.sources import open_source
from softonce.data.sources.columns import Columns
from softonce.data.sources.source import WHOLE
from softonce.errors import ImageError
from softonce.run_folder import RunFolder, model_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from softonce.artefact import Metadata
    from softonce.config.export import ExportConfig
    from softonce.data.bands import Picture
    from softonce.data.samples import Samples
    from softonce.data.sources.source import Source
    from softonce.preprocessing import Preprocessing

_MADE_UP = ((40, 40), (64, 48), (48, 64), (300, 200), (201, 333), (33, 121), (500, 375), (224, 224))


@dataclass(frozen=True)
class Sample:
    """One picture, as it is and as the network sees it.

    Args:
        raw: (H, W, channels) uint8 of its own size; RGB if the network sees grey.
        pixels: (channels, size, size) uint8.
        target: its class, or -1 if that is not known.
    """

    raw: NDArray[np.uint8]
    pixels: NDArray[np.uint8]
    target: int


def find_source(config: ExportConfig, metadata: Metadata) -> Source | None:
    """Return the data that were asked for, else those of the run, if they are there."""
    if config.data is not None:
        return open_source(config.data)
    beside = RunFolder(model_file(config.artefact).parent).config
    run = tomllib.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
    recorded = (str(record.get("data", "")) for record in (run, metadata.training))
    data = next((data for data in recorded if data and Path(data).exists()), None)
    return None if data is None else open_source(data, Columns.of(SimpleNamespace(**run)))


def pick_samples(
    source: Source, metadata: Metadata, splits: tuple[str, ...], number: int
) -> Samples:
    """Return some images, evenly spread, of the first of these splits that there is."""
    there = source.splits()
    split = next(name for name in (*splits, WHOLE, *there) if name in there)
    samples = list_samples(source, split, metadata.classes)
    chosen = np.linspace(0, len(samples) - 1, min(number, len(samples))).round().astype(np.int64)
    return samples.take(chosen)


def read_pictures(samples: Samples, preprocessing: Preprocessing) -> Iterator[Sample]:
    """Yield those that can be read."""
    for index, target in enumerate(samples.target.tolist()):
        try:
            yield _sample(samples.open(index), preprocessing, target)
        except ImageError as error:
            LOG.warning("left out %s: %s", samples.where(index), error)


def made_up_pictures(preprocessing: Preprocessing) -> Iterator[Sample]:
    """Yield clouds of several sizes, for an export without data."""
    rng = np.random.default_rng(0)
    for size in _MADE_UP:
        number = 3 if preprocessing.mode == "L" else preprocessing.in_channels
        noise = rng.integers(0, 256, (number, 6, 6), dtype=np.uint8)
        clouds = [Image.fromarray(band).resize(size, Image.Resampling.BICUBIC) for band in noise]
        picture = (
            Image.merge("RGB", clouds)
            if isinstance(preprocessing.mode, str)
            else Bands(tuple(clouds))
        )
        yield _sample(picture, preprocessing, -1)


def _sample(picture: Picture, preprocessing: Preprocessing, target: int) -> Sample:
    """Decode a picture as it is given to the file, and as the network sees it."""
    mode = preprocessing.mode
    raw = to_array(decode(picture, "RGB" if mode == "L" else mode))
    return Sample(raw, to_square(picture, preprocessing), target)
