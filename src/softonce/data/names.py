"""Many names in one buffer: a million of them cost a worker process nothing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Names:
    """A sequence of byte strings, one after the other in one buffer.

    A list of a million strings is copied, page by page, into every worker process that counts
    references on it; an array of equally long strings grows with the longest of them.

    Args:
        buffer: (bytes,) uint8, all names without separators.
        offsets: (N + 1,) int64, where each begins, and where the last ends.

    Example:
        >>> names = Names.pack([b"ants/0.jpg", b"bees/1.jpg"])
        >>> len(names), names[1], list(names.take(np.array([1])))
        (2, b'bees/1.jpg', [b'bees/1.jpg'])
    """

    buffer: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def pack(cls, names: Iterable[bytes]) -> Names:
        """Put byte strings into one buffer."""
        buffer, ends = bytearray(), [0]
        for name in names:
            buffer += name
            ends.append(len(buffer))
        return cls(np.frombuffer(bytes(buffer), np.uint8), np.array(ends, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> bytes:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        return self.buffer[self.offsets[index] : self.offsets[index + 1]].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        data, ends = self.buffer.tobytes(), self.offsets.tolist()
        return (data[start:end] for start, end in pairwise(ends))

    def take(self, indices: npt.NDArray[np.int64]) -> Names:
        """Return the names at these indices."""
        data, starts = self.buffer.tobytes(), self.offsets[indices].tolist()
        ends = self.offsets[indices + 1].tolist()
        return Names.pack(data[start:end] for start, end in zip(starts, ends, strict=True))
