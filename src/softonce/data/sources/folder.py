"""A folder of class folders; or one that holds train/, and optionally val/ and test/."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from softonce.data.names import Names
from softonce.data.sources.source import SPLIT_NAMES, WHOLE, Listing, as_split
from softonce.data.storage import is_image

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from softonce.data.storage import Storage


@dataclass(frozen=True)
class Folder:
    """Class folders: a class is a folder's name, sorted; hidden folders are no classes.

    Args:
        storage: where it is.
        folders: the folder of each split, relative to it.
    """

    storage: Storage
    folders: dict[str, bytes]

    remedy: ClassVar[str] = (
        "make one folder a class, with that class's images inside; train, val and test are splits"
    )

    @classmethod
    def open(cls, storage: Storage) -> Folder:
        """Find the splits; `train` or `Test` is a class with classes beside it, none inside."""
        there, _ = storage.entries()
        named = {name: as_split(os.fsdecode(name)) for name in there}
        found = {
            split: min(
                (name for name in there if named[name] == split),
                key=lambda name: (names.index(name.decode().lower()), not name.islower()),
            )
            for split, names in SPLIT_NAMES.items()
            if split in named.values()
        }
        is_odd = list(found) == ["train"] or not any(name.islower() for name in found.values())
        if is_odd and None in named.values():
            inside = (storage.entries(name)[0] for name in found.values())
            found = found if any(inside) else {}
        return cls(storage, found or {WHOLE: b""})

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have a folder."""
        return tuple(self.folders)

    def list_split(self, split: str) -> Listing:
        """List the images below each class folder, nested folders included."""
        folder = self.folders[split]
        classes, _ = self.storage.entries(folder)
        names: list[bytes] = []
        target: list[int] = []
        for index, name in enumerate(classes):
            inside = folder + b"/" + name if folder else name
            files = [file for file in self.storage.walk(inside) if is_image(file)]
            names += files
            target += [index] * len(files)
        return Listing(
            self.storage.where(folder),
            Names.pack(names),
            np.array(target, dtype=np.int64),
            tuple(os.fsdecode(name) for name in classes),
        )

    def read(self, name: bytes) -> bytes:
        """Return a file's bytes."""
        return self.storage.read(name)

    def where(self, name: bytes) -> str:
        """Return the file's path or URL."""
        return self.storage.where(name)

    def stamps(self, names: Iterable[bytes]) -> npt.NDArray[np.int64]:
        """Return size and time of change of each file."""
        return self.storage.stamps(names)
