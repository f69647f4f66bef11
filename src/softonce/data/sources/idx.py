"""IDX files, as MNIST and its relatives ship them: `train-images-idx3-ubyte.gz` and so on."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, ClassVar, TypeAlias

import numpy as np

from softonce.data.names import Names
from softonce.data.sources.source import Listing
from softonce.errors import DataError
from softonce.plurals import format_count
from softonce.preprocessing import MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt

MAX_IDX_BYTES = 4 * 2**30
"""The most that the images of one IDX file may take, unpacked."""

_SPLITS = {"train": ("train",), "test": ("t10k", "test")}
_CHUNK = 1 << 20
"""A compressed file is unpacked in pieces, so that it cannot be larger than its header says."""
_UNSIGNED_BYTES = 8
"""The code of uint8 in the third byte of the magic number."""

# The classes of a data set are known by the digest of its training labels.
_CLASSES = {
    "372ac19362f2425103e5082d13e71e66": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
}


@dataclass(frozen=True, eq=False)
class Idx:
    """Grey pictures and labels in arrays, kept in memory as uint8.

    Args:
        folder: where the files are.
        images: (N, H, W) of each split.
        target: (N,) of each split.
        classes: class names in index order; the label itself if no name is known.

    Source:
        Format and file names: LeCun, Cortes, Burges, The MNIST database of handwritten digits.
        Class names of Fashion-MNIST: Xiao et al. 2017 (arXiv 1708.07747), table 2.
    """

    folder: Path
    images: dict[str, npt.NDArray[np.uint8]]
    target: dict[str, npt.NDArray[np.uint8]]
    classes: tuple[str, ...]

    remedy: ClassVar[str] = "use label files with at least two different labels"

    @classmethod
    def open(cls, folder: Path) -> Idx:
        """Read every split that the folder has.

        Raises:
            DataError: if a file is missing, damaged, or claims more than it may.
        """
        images, target = {}, {}
        for split, prefixes in _SPLITS.items():
            pictures = _find(folder, prefixes, "images", 3)
            labels = _find(folder, prefixes, "labels", 1)
            if pictures is None and labels is None:
                continue
            if pictures is None or labels is None:
                lacking = "images" if pictures is None else "labels"
                raise DataError(
                    f"expected images and labels of {split} in {folder}, found no {lacking}"
                )
            images[split], target[split] = _read(pictures, 3), _read(labels, 1)
            if len(images[split]) != len(target[split]):
                raise DataError(
                    f"expected as many images as labels of {split} in {folder}, found "
                    f"{len(images[split])} and {len(target[split])}: copy the files again"
                )
        if not images:
            raise DataError(
                f"expected train-images-idx3-ubyte, train-labels-idx1-ubyte or their .gz in "
                f"{folder}, found neither: check the path"
            )
        classes, target = _name_classes(target)
        return cls(folder, images, target, classes)

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have files."""
        return tuple(self.images)

    def list_split(self, split: str) -> Listing:
        """List the pictures by number."""
        target = self.target[split].astype(np.int64)
        names = Names.pack(b"%s/%07d.pgm" % (split.encode(), n) for n in range(len(target)))
        return Listing(f"{split} of {self.folder}", names, target, self.classes)

    def read(self, name: bytes) -> bytes:
        """Return a picture as a PGM file: a short header and its pixels."""
        split, number = name.removesuffix(b".pgm").split(b"/")
        picture = self.images[split.decode()][int(number)]
        height, width = picture.shape
        return b"P5 %d %d 255\n" % (width, height) + bytes(picture)

    def where(self, name: bytes) -> str:
        """Return the folder and the number."""
        return f"{self.folder}/{name.decode()}"

    def stamps(self, names: Iterable[bytes]) -> npt.NDArray[np.int64]:
        """Return size, and a number made of the pixels, of each picture."""
        pictures = map(self.read, names)
        found = [(len(picture), zlib.crc32(picture)) for picture in pictures]
        return np.array(found, dtype=np.int64).reshape(-1, 2)


_Targets: TypeAlias = "dict[str, npt.NDArray[np.uint8]]"


def _name_classes(labels: _Targets) -> tuple[tuple[str, ...], _Targets]:
    """Return the classes, and indices into them: the labels may begin at 1, as EMNIST's letters."""
    digest = hashlib.blake2b(next(iter(labels.values())).tobytes(), digest_size=16).hexdigest()
    if digest in _CLASSES:
        return _CLASSES[digest], labels
    used = np.unique(np.concatenate(list(labels.values())))
    target = {split: np.searchsorted(used, part).astype(np.uint8) for split, part in labels.items()}
    return tuple(map(str, used.tolist())), target


def _find(folder: Path, prefixes: tuple[str, ...], what: str, num_axes: int) -> Path | None:
    """Return the split's one file, packed or not; EMNIST puts words before the usual name."""
    found = {
        path
        for prefix in prefixes
        for joint in "-."
        for path in folder.glob(f"*{prefix}-{what}{joint}idx{num_axes}-ubyte*")
        if path.name.endswith(("-ubyte", "-ubyte.gz"))
    }
    if len(found) > 1:
        names = ", ".join(sorted(path.name for path in found))
        raise DataError(
            f"expected one file of {prefixes[0]} {what} in {folder}, found {names}: keep one"
        )
    return next(iter(found), None)


def _read(path: Path, num_axes: int) -> npt.NDArray[np.uint8]:
    """Read an array, once its header has been found to be possible."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as opened:
            shape = _shape(path, opened.read(4 + 4 * num_axes), num_axes)
            data = _body(opened, math.prod(shape))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"expected IDX data in {path}, found: {error or 'nothing'}") from error
    if len(data) != math.prod(shape):
        more = "more" if len(data) > math.prod(shape) else f"{len(data):,}"
        raise DataError(
            f"expected {format_count(math.prod(shape), 'byte')} after the header of {path}, "
            f"found {more}: "
            "the file is damaged, copy it again"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def _shape(path: Path, header: bytes, num_axes: int) -> tuple[int, ...]:
    magic = bytes([0, 0, _UNSIGNED_BYTES, num_axes])
    if len(header) != 4 + 4 * num_axes or header[:4] != magic:
        raise DataError(
            f"expected an IDX header {magic.hex()} of bytes on {num_axes} axes in {path}, found "
            f"{header[:4].hex() or 'nothing'}: it is another kind of file, or damaged"
        )
    shape = tuple(int(side) for side in np.frombuffer(header[4:], ">u4"))
    limit = MAX_IDX_BYTES if num_axes == 3 else MAX_IDX_BYTES // 64
    if min(shape) < 1 or math.prod(shape) > limit or math.prod(shape[1:]) > MAX_PIXELS:
        raise DataError(
            f"expected a size of 1 to {limit:,} bytes in the header of {path}, found "
            f"{' x '.join(map(str, shape))}: the header is damaged"
        )
    return shape


def _body(opened: BinaryIO | gzip.GzipFile, size: int) -> bytes:
    """Read as much as there is, at most one byte more than the header has promised."""
    data = bytearray()
    while len(data) <= size and (part := opened.read(min(_CHUNK, size + 1 - len(data)))):
        data += part
    return bytes(data)
