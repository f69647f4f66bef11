"""A folder of plain tar files, with an index by which any member is read at once."""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np

from softonce.console import LOG, progress
from softonce.data.images import MAX_BYTES
from softonce.data.names import Names
from softonce.data.sources.source import SPLIT_NAMES, WHOLE, Listing, as_split, number_labels
from softonce.data.storage import MAX_SAMPLES, Local, check_inside, is_image
from softonce.data.tar_index import INDEX, PACKED, TarIndex, as_class
from softonce.errors import DataError, ImageError, StorageError
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from softonce.data.storage import Storage

SUFFIX = b".tar"
_SEPARATORS = str.maketrans("_./", "---")
MAX_LABEL = 4096
"""Longer `.cls` members, in bytes, are refused."""


def find_shards(storage: Storage) -> list[bytes]:
    """Return the tar files of a folder, or of its train/, val/ and test/; none among classes."""
    folders, files, _ = storage.entries()
    if not folders:
        return [name for name in files if name.lower().endswith(SUFFIX)]
    return [
        folder + b"/" + name
        for folder in folders
        if as_split(os.fsdecode(folder))
        for name in storage.entries(folder).files
        if name.lower().endswith(SUFFIX)
    ]


@dataclass(frozen=True, eq=False)
class Shards:
    """Tar files whose members are `class/name.jpg`, or `name.jpg` beside `name.cls` (WebDataset).

    A shard's split is how its name begins: `train-00000.tar`. Without an index (softonce pack
    writes one) the headers are read once, and the index is written beside the shards.

    Args:
        storage: the folder.
        index: where each member lies.
        known: (shards, 2) size and time of change of the shards that the index is of.
    """

    storage: Storage
    index: TarIndex
    known: npt.NDArray[np.int64]

    remedy: ClassVar[str] = "give the members names of the form class/name.jpg, or .cls files"

    @classmethod
    def open(cls, storage: Storage, shards: list[bytes]) -> Shards:
        """Read the index, or make it.

        Raises:
            DataError: if a shard or the index cannot be used.
        """
        stamps = storage.stamps(shards)
        index = TarIndex.read(storage)
        fits = index is not None and index.fits(shards, stamps[:, 0])
        if not fits or _is_older(storage, stamps):
            index = _build(storage, shards, stamps[:, 0], before=index)
        assert index is not None  # noqa: S101 - it fits, or has just been made
        return cls(storage, index, stamps)

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have shards."""
        there = {_split_of(name) for name in self.index.shards}
        named = tuple(split for split in SPLIT_NAMES if split in there)
        if named and WHOLE in there:
            raise DataError(
                f"expected every shard of {self.storage.where()} to begin with train, val or test, "
                f"or none, found both: rename them"
            )
        return named or (WHOLE,)

    def list_split(self, split: str) -> Listing:
        """List a split's members in the order of the shards; a name is the shard's and its own."""
        shards = enumerate(self.index.shards)
        chosen = [number for number, name in shards if _split_of(name) == split]
        rows = np.flatnonzero(np.isin(self.index.shard, chosen))
        used, target = np.unique(self.index.target[rows], return_inverse=True)
        classes = tuple(self.index.classes[label] for label in used.tolist())
        place = f"{split} of {self.storage.where()}"
        names = Names.pack(b"%d/" % row + self.index.names[row] for row in rows.tolist())
        return Listing(place, names, target.astype(np.int64), classes)

    def read(self, name: bytes) -> bytes:
        """Return a member's bytes."""
        row = int(name.partition(b"/")[0])
        size, offset = int(self.index.size[row]), int(self.index.offset[row])
        check_size(size)
        number = int(self.index.shard[row])
        size_known, time_known = self.known[number].tolist()
        return self.storage.read_part(
            self.index.shards[number], offset, size, stamp=(size_known, time_known)
        )

    def where(self, name: bytes) -> str:
        """Return the shard's path and the member's name."""
        row, _, member = name.partition(b"/")
        shard = self.index.shards[self.index.shard[int(row)]]
        return f"{self.storage.where(shard)}/{os.fsdecode(member)}"

    def stamps(self, names: Iterable[bytes]) -> npt.NDArray[np.int64]:
        """Return each member's place, and size and time of change of its shard."""
        rows = np.array([int(name.partition(b"/")[0]) for name in names], dtype=np.int64)
        shards = self.storage.stamps(self.index.shards)[self.index.shard[rows]]
        return np.column_stack([shards, self.index.offset[rows], self.index.size[rows]])


