"""The same picture twice: in two classes, in train and in what judges it, or where it does no harm.

Files of the same bytes are found by their digests; re-encoded and resized copies by how they look,
and each of these is compared as a picture before it is called a copy.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from softonce.console import LOG
from softonce.data.images import shown
from softonce.data.likeness import are_copies, find_alike
from softonce.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from PIL import Image

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


def find_doubles(parts: Mapping[str, Scan]) -> list[Double]:
    """Return the pairs of files of the same bytes; of many copies each is paired with the first.

    Args:
        parts: the splits by name, train first.
    """
    digests = np.concatenate([part.digests for part in parts.values()])
    _, number, counts = np.unique(digests, axis=0, return_inverse=True, return_counts=True)
    splits = [(split, index) for split, part in parts.items() for index in range(len(part))]
    places: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for row in np.flatnonzero(counts[number] > 1).tolist():
        places[int(number[row])].append(splits[row])
    found = []
    for same in places.values():
        first, *others = (_describe(parts, split, index) for split, index in same)
        found += [Double(*first, *other) for other in others]
    return found


def find_twins(parts: Mapping[str, Scan]) -> list[Double]:
    """Return the pairs of pictures of which one is re-encoded or resized.

    Args:
        parts: the splits by name, train first.
    """
    places = [(split, index) for split, part in parts.items() for index in range(len(part))]
    digests = np.concatenate([part.digests for part in parts.values()])
    looks = np.concatenate([part.looks for part in parts.values()])
    candidates = list(islice(find_alike(looks), MAX_CANDIDATES + 1))
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
        own, its = _open(parts, *places[one]), _open(parts, *places[other])
        if own is not None and its is not None and are_copies(own, its):
            first, second = (_describe(parts, *places[row]) for row in (one, other))
            found.append(Double(*first, *second, is_identical=False))
    return found


def _open(parts: Mapping[str, Scan], split: str, index: int) -> Image.Image | None:
    try:
        return shown(parts[split].samples.open(index))
    except ImageError:  # gone since it was scanned, which whoever reads it next will say
        return None


def _describe(parts: Mapping[str, Scan], split: str, index: int) -> tuple[str, str, str]:
    samples = parts[split].samples
    return samples.where(index), samples.classes[samples.target[index]], split


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
        fault = (
            "in two classes"
            if double.is_conflict
            else "in train and another split"
            if double.is_leak
            else "twice"
        )
        copy = "identical" if double.is_identical else "re-encoded or resized"
        ends = (
            (double.path, double.label, double.split),
            (
                double.other_path,
                double.other_label,
                double.other_split,
            ),
        )
        for own, other in (ends, ends[::-1]):
            yield *own, other[0], copy, fault
