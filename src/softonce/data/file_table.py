"""What was found in many files by reading them, as columns: a million rows make no objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from softonce.data.likeness import HASH_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

DIGEST_BYTES = 16
KIND = np.dtype("S16")
"""The name of a format; the longest of Pillow's has 9 letters."""


@dataclass(frozen=True, eq=False)
class FileTable:
    """What was found in each of N files.

    Args:
        digests: (N, 16) uint8, a hash of the bytes; zeros if they could not be read.
        kinds: (N,) the name of the format; empty if there is an error.
        sides: (N, 2) int32, width and height in pixels; zeros if there is an error.
        looks: (N, 8) uint8, a hash of how each looks; zeros if that is not known.
        errors: why a file cannot be used, by its index.
    """

    digests: npt.NDArray[np.uint8]
    kinds: npt.NDArray[np.bytes_]
    sides: npt.NDArray[np.int32]
    looks: npt.NDArray[np.uint8]
    errors: dict[int, str]

    @classmethod
    def empty(cls, num: int) -> FileTable:
        """Make a table of files that nothing is known of yet."""
        digests = np.zeros((num, DIGEST_BYTES), np.uint8)
        looks = np.zeros((num, HASH_BYTES), np.uint8)
        return cls(digests, np.zeros(num, KIND), np.zeros((num, 2), np.int32), looks, {})

    def __len__(self) -> int:
        return len(self.digests)

    def put(
        self,
        index: int,
        digest: bytes,
        kind: str,
        sides: tuple[int, int],
        error: str = "",
        look: bytes = b"",
    ) -> None:
        """Fill in one row."""
        if digest:
            self.digests[index] = np.frombuffer(digest, np.uint8)
        self.kinds[index] = kind.encode()
        self.sides[index] = sides
        if look:
            self.looks[index] = np.frombuffer(look, np.uint8)
        if error:
            self.errors[index] = error

    def put_rows(self, indices: npt.NDArray[np.int64], rows: FileTable) -> None:
        """Fill in the rows at these indices from another table, in its order."""
        self.digests[indices], self.kinds[indices] = rows.digests, rows.kinds
        self.sides[indices], self.looks[indices] = rows.sides, rows.looks
        self.errors.update((int(indices[row]), error) for row, error in rows.errors.items())

    def take(self, indices: npt.NDArray[np.int64]) -> FileTable:
        """Return the rows at these indices."""
        errors = {}
        if self.errors:
            numbered = enumerate(indices.tolist())
            errors = {row: self.errors[index] for row, index in numbered if index in self.errors}
        return FileTable(
            self.digests[indices],
            self.kinds[indices],
            self.sides[indices],
            self.looks[indices],
            errors,
        )

    def good(self) -> npt.NDArray[np.int64]:
        """Return the indices of the files that can be used."""
        mask = np.ones(len(self), bool)
        mask[list(self.errors)] = False
        return np.flatnonzero(mask)

    def were_read(self) -> npt.NDArray[np.bool_]:
        """Return which files' bytes could be read, whatever they turned out to be."""
        return np.asarray(self.digests.any(axis=1))


def concatenate_tables(tables: Iterable[FileTable]) -> FileTable:
    """Return the rows of several tables, one table after the other."""
    parts = [FileTable.empty(0), *tables]
    starts = np.cumsum([0, *map(len, parts)])
    errors = {
        int(start) + row: error
        for start, part in zip(starts, parts, strict=False)
        for row, error in part.errors.items()
    }
    columns = (
        [getattr(part, name) for part in parts] for name in ("digests", "kinds", "sides", "looks")
    )
    digests, kinds, sides, looks = (np.concatenate(column) for column in columns)
    return FileTable(digests, kinds, sides, looks, errors)
