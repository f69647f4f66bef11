"""The same picture twice: in two classes, in train and in what judges it, or where it does no harm.

Files of the same bytes are found by their digests; re-encoded and resized copies by how they look,
and each of these is compared as a picture before it is called a copy. Copies are on one side of
every split that is made here.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from softonce.console import LOG
from softonce.data.images import decode_for_display
from softonce.data.likeness import agree, find_alike, shrink
from softonce.data.membership import keep_together
from softonce.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from softonce.data.samples import Samples
    from softonce.data.scan import Scan


MAX_CANDIDATES = 50_000
"""More pairs are not compared as pictures: at a millisecond a picture they take two minutes."""


@dataclass(frozen=True)
class Double:
    """Two files of the same picture.

    Args:
        path: of the one, in train if either is.
        label: its class.
        split: its split.
        other_path: of the other.
        other_label: its class.
        other_split: its split.
        is_identical: whether the bytes are the same; else one is re-encoded or resized.
    """

    path: str
    label: str
    split: str
    other_path: str
    other_label: str
    other_split: str
    is_identical: bool = True

    @property
    def is_conflict(self) -> bool:
        """Whether they are in two classes, so that one label at least is wrong."""
        return self.label != self.other_label

    @property
    def is_leak(self) -> bool:
        """Whether one was trained on, and the other judges the classifier."""
        return "train" in (self.split, self.other_split) and self.split != self.other_split

    @property
    def fault(self) -> str:
        """What is wrong, in words."""
        if self.is_conflict:
            return "in two classes"
        return "in train and another split" if self.is_leak else "twice"


@dataclass(frozen=True)
class Copies:
    """The pairs of the same picture among the pictures of all parts, one part after the other.

    Args:
        parts: by name, train first.
        identical: pairs of rows whose bytes are the same; of many copies each with the first.
        alike: pairs of which one is re-encoded or resized.
    """

    parts: Mapping[str, Scan]
    identical: tuple[tuple[int, int], ...]
    alike: tuple[tuple[int, int], ...]

    def list_doubles(self, is_val: npt.NDArray[np.bool_] | None = None) -> tuple[Double, ...]:
        """Return the pairs with their files.

        Args:
            is_val: which pictures of the first part are val by now.
        """
        pictures, found = _Pictures(self.parts, is_val), []
        for pairs, is_identical in ((self.identical, True), (self.alike, False)):
            for pair in pairs:
                one, other = sorted(pair, key=pictures.is_val)  # train first
                ends = (*pictures.describe(one), *pictures.describe(other))
                found.append(Double(*ends, is_identical))
        return tuple(found)

    def group_first_part(self) -> Scan:
        """Return the first part; copies in it belong together, as the images of a group do."""
        first = next(iter(self.parts.values()))
        pairs = (*self.identical, *self.alike)
        own = [pair for pair in pairs if max(pair) < len(first)]
        return first.with_units(keep_together(first.units, own))


def find_copies(parts: Mapping[str, Scan]) -> Copies:
    """Return the pairs of the same picture, in one part or in two.

    Args:
        parts: by name, train first.
    """
    pictures = _Pictures(parts)
    digests = pictures.join_column("digests")
    return Copies(parts, _find_identical(digests), _find_alike(pictures, digests))


def _find_identical(digests: npt.NDArray[np.uint8]) -> tuple[tuple[int, int], ...]:
    _, number, counts = np.unique(
        digests.view("V16")[:, 0], return_inverse=True, return_counts=True
    )
    places: dict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(counts[number] > 1).tolist():
        places[int(number[row])].append(row)
    return tuple((rows[0], other) for rows in places.values() for other in rows[1:])


def _find_alike(pictures: _Pictures, digests: npt.NDArray[np.uint8]) -> tuple[tuple[int, int], ...]:
    shrunk = cache(pictures.shrink)  # the frames of a film are in many pairs each
    candidates = list(islice(find_alike(pictures.join_column("looks")), MAX_CANDIDATES + 1))
    if len(candidates) > MAX_CANDIDATES:
        LOG.warning(
            "more than %d pairs of pictures look alike, as the frames of a film do: only %d are "
            "compared; --group-col keeps what belongs together on one side of a split",
            MAX_CANDIDATES,
            MAX_CANDIDATES,
        )
    found = []
    for one, other in sorted(candidates[:MAX_CANDIDATES]):
        if (digests[one] == digests[other]).all():
            continue  # found by their bytes
        own, its = shrunk(one), shrunk(other)
        if own is not None and its is not None and agree(own, its):
            found.append((one, other))
    return tuple(found)


class _Pictures:
    """The pictures of all parts in one row, one part after the other.

    Args:
        parts: by name.
        is_val: which pictures of the first part are val by now.
    """

    def __init__(
        self, parts: Mapping[str, Scan], is_val: npt.NDArray[np.bool_] | None = None
    ) -> None:
        self._parts = list(parts.items())
        self._starts = np.cumsum([0, *map(len, parts.values())])
        self._is_val = is_val

    def join_column(self, column: str) -> npt.NDArray[np.uint8]:
        """Return a column of all scans."""
        return np.concatenate([getattr(part, column) for _, part in self._parts])

    def is_val(self, row: int) -> bool:
        """Return whether a picture of the first part is val by now."""
        return self._is_val is not None and row < len(self._is_val) and bool(self._is_val[row])

    def describe(self, row: int) -> tuple[str, str, str]:
        """Return path, class and split of a picture."""
        split, samples, index = self._find(row)
        label = samples.classes[samples.target[index]]
        return samples.where(index), label, "val" if self.is_val(row) else split

    def shrink(self, row: int) -> npt.NDArray[np.float64] | None:
        """Return what is compared of a picture; None if it is gone since it was scanned."""
        _, samples, index = self._find(row)
        try:
            return shrink(decode_for_display(samples.open(index)))
        except ImageError:  # whoever reads it next will say so
            return None

    def _find(self, row: int) -> tuple[str, Samples, int]:
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        split, part = self._parts[number]
        return split, part.samples, row - int(self._starts[number])


def to_csv(doubles: Sequence[Double]) -> str:
    """Return a table of both files of each pair; `--exclude` takes it, once rows are removed.

    Columns: path, label, split, the path of the other, whether the bytes are the same, and what is
    wrong.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "split", "same_as", "copy", "fault"])
    writer.writerows(_rows(doubles))
    return text.getvalue()


def _rows(doubles: Sequence[Double]) -> Iterator[tuple[str, ...]]:
    for double in doubles:
        copy = "identical" if double.is_identical else "re-encoded or resized"
        one = (double.path, double.label, double.split)
        other = (double.other_path, double.other_label, double.other_split)
        yield *one, double.other_path, copy, double.fault
        yield *other, double.path, copy, double.fault
