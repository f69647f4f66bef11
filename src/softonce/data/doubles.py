"""The same picture twice: in two classes, in train and in what judges it, or where it does no harm.

Files of the same bytes are found by their digests; re-encoded and resized copies by how they look,
and each of these is compared as a picture before it is called a copy.
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


def find_doubles(parts: Mapping[str, Scan]) -> list[Double]:
    """Return the pairs of files of the same bytes; of many copies each is paired with the first.

    Args:
        parts: the splits by name, train first.
    """
    pictures = _Pictures(parts)
    keys = pictures.join_column("digests").view("V16")[:, 0]
    _, number, counts = np.unique(keys, return_inverse=True, return_counts=True)
    places: dict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(counts[number] > 1).tolist():
        places[int(number[row])].append(row)
    return [
        Double(*pictures.describe(rows[0]), *pictures.describe(other))
        for rows in places.values()
        for other in rows[1:]
    ]


def find_twins(parts: Mapping[str, Scan]) -> list[Double]:
    """Return the pairs of pictures of which one is re-encoded or resized.

    Args:
        parts: the splits by name, train first.
    """
    pictures = _Pictures(parts)
    shrunk = cache(pictures.shrink)  # the frames of a film are in many pairs each
    digests = pictures.join_column("digests")
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
            ends = (*pictures.describe(one), *pictures.describe(other))
            found.append(Double(*ends, is_identical=False))
    return found


class _Pictures:
    """The pictures of all splits in one row, one split after the other.

    Args:
        parts: the splits by name.
    """

    def __init__(self, parts: Mapping[str, Scan]) -> None:
        self._parts = list(parts.items())
        self._starts = np.cumsum([0, *map(len, parts.values())])

    def join_column(self, column: str) -> npt.NDArray[np.uint8]:
        """Return a column of all scans."""
        return np.concatenate([getattr(part, column) for _, part in self._parts])

    def describe(self, row: int) -> tuple[str, str, str]:
        """Return path, class and split of a picture."""
        split, samples, index = self._find(row)
        return samples.where(index), samples.classes[samples.target[index]], split

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
