"""Read every file once before it is relied on: what is broken, what is double, what is tiny."""

from __future__ import annotations

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from PIL import Image

from softonce.console import LOG, progress
from softonce.data.cache import load_or_build
from softonce.data.images import decode, open_image, to_square
from softonce.data.threads import map_files
from softonce.distributed import (
    gather_json,
    largest,
    local_rank,
    rank,
    together,
    world_size,
)
from softonce.errors import DataError, ImageError
from softonce.groups import gather_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from softonce.data.cache import Cached, Pictures
    from softonce.data.samples import Samples
    from softonce.preprocessing import Preprocessing

SMALL_SIDE = 64
"""Pictures up to this side, in pixels, are decoded once and kept in memory."""

SMALL_BYTES = 4 * 2**30
"""The most memory that decoded small pictures may take."""

_DRAFT_SIDE = 32
_NUM_NAMED = 20


@dataclass(frozen=True)
class BadFile:
    """A file that was left out, and why."""

    path: str
    reason: str

    def to_dict(self) -> dict[str, str]:
        """Return the record as it stands in JSON."""
        return {"path": self.path, "reason": self.reason}


@dataclass(frozen=True)
class FileRecord:
    """What one file turned out to be; `pixels` only where it is small."""

    digest: bytes = b""
    kind: str = ""
    pixels: npt.NDArray[np.uint8] | None = None
    error: str = ""


@dataclass(frozen=True)
class Scan:
    """A split that can be relied on.

    Args:
        samples: the readable ones.
        digests: (N, 16) uint8, a hash of each file's bytes.
        pixels: (N, channels, size, size) uint8 where every picture is small, else None.
        bad_files: what was left out.
        pictures: decoded and resized ones, from the cache, for augmentation to cut from.
    """

    samples: Samples
    digests: npt.NDArray[np.uint8]
    pixels: npt.NDArray[np.uint8] | None
    bad_files: tuple[BadFile, ...]
    pictures: Pictures | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def take(self, indices: npt.NDArray[np.int64]) -> Scan:
        """Return the part at these indices."""
        pixels = None if self.pixels is None else self.pixels[indices]
        pictures = None if self.pictures is None else self.pictures.take(indices)
        samples, digests = self.samples.take(indices), self.digests[indices]
        return Scan(samples, digests, pixels, self.bad_files, pictures)

    def fingerprint(self) -> str:
        """Return a hash of all file contents and their targets, whatever the file names."""
        rows = np.concatenate(
            [self.digests, self.samples.target[:, None].astype(">i8").view(np.uint8)], axis=1
        )
        order = np.lexsort(rows.T[::-1])
        return hashlib.blake2b(rows[order].tobytes(), digest_size=16).hexdigest()


def scan(
    samples: Samples,
    preprocessing: Preprocessing,
    *,
    max_bad_fraction: float,
    complete: bool = False,
    label: str = "reading",
    cache: Path | None = None,
    squares: bool = True,
) -> Scan:
    """Read and decode every file once, in threads; with a cache, once for all runs.

    Args:
        samples: what to read.
        preprocessing: how small pictures are fitted.
        max_bad_fraction: share of unreadable files above which the data are refused; a single
            unreadable file is always left out and named.
        complete: whether every class must keep an image, as in train.
        label: shown beside the progress.
        cache: a folder that keeps decoded pictures, or None.
        squares: whether it keeps the network's squares, or what training cuts its boxes from.

    Raises:
        DataError: where too many files, or (complete) all of a class, cannot be read.
    """
    room = SMALL_BYTES // (preprocessing.in_channels * preprocessing.size**2)
    small = preprocessing.size <= SMALL_SIDE and len(samples) <= room
    sift = partial(_sift, samples, max_bad_fraction=max_bad_fraction, complete=complete)
    if cache is not None:
        make = partial(load_or_build, cache, samples, preprocessing, squares=squares, label=label)
        together(make if local_rank() == 0 else lambda: None)  # the others of this machine wait
        return _from_cache(samples, together(make), sift, preprocessing.size if squares else None)
    own = np.array_split(np.arange(len(samples)), world_size())[rank()].tolist()
    records: list[FileRecord] = []
    with ThreadPoolExecutor() as threads, progress(label, len(samples)) as advance:
        for record in map_files(partial(_read, samples, preprocessing, keep=small), own, threads):
            records.append(record)
            advance(world_size())
    records = _gathered(records, preprocessing)
    good, bad = sift(records)
    kept = [records[i] for i in good]
    digests = np.frombuffer(b"".join(r.digest for r in kept), np.uint8).reshape(len(kept), -1)
    return Scan(samples.take(good), digests, _stack(kept, preprocessing), bad)


def _from_cache(
    samples: Samples, found: Cached, sift: Callable[..., _Sifted], size: int | None
) -> Scan:
    """Return the split as the cache has it: squares of side `size`, or whole pictures."""
    rows = zip(found.digests, found.kinds, found.errors, strict=True)
    good, bad = sift([FileRecord(bytes(digest), kind, None, why) for digest, kind, why in rows])
    pictures = found.pictures
    squares = None if size is None else pictures.squares(size)
    return Scan(
        samples.take(good), found.digests[good], squares, bad, pictures if size is None else None
    )


