"""Pictures decoded and resized once, kept on disk as uint8 and mapped into memory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from softonce.console import LOG, progress
from softonce.data.file_table import DIGEST_BYTES
from softonce.data.images import decode, fit_image, open_image, resize_short, to_array
from softonce.data.likeness import HASH_BYTES, look_of
from softonce.data.threads import map_files
from softonce.errors import ArtefactError, ImageError, StorageError
from softonce.files import check_room, make_folder, replacing
from softonce.plurals import format_count
from softonce.preprocessing import num_channels
from softonce.tensors import read_tensors, write_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from softonce.data.bands import Picture
    from softonce.data.samples import Samples
    from softonce.preprocessing import Mode, Preprocessing

FORMAT = 3
_AT_A_TIME = 256
"""Pictures that are decoded and wait to be written: 40 MB at 224 pixels."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Decoded pictures of many sizes in one buffer.

    Args:
        buffer: (bytes,) uint8, picture after picture, (H, W, channels) each.
        starts: (N,) where each begins.
        sides: (N, 2) height and width of each.
        mode: their colours or channels.
    """

    buffer: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    sides: npt.NDArray[np.int64]
    mode: Mode

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]:
        """Return one picture, (H, W, channels), without copying it."""
        shape = (*self.sides[index].tolist(), num_channels(self.mode))
        start = int(self.starts[index])
        return self.buffer[start : start + math.prod(shape)].reshape(shape)

    def take(self, indices: npt.NDArray[np.int64]) -> Pictures:
        """Return the pictures at these indices, in the same buffer."""
        return replace(self, starts=self.starts[indices], sides=self.sides[indices])

    def squares(self, size: int) -> Squares:
        """Return all pictures of the buffer, which are squares of this side."""
        shape = (-1, size, size, num_channels(self.mode))
        pixels = self.buffer.reshape(shape).transpose(0, 3, 1, 2)
        return Squares(pixels, np.arange(len(pixels)))


@dataclass(frozen=True, eq=False)
class Squares:
    """Rows of a large array of squares, which are copied only when they are asked for.

    Args:
        pixels: (M, channels, size, size) uint8, mapped into memory.
        rows: (N,) which of them these are.
    """

    pixels: npt.NDArray[np.uint8]
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the squares at these indices."""
        return self.pixels[self.rows[indices]]

    def take(self, indices: npt.NDArray[np.int64]) -> Squares:
        """Return the part at these indices."""
        return Squares(self.pixels, self.rows[indices])


@dataclass(frozen=True)
class Cached:
    """What is known of each sample, and the pictures of those without an error.

    Args:
        digests: (N, 16) uint8, a hash of each file's bytes.
        kinds: the format of each file.
        looks: (N, 8) uint8, a hash of how each looks.
        errors: why a file cannot be used; empty if it can.
        pictures: one for each sample without an error.
    """

    digests: npt.NDArray[np.uint8]
    kinds: list[str]
    looks: npt.NDArray[np.uint8]
    errors: list[str]
    pictures: Pictures


