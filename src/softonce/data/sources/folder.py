"""A folder of class folders; or one that holds train/, and optionally val/ and test/."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from softonce.console import LOG
from softonce.data.names import Names
from softonce.data.passed_over import OUTSIDE, sift_images
from softonce.data.sources.source import SPLIT_NAMES, WHOLE, Listing, as_split
from softonce.plurals import format_count

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
        there = storage.entries().folders
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
            inside = (storage.entries(name).folders for name in found.values())
            found = found if any(inside) else {}
        if found and (unread := [name for name in there if name not in found.values()]):
            LOG.warning(
                "%s in %s not read, beside %s: %s",
                format_count(len(unread), "folder"),
                storage.where(),
                ", ".join(os.fsdecode(name) for name in found.values()),
                ", ".join(os.fsdecode(name) for name in unread[:8]),
            )
        return cls(storage, found or {WHOLE: b""})

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have a folder."""
        return tuple(self.folders)

    def list_split(self, split: str) -> Listing:
        """List the images below each class folder, nested folders included."""
        folder = self.folders[split]
        classes, beside, hidden = self.storage.entries(folder)
        passed_over: Counter[str] = Counter()
        outside = list(sift_images(beside + hidden, passed_over))
        if outside:
            passed_over[OUTSIDE] = len(outside)
        names: list[bytes] = []
        target: list[int] = []
        for index, name in enumerate(classes):
            inside = folder + b"/" + name if folder else name
            files = list(sift_images(self.storage.walk(inside), passed_over))
            names += files
            target += [index] * len(files)
        return Listing(
            self.storage.where(folder),
            Names.pack(names),
            np.array(target, dtype=np.int64),
            tuple(os.fsdecode(name) for name in classes),
            passed_over,
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
