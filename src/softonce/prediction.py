"""An artefact and images become predictions, one record a path, bad files included."""

from __future__ import annotations

import glob
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from softonce.data.images import decode, fit_image, open_image, to_pixels
from softonce.data.storage import images_below, read_bytes
from softonce.engines import open_engine
from softonce.engines.engine import with_tta
from softonce.errors import DataError, ImageError
from softonce.inference import top_predictions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from softonce.config import PredictConfig
    from softonce.engines import Engine
    from softonce.preprocessing import Preprocessing

STANDARD_INPUT = ("-", "/dev/stdin")
_EMPTY: dict[str, Any] = {"pred": None, "class": None, "prob": None, "top": []}


def predict(config: PredictConfig) -> Iterator[dict[str, Any]]:
    """Classify images, and yield one record a path, in the order given.

    Args:
        config: the options of `softonce predict`.

    Returns:
        Records of `path`, `pred`, `class`, `prob`, `top` (each with `index`, `class`, `prob` and
        `logit`) and `error`; `prob` is calibrated by the artefact's temperature. Where an image
        cannot be read, `error` says why, and the rest is None.

    Raises:
        ArtefactError: where the artefact cannot be used.
        DataError: where no image is named.

    Example:
        >>> from pathlib import Path
        >>> from softonce.config import PredictConfig
        >>> next(predict(PredictConfig(Path("no.safetensors"), ("a.jpg",))))
        Traceback (most recent call last):
        softonce.errors.ArtefactError: expected a model file at no.safetensors, ...
    """
    engine = open_engine(
        config.artefact,
        name=config.engine,
        device=config.device,
        threads=config.threads,
        trust=config.trust,
    )
    engine = with_tta(engine, config.tta)
    paths = iter(expand_paths(config.images))
    found = False
    while batch := list(islice(paths, config.batch_size)):
        found = True
        yield from _predict_batch(engine, batch, config.top_k)
    if not found:
        raise DataError(
            "expected images to classify, found none: name files, folders or glob patterns, "
            "or - to read one path a line from standard input"
        )


def expand_paths(images: Iterable[str | Path]) -> Iterator[Path]:
    """Yield the files that are named: folders with all images below, glob patterns, `-` for stdin.

    A folder without images and a pattern that matches nothing are yielded themselves, so that each
    gets a record that says so.

    Example:
        >>> list(expand_paths(["a.jpg", "no-such-folder/*.jpg"]))
        [PosixPath('a.jpg'), PosixPath('no-such-folder/*.jpg')]
    """
    for name in map(str, images):
        if name in STANDARD_INPUT:
            yield from (Path(line.rstrip("\n")) for line in sys.stdin if line.strip())
            continue
        path = None
        for path in _matches(name):
            yield path
        if path is None:
            yield Path(name)


def _matches(name: str) -> Iterable[Path]:
    if Path(name).is_dir():
        return images_below(Path(name))
    if glob.has_magic(name) and not Path(name).exists():
        return map(Path, sorted(glob.glob(name, recursive=True)))  # noqa: PTH207 - ** and absolute patterns
    return (Path(name),)


def read_pixels(path: Path, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Read one picture as (channels, size, size) uint8 pixels.

    Raises:
        ImageError: where the file is no picture that can be read.
    """
    if path.is_dir():
        raise ImageError("a folder without images")
    image = open_image(read_bytes(path))
    return to_pixels(fit_image(decode(image, preprocessing.mode), preprocessing))


def _predict_batch(engine: Engine, paths: list[Path], top_k: int) -> Iterator[dict[str, Any]]:
    metadata = engine.metadata
    with ThreadPoolExecutor() as threads:
        read = list(threads.map(lambda path: _try_read(path, metadata.preprocessing), paths))
    pixels = [picture for picture in read if not isinstance(picture, str)]
    records: Iterator[Any] = iter(())
    if pixels:
        logits = engine.logits(np.stack(pixels))
        named = top_predictions(
            logits, metadata.classes, temperature=metadata.temperature, top_k=top_k
        )
        records = iter(named)
    for path, picture in zip(paths, read, strict=True):
        if isinstance(picture, str):
            yield {"path": str(path), **_EMPTY, "error": picture}
        else:
            yield {"path": str(path), **next(records), "error": None}


def _try_read(path: Path, preprocessing: Preprocessing) -> npt.NDArray[np.uint8] | str:
    """Return the pixels, or the reason why there are none."""
    try:
        return read_pixels(path, preprocessing)
    except ImageError as error:
        return str(error)
