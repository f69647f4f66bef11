"""Read every file once before it is relied on: what is broken, what is double, what is tiny."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import torch
from PIL import Image

from softonce.console import LOG, progress
from softonce.data.cache import load_or_build
from softonce.data.file_table import DIGEST_BYTES, KIND, FileTable
from softonce.data.images import decode, fit_image, open_image, to_pixels
from softonce.data.likeness import look_of
from softonce.data.scan_file import Stamps
from softonce.data.small_pictures import SmallPictures
from softonce.data.threads import map_files
from softonce.distributed import (
    copy_tensors_from_first_,
    gather_json,
    local_rank,
    raise_on_all_ranks,
    rank,
    world_size,
)
from softonce.errors import DataError, ImageError
from softonce.groups import gather_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from softonce.data.cache import Cached, Pictures, Squares
    from softonce.data.samples import Samples
    from softonce.data.scan_file import ScanFile
    from softonce.preprocessing import Preprocessing

SMALL_SIDE = 64
"""Pictures up to this side, in pixels, are decoded once and kept in memory."""

SMALL_BYTES = 4 * 2**30
"""The most memory that decoded small pictures may take."""

MANY_FILES = 10_000
"""From so many files on, which take seconds, it is said what they are read for."""

_DRAFT_SIDE = 64
"""A JPEG is decoded at the smallest of a half, a quarter and an eighth that has such sides. With 32
copies of 5 % of 100 photographs are missed; 64 takes 15 % more time."""
_NUM_NAMED = 20
"""Files that are named one by one; the report lists all."""
_MANY_ENOUGH_TO_STAND_OUT = 20
"""Of fewer files, two of another kind are no exception."""


@dataclass(frozen=True)
class BadFile:
    """A file that was left out, and why."""

    path: str
    reason: str

    def to_dict(self) -> dict[str, str]:
        """Return the record as it stands in JSON."""
        return {"path": self.path, "reason": self.reason}


@dataclass(frozen=True)
class Scan:
    """A split that can be relied on.

    Args:
        samples: the readable ones.
        digests: (N, 16) uint8, a hash of each file's bytes.
        looks: (N, 8) uint8, a hash of how each looks; zeros if that is not known.
        pixels: the squares at any indices, (n, channels, size, size) uint8, if every picture is
            small; else None.
        bad_files: what was left out.
        pictures: decoded and resized ones, from the cache, for augmentation to cut from.
    """

    samples: Samples
    digests: npt.NDArray[np.uint8]
    looks: npt.NDArray[np.uint8]
    pixels: SmallPictures | Squares | None
    bad_files: tuple[BadFile, ...]
    pictures: Pictures | None = None

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def units(self) -> npt.NDArray[np.uint8]:
        """(N, 16) uint8, a hash of what never parts: the group of each picture, or its bytes."""
        return self.digests if self.samples.groups is None else self.samples.groups

    def with_splits(self, splits: npt.NDArray[np.str_]) -> Scan:
        """Return the same images, of these splits."""
        return replace(self, samples=replace(self.samples, splits=splits))

    def with_units(self, units: npt.NDArray[np.uint8]) -> Scan:
        """Return the split with other groups."""
        return replace(self, samples=replace(self.samples, groups=units))

    def take(self, indices: npt.NDArray[np.int64]) -> Scan:
        """Return the part at these indices; what was left out of the whole stays named."""
        return replace(
            self,
            samples=self.samples.take(indices),
            digests=self.digests[indices],
            looks=self.looks[indices],
            pixels=None if self.pixels is None else self.pixels.take(indices),
            pictures=None if self.pictures is None else self.pictures.take(indices),
        )

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all file contents and their targets, whatever the file names."""
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
    kept: ScanFile | None = None,
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
        kept: what an earlier scan has found; only files that have changed since are read.

    Raises:
        DataError: if too many files, or (complete) all of a class, cannot be read.
    """
    sift = partial(_sift, samples, max_bad_fraction=max_bad_fraction, complete=complete)
    if cache is not None:
        make = partial(load_or_build, cache, samples, preprocessing, squares=squares, label=label)
        raise_on_all_ranks(
            make if local_rank() == 0 else lambda: None
        )  # the others of this machine wait
        return _from_cache(
            samples, raise_on_all_ranks(make), sift, preprocessing.size if squares else None
        )
    table, pixels = _read_all(samples, preprocessing, label, kept)
    good, bad = sift(table)
    if pixels is not None and (table.sides[good] > SMALL_SIDE).any():
        pixels = None
    return Scan(
        samples.take(good),
        table.digests[good],
        table.looks[good],
        None if pixels is None else pixels.take(good),
        bad,
    )


def _from_cache(
    samples: Samples, found: Cached, sift: Callable[[FileTable], _Sifted], size: int | None
) -> Scan:
    """Return the split as the cache has it: squares of side `size`, or whole pictures."""
    errors = {index: error for index, error in enumerate(found.errors) if error}
    sides = np.zeros((len(samples), 2), np.int32)  # of the files; the pictures have been resized
    kinds = np.array(found.kinds, KIND)
    good, bad = sift(FileTable(found.digests, kinds, sides, found.looks, errors))
    pictures = found.pictures
    squares = None if size is None else pictures.squares(size)
    return Scan(
        samples.take(good),
        found.digests[good],
        found.looks[good],
        squares,
        bad,
        pictures if size is None else None,
    )


_Sifted: TypeAlias = "tuple[npt.NDArray[np.int64], tuple[BadFile, ...]]"


def _sift(
    samples: Samples, table: FileTable, max_bad_fraction: float, *, complete: bool
) -> _Sifted:
    """Return the indices of the readable files and the others, if these are not too many."""
    good = table.good()
    bad = tuple(BadFile(samples.where(i), table.errors[i]) for i in sorted(table.errors))
    _check_bad(samples, bad, max_bad_fraction)
    if complete:
        _check_classes(samples, good)
    _warn_of_odd_kinds(samples, table.kinds)
    return good, bad


def _read_all(
    samples: Samples, preprocessing: Preprocessing, label: str, kept: ScanFile | None
) -> tuple[FileTable, SmallPictures | None]:
    """Read what is not known yet, a share in each process; all get the same table.

    Returns:
        The table, and the squares of small pictures; None if there is no room for them, or one is
        large.
    """
    table, left, stamps = _look_up(samples, kept)
    room = SMALL_BYTES // (preprocessing.in_channels * preprocessing.size**2)
    keeps = preprocessing.size <= SMALL_SIDE and len(samples) <= room
    pixels = SmallPictures(samples, preprocessing) if keeps else None
    shares = np.array_split(left, world_size())
    if len(left) >= MANY_FILES:
        LOG.info(
            "%s: each of %d files is read once, to find broken ones before they are needed",
            label,
            len(left),
        )
    with ThreadPoolExecutor() as threads, progress(label, len(left)) as advance:
        read = partial(_read, samples, preprocessing, keep=keeps)
        own = shares[rank()].tolist()
        for index, found in zip(own, map_files(read, own, threads), strict=True):
            table.put(index, found.digest, found.kind, found.sides, found.error, found.look)
            if pixels is not None and found.pixels is not None:
                pixels.put(index, found.pixels)
            advance(world_size())
    _share_(table, pixels, left, shares)
    if kept is not None and stamps is not None:
        kept.keep(samples, stamps, table)
    return table, pixels


def _look_up(
    samples: Samples, kept: ScanFile | None
) -> tuple[FileTable, npt.NDArray[np.int64], Stamps | None]:
    """Return what the first process knows of the files, and the indices of those left to read."""
    table, known, stamps = FileTable.empty(len(samples)), np.zeros(len(samples), bool), None
    if kept is None:
        return table, np.arange(len(samples)), stamps
    if rank() == 0:
        stamps = Stamps.of(samples)
        table, known = kept.find(samples, stamps)
    kinds = table.kinds.view(np.uint8)
    columns = (known.view(np.uint8), table.digests, table.sides, table.looks, kinds)
    copy_tensors_from_first_(*map(torch.from_numpy, columns))
    errors = gather_json(list(table.errors.items()))[0]
    table.errors.update((index, error) for index, error in errors)
    return table, np.flatnonzero(~known), stamps


def _share_(
    table: FileTable,
    pixels: SmallPictures | None,
    left: npt.NDArray[np.int64],
    shares: list[npt.NDArray[np.int64]],
) -> None:
    """Give every process what the others have read: their rows, and their squares."""
    if world_size() == 1 or not len(left):
        return
    own, counts = shares[rank()], [len(share) for share in shares]

    def gather(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return gather_rows(torch.from_numpy(array[own]), counts).numpy()

    for column in (table.digests, table.sides, table.looks):
        column[left] = gather(column)
    kinds = table.kinds.view(np.uint8).reshape(-1, KIND.itemsize)
    kinds[left] = gather(kinds)
    for errors in gather_json(list(table.errors.items())):
        table.errors.update((index, error) for index, error in errors)
    if pixels is not None and not (table.sides > SMALL_SIDE).any():
        pixels.put(left, gather_rows(torch.from_numpy(pixels.at(own)), counts).numpy())


class _Found(NamedTuple):
    """What one file turned out to be; `pixels` only if it is small."""

    digest: bytes = b""
    kind: str = ""
    sides: tuple[int, int] = (0, 0)
    look: bytes = b""
    pixels: npt.NDArray[np.uint8] | None = None
    error: str = ""


def _read(samples: Samples, preprocessing: Preprocessing, index: int, *, keep: bool) -> _Found:
    """Read one file; large JPEGs are decoded at a part of the size, which finds cut ones too."""
    digest = b""
    try:
        data = samples.read(index)
        digest = hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()
        image = open_image(data, max_pixels=samples.max_pixels)
        kind, sides = image.format or "", image.size
        if keep and max(sides) <= SMALL_SIDE:
            decoded = decode(image, preprocessing.mode)
            square = to_pixels(fit_image(decoded, preprocessing))
            return _Found(digest, kind, sides, look_of(decoded), square)
        if isinstance(image, Image.Image):
            image.draft(None, (_DRAFT_SIDE, _DRAFT_SIDE))
        decoded = decode(image, "L" if preprocessing.mode == "RGB" else preprocessing.mode)
        return _Found(digest, kind, sides, look_of(decoded))
    except ImageError as error:
        return _Found(digest, error=str(error))


def _check_bad(samples: Samples, bad: tuple[BadFile, ...], max_bad_fraction: float) -> None:
    """Name what was left out, and refuse when it is too much."""
    for file in bad[:_NUM_NAMED]:
        LOG.warning("left out %s: %s", file.path, file.reason)
    if len(bad) > max(1, max_bad_fraction * len(samples)):
        raise DataError(
            f"expected at most {max_bad_fraction:.1%} unreadable files in {samples.place}, found "
            f"{len(bad)} of {len(samples)}, the first: {bad[0].path} ({bad[0].reason}); "
            "remove or repair them, or raise --max-bad-fraction"
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


def _warn_of_odd_kinds(samples: Samples, kinds: npt.NDArray[np.bytes_]) -> None:
    """Name a file that is the only one of its format: often a placeholder, not a picture."""
    formats, first, counts = np.unique(kinds, return_index=True, return_counts=True)
    is_named = formats != b""  # of a file with an error there is none
    if len(kinds) < _MANY_ENOUGH_TO_STAND_OUT or is_named.sum() < 2:
        return
    for index in sorted(first[is_named & (counts == 1)].tolist()):
        LOG.warning(
            "%s is the only %s among %d images: it is used, but check that it is a real image",
            samples.where(index),
            kinds[index].decode(),
            len(kinds),
        )
