"""A hash of how a picture looks, by which re-encoded and resized copies are found.

The difference hash keeps, of a grey picture of 9 x 8 pixels, whether each is lighter than its
neighbour: 64 bits that survive another size, format and quality. Few differing bits make a
candidate, not a copy: pictures of one scene, and small drawings such as digits, share most bits. So
candidates are compared as pictures, and only those that agree almost everywhere are called copies.

Source:
    Krawetz 2013: Kind of Like That (hackerfactor.com), the difference hash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from softonce.data.bands import Bands

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from softonce.data.bands import Picture

    _Indices = npt.NDArray[np.int64]

HASH_BYTES = 8

MAX_BITS = 4
"""Differing bits of a candidate. Of 100 photographs, saved as JPEG of quality 50 to 95, halved,
doubled or at 0.7 of their size, 99 % differ by no more; of 300 CIFAR-10 pictures all at quality 95,
94 % at quality 50, 98 % at half of their 32 pixels. With more bits the bands would be too short to
leave few candidates among a million pictures. Pillow's box filter, whose edges are whole pixels,
finds 83 % of the photographs at 0.7 of their size, and 64 % of CIFAR-10's halves."""

_MIN_STEP = 3
"""Of 255: smaller steps between neighbours count as none. In an even sky they are noise, which
every encoding changes: with 0, 83 % of 35 details of photographs were found at quality 50, with 3
all."""

_NUM_BANDS = MAX_BITS + 1  # so that in every candidate one band at least is equal
_MAX_SHARED = 10_000
"""A band that more pictures share, such as an even sky's, is left to the other bands: a copy mostly
shares all of them, and comparing each with each would take minutes."""

_SIDE = 8  # pixels of what is compared: more would tell copies of another size apart
_MAX_DIFFERENCE = 7.0
"""Of 255, root mean square over the pixels. Copies of CIFAR-10's pictures at quality 50 have 3.8
(99 % are below 6.9), resized ones 0.7 to 2.4; no two others of 10,000 with similar hashes are below
13, and no two of 1,797 handwritten digits below 10."""
_MIN_CONTRAST = 4.0  # of 255: flat pictures are all alike, and copies of nothing


def look_of(image: Picture) -> bytes:
    """Return the difference hash of a decoded picture, 8 bytes; zeros if it has no colours."""
    if isinstance(image, Bands):
        return bytes(HASH_BYTES)
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BILINEAR), np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1] + _MIN_STEP).tobytes()


def find_alike(looks: npt.NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of indices whose hashes differ by at most `MAX_BITS` bits, each pair once.

    Args:
        looks: (N, 8) uint8, hashes; zeros stand for none.
    """
    known = np.flatnonzero(looks.any(axis=1))
    bits = np.unpackbits(looks[known], axis=1)
    words = np.ascontiguousarray(looks[known]).view(np.uint64)[:, 0]
    seen: set[tuple[int, int]] = set()
    for columns in np.array_split(np.arange(64), _NUM_BANDS):
        band = bits[:, columns] @ (1 << np.arange(len(columns)))
        for one, other in _pairs_of_equal(band):
            near = _count_bits(words[one] ^ words[other]) <= MAX_BITS
            for pair in zip(known[one[near]].tolist(), known[other[near]].tolist(), strict=True):
                if pair not in seen:
                    seen.add(pair)
                    yield pair


def _count_bits(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the number of ones in each word: sums of 2, 4 and 8 bits side by side."""
    twos, fours, bytes_ = (
        np.uint64(int(mask * (16 // len(mask)), 16)) for mask in ("5", "3", "0f")
    )
    words = words - ((words >> np.uint64(1)) & twos)
    words = (words & fours) + ((words >> np.uint64(2)) & fours)
    words = (words + (words >> np.uint64(4))) & bytes_
    return (words * np.uint64(0x0101010101010101)) >> np.uint64(56)


def _pairs_of_equal(band: npt.NDArray[np.int64]) -> Iterator[tuple[_Indices, _Indices]]:
    """Yield the indices of equal values, the smaller ones and the larger ones, many at once."""
    order = np.argsort(band, kind="stable")
    values, counts = np.unique(band, return_counts=True)
    order = order[np.isin(band[order], values[counts <= _MAX_SHARED])]
    keys, first, apart = band[order], np.arange(len(order)), 1
    while len(first):
        first = first[first + apart < len(order)]
        first = first[keys[first] == keys[first + apart]]
        yield order[first], order[first + apart]
        apart += 1


def are_copies(one: Image.Image, other: Image.Image) -> bool:
    """Return whether two pictures in colour are the same one, but for size, format and quality."""
    return agree(shrink(one), shrink(other))


def shrink(image: Image.Image) -> npt.NDArray[np.float64]:
    """Return what is compared of a picture in colour: (8, 8, 3) mean values."""
    small = image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float64)


def agree(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> bool:
    """Return whether two shrunk pictures are the same one."""
    difference = np.sqrt(np.mean((one - other) ** 2))
    contrast = min(small.std(axis=(0, 1)).max() for small in (one, other))
    return bool(difference <= _MAX_DIFFERENCE and contrast >= _MIN_CONTRAST)
