"""The index of tar shards: one small .safetensors file beside them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from softonce.console import LOG
from softonce.data.names import Names
from softonce.data.storage import Local, check_inside
from softonce.errors import ArtefactError, DataError
from softonce.tensors import read_tensors, write_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from softonce.data.storage import Storage

INDEX = "index.safetensors"
MAX_INDEX_BYTES = 16 * 2**30
FORMAT = 1
PACKED = {"comment": "softonce pack"}
"""The header of shards whose folders are classes as `as_folder` writes them."""
_COLUMNS = ("shard", "offset", "size", "target")


@dataclass(frozen=True, eq=False)
class TarIndex:
    """Where each of N members lies.

    Args:
        shards: the files' names, in order.
        sizes: (shards,) the files' sizes, by which a changed one is noticed.
        names: (N,) the members' names.
        shard: (N,) the number of the file.
        offset: (N,) the first byte of the member's data.
        size: (N,) the number of its bytes.
        target: (N,) indices into `classes`.
        classes: class names.
    """

    shards: tuple[bytes, ...]
    sizes: npt.NDArray[np.int64]
    names: Names
    shard: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    target: npt.NDArray[np.int64]
    classes: tuple[str, ...]

    def fits(self, shards: Sequence[bytes], sizes: npt.NDArray[np.int64]) -> bool:
        """Return whether the index is of these files."""
        return tuple(shards) == self.shards and bool((sizes == self.sizes).all())

    def says(self, other: TarIndex) -> bool:
        """Return whether another index has the same members and classes, in whatever order."""
        if (self.shards, len(self.names)) != (other.shards, len(other.names)):
            return False
        mine, theirs = (np.lexsort((index.offset, index.shard)) for index in (self, other))
        place = {name: number for number, name in enumerate(self.classes)}
        number = np.array([place.get(name, -1) for name in other.classes], dtype=np.int64)
        return (
            all(
                np.array_equal(getattr(self, column)[mine], getattr(other, column)[theirs])
                for column in ("shard", "offset", "size")
            )
            and np.array_equal(self.sizes, other.sizes)
            and np.array_equal(self.target[mine], number[other.target[theirs]])
            and all(self.names[i] == other.names[j] for i, j in zip(mine, theirs, strict=True))
        )

    def write(self, folder: Path) -> None:
        """Write the index; its bytes depend only on the shards."""
        tensors = {name: torch.from_numpy(getattr(self, name).copy()) for name in _COLUMNS}
        tensors["sizes"] = torch.from_numpy(self.sizes.copy())
        tensors["names"] = torch.from_numpy(self.names.buffer.copy())
        tensors["ends"] = torch.from_numpy(self.names.offsets.copy())
        shards = [os.fsdecode(name) for name in self.shards]
        record = {"kind": "tar index", "format": FORMAT, "shards": shards, "classes": self.classes}
        write_tensors(folder / INDEX, tensors, record)

    @classmethod
    def read(cls, storage: Storage) -> TarIndex | None:
        """Read the index of a folder; None if it has none that can be used."""
        name = INDEX.encode()
        if storage.kind(name) != "file":
            return None
        try:
            if isinstance(storage, Local):
                return cls._read(storage.root / INDEX)
            with TemporaryDirectory() as folder:
                copy = Path(folder) / INDEX
                copy.write_bytes(storage.read(name, limit=MAX_INDEX_BYTES))
                return cls._read(copy)
        except (ArtefactError, DataError, KeyError, TypeError, ValueError) as error:
            LOG.warning("%s cannot be used and is written again: %s", storage.where(name), error)
            return None

    @classmethod
    def _read(cls, path: Path) -> TarIndex:
        tensors, record = read_tensors(path)
        if record.get("kind") != "tar index" or record.get("format") != FORMAT:
            raise DataError(f"expected an index of format {FORMAT}, found {record.get('format')}")
        shard, offset, size, target = (tensors[name].numpy() for name in _COLUMNS)
        index = cls(
            tuple(os.fsencode(name) for name in record["shards"]),
            tensors["sizes"].numpy(),
            Names(tensors["names"].numpy(), tensors["ends"].numpy()),
            shard,
            offset,
            size,
            target,
            tuple(record["classes"]),
        )
        index.check()
        return index

    def check(self) -> None:
        """Raise a `DataError` if a number leads outside of what it points into."""
        ends, num = self.names.offsets, len(self.names)
        columns = [getattr(self, name) for name in _COLUMNS]
        ok = (
            all(isinstance(name, str) for name in self.classes)
            and len(set(self.classes)) == len(self.classes)
            and len(self.sizes) == len(self.shards)
            and all(column.shape == (num,) and column.dtype == np.int64 for column in columns)
            and all(column.min(initial=0) >= 0 for column in columns)
            and self.shard.max(initial=0) < len(self.shards)
            and self.target.max(initial=0) < len(self.classes)
            and bool((np.diff(ends) >= 0).all())
            and (ends[0], ends[-1]) == (0, len(self.names.buffer))
            and bool((self.offset + self.size <= self.sizes[self.shard]).all())
        )
        for name in self.shards:
            check_inside(name, INDEX)
        if not ok:
            raise DataError("expected numbers that fit each other, found others: it is damaged")


def as_folder(class_name: str) -> bytes:
    """Return a class as the name of one visible folder.

    Example:
        >>> as_folder("50% off/new"), as_class(as_folder("50% off/new"))
        (b'50%25 off%2Fnew', '50% off/new')
    """
    name = class_name.replace("%", "%25").replace("/", "%2F")
    return os.fsencode("%2E" + name[1:] if name.startswith(".") else name)


def as_class(folder: bytes) -> str:
    """Return the class that `as_folder` has made a folder of."""
    name = os.fsdecode(folder)
    return name.replace("%2E", ".").replace("%2F", "/").replace("%25", "%")
