"""Samples of one split (name, target); the class map is made from train, and matched by name."""

from __future__ import annotations

import dataclasses
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from softonce.console import LOG
from softonce.data.images import open_image
from softonce.data.names import Names
from softonce.data.passed_over import say_passed_over
from softonce.errors import DataError
from softonce.files import is_utf8
from softonce.preprocessing import MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from softonce.data.bands import Picture
    from softonce.data.excluded import Excluded
    from softonce.data.sources.source import Listing, Source


_NUM_SHOWN = 8
"""Names that an error lists; more would hide what to do."""


@dataclass(frozen=True)
class Samples:
    """Names and targets of one split, or of several.

    Args:
        source: what opens them.
        place: what a message calls the split.
        names: (N,) the source's names.
        target: (N,) class indices.
        classes: class names in index order.
        groups: (N, 16) uint8, a hash of what each belongs to, or None.
        max_pixels: larger pictures cannot be read.
        splits: (N,) the split of each, if they are of several.
    """

    source: Source
    place: str
    names: Names
    target: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    groups: npt.NDArray[np.uint8] | None = None
    max_pixels: int = MAX_PIXELS
    splits: npt.NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.target)

    def where(self, index: int) -> str:
        """Return what a message calls one sample: its path or URL."""
        return self.source.where(self.names[index])

    def in_order(self, classes: tuple[str, ...]) -> Samples:
        """Return the same samples with their classes in another order, or among more."""
        place = np.array([classes.index(name) for name in self.classes], dtype=np.int64)
        return dataclasses.replace(self, target=place[self.target], classes=classes)

    def read(self, index: int) -> bytes:
        """Return the bytes of one sample, an image file.

        Raises:
            ImageError: if they cannot be read, or are more than any picture should have.
        """
        return self.source.read(self.names[index])

    def open(self, index: int) -> Picture:
        """Open one sample without decoding it.

        Raises:
            ImageError: if it cannot be read, is not a picture, or has too many pixels.
        """
        return open_image(self.read(index), max_pixels=self.max_pixels)

    def take(self, indices: npt.NDArray[np.int64]) -> Samples:
        """Return the samples at these indices."""
        return dataclasses.replace(
            self,
            names=self.names.take(indices),
            target=self.target[indices],
            groups=None if self.groups is None else self.groups[indices],
            splits=None if self.splits is None else self.splits[indices],
        )


def join_samples(parts: Sequence[Samples], place: str) -> Samples:
    """Return the samples of several parts of one source, one part after the other.

    Args:
        parts: with the same classes.
        place: what a message calls the whole.
    """
    groups = [part.groups for part in parts if part.groups is not None]
    return dataclasses.replace(
        parts[0],
        place=place,
        names=Names.pack(name for part in parts for name in part.names),
        target=np.concatenate([part.target for part in parts]),
        groups=np.concatenate(groups) if len(groups) == len(parts) else None,
    )


def list_samples(
    source: Source,
    split: str,
    classes: tuple[str, ...] | None = None,
    *,
    complete: bool = False,
    max_pixels: int = MAX_PIXELS,
    excluded: Excluded | None = None,
) -> Samples:
    """List a split's images, matched to the class map by name.

    A class of the map that the split lacks stays in its place, so that no label shifts.

    Args:
        source: the data.
        split: one of `source.splits()`.
        classes: the class map; None makes it from this split.
        complete: whether every class must have an image, as in train.
        max_pixels: larger pictures cannot be read.
        excluded: files that are left out.

    Raises:
        DataError: if the split has a class that the map lacks, or (complete) an empty one.
    """
    listing = source.list_split(split)
    say_passed_over(listing.place, listing.passed_over)
    names = [unicodedata.normalize("NFC", name) for name in listing.classes]
    if classes is None:
        classes = _check_classes(source, listing, _without_doubles(listing, names))
    place = {unicodedata.normalize("NFC", name): index for index, name in enumerate(classes)}
    if unknown := sorted(set(names) - set(place)):
        raise DataError(
            f"expected the {len(classes)} classes of train in {listing.place}, found unknown ones: "
            f"{_join_unknown(unknown, classes)}; rename or remove them"
        )
    renumbered = np.array([place[name] for name in names], dtype=np.int64)
    target = renumbered[listing.target] if len(listing.names) else listing.target
    samples = Samples(
        source, listing.place, listing.names, target, classes, listing.groups, max_pixels
    )
    if excluded is not None:
        samples = samples.take(excluded.keep(map(samples.where, range(len(samples)))))
    _check_counts(listing.place, samples.target, classes, complete=complete)
    return samples


def read_class_order(path: Path, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes in the order of a text file, one name a line.

    Raises:
        DataError: if the file cannot be read, or does not name each class once.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"expected the names of the classes in {path}, one a line in UTF-8, found: {error}"
        ) from error
    order = tuple(unicodedata.normalize("NFC", line.strip()) for line in lines if line.strip())
    doubles = [name for name in dict.fromkeys(order) if order.count(name) > 1]
    unknown = [name for name in order if name not in classes]
    missing = [name for name in classes if name not in order]
    found = [
        f"{what} {_join_names(names)}"
        for what, names in (("twice", doubles), ("unknown", unknown), ("missing", missing))
        if names
    ]
    if found:
        raise DataError(
            f"expected each of the {len(classes)} classes once in {path}, found "
            f"{'; '.join(found)}: correct the file"
        )
    return order


def _without_doubles(listing: Listing, names: list[str]) -> tuple[str, ...]:
    """Return the classes in index order; those whose names are the same letters are one class.

    macOS writes an accent as a letter of its own, other systems do not: a folder that both have
    written to holds the same name twice.
    """
    found = tuple(dict.fromkeys(names))
    if len(found) < len(names):
        doubles = sorted({ascii(name) for name in names if names.count(name) > 1})
        LOG.warning(
            "%s has classes of the same letters in two encodings, taken as one: %s",
            listing.place,
            ", ".join(doubles),
        )
    return tuple(sorted(found)) if list(listing.classes) == sorted(listing.classes) else found


def _join_unknown(unknown: list[str], classes: tuple[str, ...]) -> str:
    """Return unknown names; one that looks like a class of train stands beside it, in escapes."""
    alike = {_folded(name): name for name in classes}
    shown = [
        f"{name!a} (train has {alike[_folded(name)]!a})" if _folded(name) in alike else repr(name)
        for name in unknown[:_NUM_SHOWN]
    ]
    more = f" and {len(unknown) - _NUM_SHOWN} more" if len(unknown) > _NUM_SHOWN else ""
    return ", ".join(shown) + more


def _folded(name: str) -> str:
    """Return a name without what is hard to see: case, kinds of blanks, invisible characters."""
    text = unicodedata.normalize("NFKC", name).casefold()
    visible = (c for c in text if unicodedata.category(c) not in ("Cf", "Cc"))
    return " ".join("".join(visible).split())


def _check_classes(source: Source, listing: Listing, classes: tuple[str, ...]) -> tuple[str, ...]:
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if classes else "none"
        raise DataError(
            f"expected at least 2 classes in {listing.place}, found {found}: {source.remedy}"
        )
    if not all(name.strip() for name in classes):
        raise DataError(
            f"expected a name for each class in {listing.place}, found a blank: name it"
        )
    if foreign := [name for name in classes if not is_utf8(name)]:
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


def _join_names(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:_NUM_SHOWN]))
    return shown + (f" and {len(names) - _NUM_SHOWN} more" if len(names) > _NUM_SHOWN else "")
