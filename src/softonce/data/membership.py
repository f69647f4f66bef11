"""Which part a picture belongs to is decided by its content, never by its name or its neighbours.

A split by order or by listing changes for every picture when one is added, and pictures that were
trained on are scored as unseen ones. Here a picture's place is a function of the seed and of the
hash of its bytes: other files come and go, names and folders change, and it stays where it was.
Copies of a picture, and images of a group, have one place together: the one of the least hash among
them, so that a picture can move only if a copy of it comes. A trained classifier carries the hashes
of what it was trained on.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import numpy as np

from softonce.errors import ArtefactError, DataError
from softonce.randomness import uniforms

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]

_MARK_BYTES = 6
"""Of each picture's hash that a classifier keeps: 8 characters a picture, and among a million
pictures trained on and a million scored, one is taken for another in 1 of 280 evaluations."""


def positions(digests: npt.NDArray[np.uint8], seed: int) -> npt.NDArray[np.float64]:
    """Return a number in [0, 1) for each picture, by its content and the seed.

    Args:
        digests: (N, 16) uint8, hashes of the files' bytes.
        seed: another one draws other numbers.
    """
    keys = np.ascontiguousarray(digests[:, :8]).view("<u8").reshape(-1)
    return uniforms(seed, -1, keys, num_draws=1)[:, 0]


def keep_together(
    units: npt.NDArray[np.uint8], pairs: Iterable[tuple[int, int]]
) -> npt.NDArray[np.uint8]:
    """Return the units, of which all that hang together by pairs are one: the least of them.

    Args:
        units: (N, 16) uint8, hashes of what each picture belongs to.
        pairs: rows of two pictures that may not part.
    """
    above: dict[bytes, bytes] = {}

    def root(unit: bytes) -> bytes:
        while unit in above:
            above[unit] = above.get(above[unit], above[unit])  # half the way for the next
            unit = above[unit]
        return unit

    for pair in pairs:
        low, high = sorted(root(units[row].tobytes()) for row in pair)
        if low != high:
            above[high] = low
    if not above:
        return units
    _, first, number = np.unique(units.view("V16")[:, 0], return_index=True, return_inverse=True)
    roots = b"".join(root(unit.tobytes()) for unit in units[first])
    return np.frombuffer(roots, np.uint8).reshape(-1, 16)[number]


def choose_val(
    digests: npt.NDArray[np.uint8],
    target: npt.NDArray[np.int64],
    *,
    num_classes: int,
    fraction: float,
    seed: int,
) -> Mask:
    """Return which pictures are val: those whose position lies below `fraction`.

    So val has about, not exactly, this share of each class. Two repairs keep small classes whole: a
    class that should have a picture in val by its size and has none gives the one of the lowest
    position, and one that has none left in train takes back the one of the highest. Copies of a
    picture stay together.

    Args:
        digests: (N, 16) uint8, hashes of the files' bytes.
        target: (N,) class indices.
        num_classes: the number of classes.
        fraction: the share of val.
        seed: another one chooses another val.

    Raises:
        DataError: if val would be empty.
    """
    place = positions(digests, seed)
    is_val = place < fraction
    by_class = np.argsort(target, kind="stable")
    ends = np.cumsum(np.bincount(target, minlength=num_classes))
    members = np.split(by_class, ends[:-1])
    for own in members:
        if len(own) and round(fraction * len(own)) > 0 and not is_val[own].any():
            is_val |= place == place[own].min()
    for own in members:
        if len(own) and is_val[own].all():
            is_val &= place != place[own].max()
    if not is_val.any():
        raise DataError(
            f"expected --val-fraction {fraction:g} of {len(target)} images to leave some for val, "
            "found none: raise it, or add a val/ folder"
        )
    return is_val


def choose_fold(
    digests: npt.NDArray[np.uint8],
    target: npt.NDArray[np.int64],
    *,
    classes: tuple[str, ...],
    fold: tuple[int, int],
    seed: int,
) -> Mask:
    """Return which pictures are the fold: those whose position lies in its part of [0, 1).

    Every picture is in exactly one fold, whatever others come; so nothing is repaired as in
    `choose_val`, and folds are of about, not exactly, the same size.

    Args:
        digests: (N, 16) uint8, hashes of the files' bytes, or of their groups.
        target: (N,) class indices.
        classes: class names in index order.
        fold: which one of how many, from 1.
        seed: another one makes other folds.

    Raises:
        DataError: if the fold is empty, or has all pictures of a class.
    """
    index, count = fold
    is_val: Mask = np.floor(positions(digests, seed) * count) == index - 1
    left = np.bincount(target[~is_val], minlength=len(classes))
    if not is_val.any() or not left.all():
        what = "no image" if not is_val.any() else f"every image of {classes[int(left.argmin())]!r}"
        raise DataError(
            f"expected some images in fold {index} of {count}, and some of each class in the "
            f"others, found {what} in it: use fewer folds, add images, or try another --seed"
        )
    return is_val


def pack_marks(digests: npt.NDArray[np.uint8]) -> str:
    """Return what a classifier keeps of the pictures that it was trained on.

    Args:
        digests: (N, 16) uint8, hashes of the files' bytes.
    """
    return base64.b64encode(np.unique(_marks(digests)).tobytes()).decode("ascii")


def are_among(digests: npt.NDArray[np.uint8], packed: str) -> Mask:
    """Return which pictures are among those that `pack_marks` was given.

    Args:
        digests: (N, 16) uint8, hashes of the files' bytes.
        packed: what it returned.

    Raises:
        ArtefactError: if that is damaged.
    """
    try:
        known = np.frombuffer(base64.b64decode(packed, validate=True), f"V{_MARK_BYTES}")
    except (binascii.Error, ValueError) as error:
        raise ArtefactError(
            f"expected the hashes of what was trained on, found others: {error}"
        ) from error
    return np.isin(_as_numbers(_marks(digests)), _as_numbers(known))


def _marks(digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.void]:
    return np.ascontiguousarray(digests[:, :_MARK_BYTES]).view(f"V{_MARK_BYTES}").reshape(-1)


def _as_numbers(marks: npt.NDArray[np.void]) -> npt.NDArray[np.uint64]:
    wide = np.zeros((len(marks), 8), np.uint8)
    wide[:, :_MARK_BYTES] = np.frombuffer(marks.tobytes(), np.uint8).reshape(-1, _MARK_BYTES)
    return wide.view("<u8").reshape(-1)
