"""Small pictures in memory, each fitted to the network's square when it is first needed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from softonce.data.images import to_square
from softonce.data.threads import map_files
from softonce.errors import ImageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from softonce.data.samples import Samples
    from softonce.preprocessing import Preprocessing


class SmallPictures:
    """The squares of a split, (N, channels, size, size) uint8.

    A first start decodes every file anyway, to find out whether it can be used, and keeps what it
    has decoded. A resumed run decodes a picture when a batch first asks for it, so that its first
    step waits for one batch and not for all.

    Args:
        samples: the files.
        preprocessing: how they are fitted.
    """

    def __init__(self, samples: Samples, preprocessing: Preprocessing) -> None:
        side = preprocessing.size
        shape = (len(samples), preprocessing.in_channels, side, side)
        self._samples, self._preprocessing = samples, preprocessing
        self._pixels, self._is_there = np.empty(shape, np.uint8), np.zeros(len(samples), bool)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the squares at these indices; a file that is gone by now is an `ImageError`."""
        missing = np.unique(rows[~self._is_there[rows]])
        if len(missing):
            with ThreadPoolExecutor() as threads:
                found = map_files(self._read, missing.tolist(), threads)
                for index, square in zip(missing.tolist(), found, strict=True):
                    self.put(index, square)
        return self._pixels[rows]

    def at(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the squares at these indices as they are, of bad files without meaning."""
        return self._pixels[rows]

    def put(self, indices: int | npt.NDArray[np.int64], squares: npt.NDArray[np.uint8]) -> None:
        """Keep what was decoded elsewhere: one square, or several at these indices."""
        self._pixels[indices], self._is_there[indices] = squares, True

    def take(self, indices: npt.NDArray[np.int64]) -> SmallPictures:
        """Return the part at these indices."""
        if np.array_equal(indices, np.arange(len(self))):
            return self  # the usual case, and the pixels may be half of the memory
        part = SmallPictures(self._samples.take(indices), self._preprocessing)
        part.put(np.arange(len(part)), self._pixels[indices])
        part._is_there[:] = self._is_there[indices]
        return part

    def _read(self, index: int) -> npt.NDArray[np.uint8]:
        try:
            return to_square(self._samples.open(index), self._preprocessing)
        except ImageError as error:
            raise ImageError(f"{self._samples.where(index)}: {error}") from error