def default_folder() -> Path:
    """Return the folder of `--cache` without `--cache-dir`."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "softonce" / "pictures"


def load_or_build(
    folder: Path, samples: Samples, preprocessing: Preprocessing, *, squares: bool, label: str
) -> Cached:
    """Return the decoded images of these files; those of new or changed files are made now.

    Args:
        folder: where the cache lies; another process may fill it at the same time.
        samples: the files.
        preprocessing: how they are resized.
        squares: whether to keep the network's squares, as evaluation sees them, or whole pictures
            whose short side is `preprocessing.resize`, from which training cuts its boxes.
        label: shown beside the progress.

    Raises:
        StorageError: if the disk is full; what is there already stays.
    """
    stem = folder / _key(samples, preprocessing, squares)
    expected = (len(samples), preprocessing.mode, preprocessing.size if squares else None)
    found = _load(stem, *expected)
    if found is None or _can_read_more(found, samples):
        LOG.info("writing the cache of %s to %s", format_count(len(samples), "picture"), folder)
        make_folder(folder)
        side = preprocessing.resize
        needed = len(samples) * side * side * 4 // 3 * preprocessing.in_channels
        remedy = "name another place with --cache-dir, or leave it out"
        check_room(folder, needed, "the cache", remedy)
        _build(stem, samples, preprocessing, squares, label)
        found = _load(stem, *expected)
    if found is None:
        raise StorageError(f"expected the cache just written at {stem}.*, found it damaged")
    return found


def _can_read_more(found: Cached, samples: Samples) -> bool:
    """Return whether a file became readable, as after a change of rights or of a network."""
    for index, error in enumerate(found.errors):
        if error and not found.digests[index].any():
            with contextlib.suppress(ImageError):
                samples.read(index)
                return True
    return False


def _key(samples: Samples, preprocessing: Preprocessing, squares: bool) -> str:
    """Return a name made of the preprocessing and of what tells one file from another."""
    record = {"format": FORMAT, "squares": squares, "place": samples.place}
    record["max_pixels"] = samples.max_pixels  # a higher one lets more be read
    wanted = asdict(preprocessing)
    keep = ("size", "resize", "fit", "interpolation", "mode", "mean")
    record |= {name: wanted[name] for name in (keep if squares else keep[1:5])}
    digest = hashlib.blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=16)
    digest.update(samples.names.offsets.tobytes())
    digest.update(samples.names.buffer.tobytes())
    digest.update(np.ascontiguousarray(samples.source.stamps(samples.names)).tobytes())
    return digest.hexdigest()


def _build(
    stem: Path, samples: Samples, preprocessing: Preprocessing, squares: bool, label: str
) -> None:
    """Write the pixels, then the index: without it they are not looked at."""

    def prepare(image: Picture) -> tuple[Picture, bytes]:
        decoded = decode(image, preprocessing.mode)
        fitted = (fit_image if squares else resize_short)(decoded, preprocessing)
        return fitted, look_of(decoded)

    digests, kinds, errors, looks, sides = [], [], [], [], []
    with replacing(stem.with_suffix(".pixels")) as temporary, temporary.open("wb") as file:
        for digest, kind, error, look, picture in _read_all(samples, prepare, label):
            looks.append(look)
            digests.append(digest)
            kinds.append(kind)
            errors.append(error)
            if picture is not None:
                sides.append((picture.height, picture.width))
                file.write(to_array(picture).tobytes())
    tensors = {
        "digests": torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.uint8),
        "looks": torch.frombuffer(bytearray(b"".join(looks)), dtype=torch.uint8),
        "sides": torch.tensor(sides, dtype=torch.int64).reshape(-1, 2),
    }
    record = {"kind": "cache", "mode": preprocessing.mode, "kinds": kinds, "errors": errors}
    write_tensors(stem.with_suffix(".safetensors"), tensors, record)


def _read_all(
    samples: Samples, prepare: Callable[[Picture], tuple[Picture, bytes]], label: str
) -> Iterator[tuple[bytes, str, str, bytes, Picture | None]]:
    def read(index: int) -> tuple[bytes, str, str, bytes, Picture | None]:
        digest = bytes(16)
        try:
            data = samples.read(index)
            digest = hashlib.blake2b(data, digest_size=16).digest()
            image = open_image(data, max_pixels=samples.max_pixels)
            kind = image.format or ""
            picture, look = prepare(image)
        except ImageError as error:
            return digest, "", str(error), bytes(HASH_BYTES), None
        return digest, kind, "", look, picture

    with ThreadPoolExecutor() as threads, progress(label, len(samples)) as advance:
        for start in range(0, len(samples), _AT_A_TIME):  # so that few wait in memory
            some = range(start, min(start + _AT_A_TIME, len(samples)))
            yield from map_files(read, some, threads)
            advance(len(some))


def _load(stem: Path, num: int, mode: Mode, size: int | None) -> Cached | None:
    """Return what is there of `num` samples, if it is whole.

    Args:
        stem: of the names of its files.
        num: of the samples.
        mode: of the pictures.
        size: the side of squares; None if they are whole pictures.
    """
    pixels = stem.with_suffix(".pixels")
    try:
        tensors, record = read_tensors(stem.with_suffix(".safetensors"))
        digests = tensors["digests"].numpy().reshape(num, -1)
        looks = tensors["looks"].numpy().reshape(num, HASH_BYTES)
        sides, kinds, errors = tensors["sides"].numpy(), record["kinds"], record["errors"]
        fits = (
            (record["mode"], digests.shape[1]) == (mode, DIGEST_BYTES)
            and {digests.dtype, looks.dtype} == {np.dtype(np.uint8)}
            and (len(kinds), len(errors)) == (num, num)
            and all(isinstance(text, str) for text in (*kinds, *errors))
            and sides.shape == (sum(not error for error in errors), 2)
            and (sides.min(initial=1) >= 1 if size is None else bool((sides == size).all()))
        )
        areas = sides.astype(np.int64).prod(axis=1) * num_channels(mode)
        if not fits or pixels.stat().st_size != areas.sum():
            return None
        buffer = np.memmap(pixels, np.uint8, "c") if len(sides) else np.empty(0, np.uint8)
    except (ArtefactError, OSError, KeyError, TypeError, ValueError, RuntimeError):
        return None
    starts = np.concatenate([[0], np.cumsum(areas)[:-1]]).astype(np.int64)
    pictures = Pictures(buffer, starts[: len(sides)], sides, mode)
    return Cached(digests, kinds, looks, errors, pictures)