def check_size(size: int) -> None:
    """Refuse a member that is larger than any picture should be."""
    if size > MAX_BYTES:
        raise ImageError(f"{size:,} bytes, more than {MAX_BYTES:,} allowed")


def _split_of(shard: bytes) -> str:
    words = os.fsdecode(shard).translate(_SEPARATORS).split("-")
    return as_split(words[0]) or WHOLE


def _is_older(storage: Storage, stamps: npt.NDArray[np.int64]) -> bool:
    """Return whether a shard changed after the index; only local storage has a time to compare."""
    changed = stamps[:, 1].max(initial=0)
    return isinstance(storage, Local) and bool(changed > storage.stamps([INDEX.encode()])[0, 1])


def _build(
    storage: Storage,
    shards: list[bytes],
    sizes: npt.NDArray[np.int64],
    *,
    before: TarIndex | None,
) -> TarIndex:
    """Index the shards; an index that says the same stays, with its order of rows and classes."""
    LOG.info("indexing %s of %s, once", format_count(len(shards), "shard"), storage.where())
    index = _index(storage, shards, sizes)
    if before is not None and before.says(index):
        index = before
    if isinstance(storage, Local):
        try:
            index.write(storage.root)
        except StorageError as error:
            LOG.warning("the index is made again each time: %s", error)
    else:
        LOG.warning("the index is made anew each time: %s cannot be written", storage.where())
    return index


def _index(storage: Storage, shards: list[bytes], sizes: npt.NDArray[np.int64]) -> TarIndex:
    """Read the headers of all members."""
    names: list[bytes] = []
    places: list[tuple[int, int, int]] = []
    labels: list[str] = []
    with progress("indexing", len(shards), "shards") as advance:
        for number, shard in enumerate(shards):
            found, given, is_packed = _members(storage, shard)
            names += [name for name, _, _ in found]
            places += [(number, offset, size) for _, offset, size in found]
            folder_class = as_class if is_packed else os.fsdecode
            place = storage.where(shard)
            labels += [_label(name, given, folder_class, place) for name, _, _ in found]
            advance(1)
            if len(names) > MAX_SAMPLES:
                raise DataError(f"expected at most {MAX_SAMPLES:,} members, found more")
    numbers, offset, size = np.array(places, dtype=np.int64).reshape(-1, 3).T.copy()
    target, classes = number_labels(labels)
    return TarIndex(tuple(shards), sizes, Names.pack(names), numbers, offset, size, target, classes)


_Member: TypeAlias = tuple[bytes, int, int]
_Labels: TypeAlias = dict[bytes, str]


def _members(storage: Storage, shard: bytes) -> tuple[list[_Member], _Labels, bool]:
    """Return (name, offset, size) of images, labels by stem, and whether softonce has packed it."""
    place = storage.where(shard)
    found: list[_Member] = []
    labels: _Labels = {}
    is_packed = False
    try:
        with storage.open(shard) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.size < 0:  # the reader would go back, and round in circles
                    raise tarfile.ReadError(f"a member of {member.size:,} bytes")
                tar.members = []  # type: ignore[attr-defined] # else all headers stay in memory
                is_packed = PACKED.items() <= tar.pax_headers.items()
                name = os.fsencode(member.name).removeprefix(b"./")
                check_inside(name, place)
                if not member.isreg() or member.issparse() or b"/." in b"/" + name:
                    continue
                if name.endswith(b".cls"):
                    opened = tar.extractfile(member)
                    assert opened is not None  # noqa: S101 - it is a regular file
                    text = opened.read(MAX_LABEL).decode("utf-8", "surrogateescape")
                    labels[_stem(name)] = text.strip()
                elif is_image(name):
                    found.append((name, member.offset_data, member.size))
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError) as error:
        raise DataError(
            f"expected a whole, plain tar file at {place}, found: {error}; packed ones (.tar.gz) "
            "cannot be read at random: unpack it, then softonce pack"
        ) from error
    return found, labels, is_packed


def _stem(name: bytes) -> bytes:
    """Return what WebDataset calls the key: all up to the first dot of the last part."""
    folder, slash, last = name.rpartition(b"/")
    return folder + slash + last.partition(b".")[0]


def _label(name: bytes, labels: _Labels, folder_class: Callable[[bytes], str], place: str) -> str:
    given = labels.get(_stem(name))
    folder = name.partition(b"/")[0] if b"/" in name else b""
    if not given and not folder:
        raise DataError(
            f"expected a class for {os.fsdecode(name)} in {place}, found neither a folder nor a "
            "label beside it: name it class/name.jpg, or put a .cls member beside it"
        )
    return given or folder_class(folder)