_Sifted: TypeAlias = "tuple[npt.NDArray[np.int64], tuple[BadFile, ...]]"


def _sift(
    samples: Samples, records: list[FileRecord], max_bad_fraction: float, *, complete: bool
) -> _Sifted:
    """Return the indices of the readable files and the others, if these are not too many."""
    good = np.array([i for i, r in enumerate(records) if not r.error], dtype=np.int64)
    bad = tuple(BadFile(samples.where(i), r.error) for i, r in enumerate(records) if r.error)
    _check_bad(samples, bad, max_bad_fraction)
    if complete:
        _check_classes(samples, good)
    _warn_of_odd_kinds(samples, records)
    return good, bad


def find_leaks(train: Scan, other: Scan) -> list[tuple[str, str]]:
    """Return the pairs of identical files, one in train and one in the other split."""
    seen = {digest.tobytes(): index for index, digest in enumerate(train.digests)}
    return [
        (train.samples.where(seen[digest.tobytes()]), other.samples.where(index))
        for index, digest in enumerate(other.digests)
        if digest.tobytes() in seen
    ]


def _read(samples: Samples, preprocessing: Preprocessing, index: int, *, keep: bool) -> FileRecord:
    """Read one file; large JPEGs are decoded at an eighth of the size, which finds cut ones too."""
    digest = b""
    try:
        data = samples.read(index)
        digest = hashlib.blake2b(data, digest_size=16).digest()
        image = open_image(data)
        kind = image.format or ""
        small = keep and max(image.size) <= SMALL_SIDE
        if not small:
            if isinstance(image, Image.Image):
                image.draft(None, (_DRAFT_SIDE, _DRAFT_SIDE))
            decode(image, "L" if preprocessing.mode == "RGB" else preprocessing.mode)
            return FileRecord(digest, kind)
        return FileRecord(digest, kind, np.ascontiguousarray(to_square(image, preprocessing)))
    except ImageError as error:
        return FileRecord(digest, error=str(error))


def _gathered(own: list[FileRecord], preprocessing: Preprocessing) -> list[FileRecord]:
    """Return the records of all processes, each of which has read its share."""
    if world_size() == 1:
        return own
    shared = gather_json([[record.digest.hex(), record.kind, record.error] for record in own])
    records = [
        FileRecord(bytes.fromhex(digest), kind, None, error)
        for part in shared
        for digest, kind, error in part
    ]
    pixels = _stack([record for record in own if not record.error], preprocessing)
    if largest(pixels is None) == (1,):
        return records
    assert pixels is not None  # noqa: S101 - as every process has found
    counts = [sum(not error for _, _, error in part) for part in shared]
    rows = iter(gather_rows(torch.from_numpy(pixels), counts).numpy())
    return [r if r.error else replace(r, pixels=next(rows)) for r in records]


def _stack(kept: list[FileRecord], preprocessing: Preprocessing) -> npt.NDArray[np.uint8] | None:
    """Return the pixels where all are small: of none, where a process has no files of its own."""
    pixels = [record.pixels for record in kept if record.pixels is not None]
    if len(pixels) != len(kept):
        return None
    shape = (len(pixels), preprocessing.in_channels, preprocessing.size, preprocessing.size)
    return np.array(pixels, np.uint8).reshape(shape)


def _check_bad(samples: Samples, bad: tuple[BadFile, ...], max_bad_fraction: float) -> None:
    """Name what was left out, and refuse when it is too much."""
    for file in bad[:_NUM_NAMED]:
        LOG.warning("left out %s: %s", file.path, file.reason)
    if len(bad) > max(1, max_bad_fraction * len(samples)):
        raise DataError(
            f"expected at most {max_bad_fraction:.1%} unreadable files in {samples.place}, found "
            f"{len(bad)} of {len(samples)}, the first: {bad[0].path} ({bad[0].reason}); "
            "remove or mend them, or raise --max-bad-fraction"
        )
    if len(bad) == len(samples):
        raise DataError(f"expected a readable image in {samples.place}, found none")


def _check_classes(samples: Samples, good: npt.NDArray[np.int64]) -> None:
    lost = set(samples.target.tolist()) - set(samples.target[good].tolist())
    if lost:
        names = ", ".join(repr(samples.classes[i]) for i in sorted(lost))
        raise DataError(
            f"expected a readable image of every class in {samples.place}, found none of: {names}"
        )


def _warn_of_odd_kinds(samples: Samples, records: list[FileRecord]) -> None:
    """Name a file that is the only one of its format: often a placeholder, not a picture."""
    kinds = Counter(record.kind for record in records if record.kind)
    if len(records) < 20 or len(kinds) < 2:
        return
    for index in _lone(records, kinds):
        LOG.warning(
            "%s is the only %s among %d images: used, but look whether it is a real picture",
            samples.where(index),
            records[index].kind,
            len(records),
        )


def _lone(records: list[FileRecord], kinds: Counter[str]) -> Iterator[int]:
    return (i for i, record in enumerate(records) if kinds[record.kind] == 1)
