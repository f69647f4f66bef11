"""Samples of one split (name, target); the class map is made from train, and matched by name."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from softonce.console import LOG
from softonce.errors import DataError
from softonce.randomness import permutation

if TYPE_CHECKING:
    import numpy.typing as npt

    from softonce.data.names import Names
    from softonce.data.sources.source import Listing, Source


@dataclass(frozen=True)
class Samples:
    """Names and targets of one split.

    Args:
        source: what opens them.
        place: what a message calls the split.
        names: (N,) the source's names.
        target: (N,) class indices.
        classes: class names in index order.
    """

    source: Source
    place: str
    names: Names
    target: npt.NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.target)

    def where(self, index: int) -> str:
        """Return what a message calls one sample: its path or URL."""
        return self.source.where(self.names[index])

    def read(self, index: int) -> bytes:
        """Return the bytes of one sample, an image file.

        Raises:
            ImageError: if they cannot be read, or are more than any picture should have.
        """
        return self.source.read(self.names[index])

    def take(self, indices: npt.NDArray[np.int64]) -> Samples:
        """Return the samples at these indices."""
        return dataclasses.replace(
            self, names=self.names.take(indices), target=self.target[indices]
        )

    def listing(self) -> str:
        """Return a hash of classes and last names, by which data are known again."""
        digest = hashlib.blake2b(digest_size=16)
        for name, index in zip(self.names, self.target.tolist(), strict=True):
            last = name.rpartition(b"/")[2]
            digest.update(self.classes[index].encode() + b"/" + last + b"\0")
        return digest.hexdigest()


def list_samples(
    source: Source, split: str, classes: tuple[str, ...] | None = None, *, complete: bool = False
) -> Samples:
    """List a split's images, matched to the class map by name.

    A class of the map that the split lacks stays in its place, so that no label shifts.

    Args:
        source: the data.
        split: one of `source.splits()`.
        classes: the class map; None makes it from this split.
        complete: whether every class must have an image, as in train.

    Raises:
        DataError: if the split has a class that the map lacks, or (complete) an empty one.
    """
    listing = source.list_split(split)
    if classes is None:
        classes = _check_classes(source, listing)
    unknown = sorted(set(listing.classes) - set(classes))
    if unknown:
        raise DataError(
            f"expected the {len(classes)} classes of train in {listing.place}, "
            f"found unknown ones: {_join_names(unknown)}; rename or remove them"
        )
    place = {name: index for index, name in enumerate(classes)}
    renumbered = np.array([place[name] for name in listing.classes], dtype=np.int64)
    target = renumbered[listing.target] if len(listing.names) else listing.target
    _check_counts(listing.place, target, classes, complete=complete)
    return Samples(source, listing.place, listing.names, target, classes)


def _check_classes(source: Source, listing: Listing) -> tuple[str, ...]:
    classes = listing.classes
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if classes else "none"
        raise DataError(
            f"expected at least 2 classes in {listing.place}, found {found}: {source.remedy}"
        )
    if foreign := [name for name in classes if name.encode("utf-8", "ignore").decode() != name]:
        raise DataError(
            f"expected classes in {listing.place} that are named in UTF-8, "
            f"found {_join_names(foreign)}: rename them"
        )
    return classes


def _check_counts(
    place: str, target: npt.NDArray[np.int64], classes: tuple[str, ...], *, complete: bool
) -> None:
    counts = np.bincount(target, minlength=len(classes))
    empty = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if empty and complete:
        raise DataError(
            f"expected at least one image of every class in {place}, "
            f"found none of: {_join_names(empty)}; add images or remove these classes"
        )
    if len(target) == 0:
        raise DataError(f"expected images in the classes of {place}, found none")
    if empty:
        LOG.info(
            "%s has no image of: %s; the label indices stay the same", place, _join_names(empty)
        )


def split_off_val(
    samples: Samples, fraction: float, *, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the indices of train and of val: a stratified split, the same for the same seed.

    Every class keeps at least one image in train; val gets `fraction` of each, rounded.

    Raises:
        DataError: if val would be empty.
    """
    order = permutation(seed, -1, len(samples))
    shuffled_target = samples.target[order]
    val = []
    for index in range(len(samples.classes)):
        members = order[shuffled_target == index]
        val.append(members[: min(round(fraction * len(members)), len(members) - 1)])
    chosen = np.sort(np.concatenate(val))
    if len(chosen) == 0:
        raise DataError(
            f"expected --val-fraction {fraction:g} of {len(samples)} images to leave some for val, "
            "found none: raise it, or add a val/ folder"
        )
    return np.setdiff1d(np.arange(len(samples)), chosen), chosen


def _join_names(names: list[str], limit: int = 8) -> str:
    shown = ", ".join(map(repr, names[:limit]))
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")
