"""Pictures to ask a classifier about, and what is right."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from softonce.console import LOG
from softonce.data.images import decode_for_display, open_image
from softonce.data.passed_over import images_below
from softonce.data.samples import list_samples
from softonce.data.sources import open_source
from softonce.data.storage import is_url, read_bytes
from softonce.errors import DataError, ImageError

if TYPE_CHECKING:
    from collections.abc import Callable

_SPLITS = ("test", "val", "all", "train")
"""Which part of DATA is asked about, the first that exists."""


@dataclass(frozen=True)
class Pictures:
    """Pictures and their classes.

    Args:
        files: the bytes of image files.
        labels: the name of the class of each, or None.
        classes: the names of all classes that DATA has.
    """

    files: list[bytes]
    labels: list[str] | None = None
    classes: tuple[str, ...] = ()


def draw_pictures(data: Any, limit: int, *, seed: int) -> Pictures:
    """Draw pictures at random, of test if DATA has it; those that cannot be read are left out.

    Args:
        data: folders of classes, a table, or one folder of pictures without classes.
        limit: how many at most.
        seed: of the draw.

    Raises:
        DataError: if there are none.
    """
    read: Callable[[int], bytes]
    labels: list[str] | None
    classes: tuple[str, ...] = ()
    if _is_plain_folder(data):
        paths = list(images_below(Path(data), Counter()))
        num, labels = len(paths), None
        read = lambda index: read_bytes(str(paths[index]))  # noqa: E731 - one of two ways
    else:
        source = open_source(data)
        splits = source.splits()
        split = next(name for name in _SPLITS if name in splits)
        samples = list_samples(source, split)
        num, classes, read = len(samples), samples.classes, samples.read
        labels = [classes[index] for index in samples.target.tolist()]
    order = np.random.default_rng(seed).permutation(num).tolist()
    files, kept = _read(read, order, limit)
    if not files:
        raise DataError(f"expected pictures in {data}, found none that can be read: check the path")
    return Pictures(files, None if labels is None else [labels[index] for index in kept], classes)


def _is_plain_folder(data: Any) -> bool:
    """Return whether it is a folder of this machine without folders in it."""
    if is_url(str(data)):
        return False
    path = Path(data)
    return path.is_dir() and not any(
        inner.is_dir() and not inner.name.startswith(".") for inner in path.iterdir()
    )


def _read(
    read: Callable[[int], bytes], order: list[int], limit: int
) -> tuple[list[bytes], list[int]]:
    files: list[bytes] = []
    kept: list[int] = []
    num_bad = 0
    for index in order:
        if len(files) == limit:
            break
        try:
            data = read(index)
            decode_for_display(open_image(data))
        except ImageError:
            num_bad += 1
            continue
        files.append(data)
        kept.append(index)
    if num_bad:
        LOG.warning("%d pictures cannot be read and are left out", num_bad)
    return files, kept
