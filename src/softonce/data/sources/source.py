"""What every kind of DATA offers; all else (class map, bad files, limits, order) is made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from softonce.data.names import Names

SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""What the three splits are called, in letters of either case, the preferred name first."""

WHOLE = "all"
"""The one split of DATA that has none of these."""


@dataclass(frozen=True)
class Listing:
    """One split as the source has it.

    Args:
        place: what a message calls the split.
        names: (N,) what `Source.read` takes.
        target: (N,) indices into `classes`.
        classes: the classes of this split in index order, empty ones included.
        passed_over: how many files were not read, by reason.
        groups: (N, 16) uint8, a hash of what each belongs to, if a table says so: a patient, a
            camera, ...; a split parts no group.
    """

    place: str
    names: Names
    target: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    passed_over: Mapping[str, int] = field(default_factory=dict)
    groups: npt.NDArray[np.uint8] | None = None


class Source(Protocol):
    """DATA of one kind. A source is frozen, and what a worker process inherits of it is shared."""

    remedy: ClassVar[str]
    """What to do if there are fewer than two classes."""

    def splits(self) -> tuple[str, ...]:
        """Return which of `train`, `val` and `test` exist; if none does, only `all`."""

    def list_split(self, split: str) -> Listing:
        """List a split, in an order that does not change."""

    def read(self, name: bytes) -> bytes:
        """Return the bytes of an image file; an `ImageError` says why that cannot be."""

    def where(self, name: bytes) -> str:
        """Return what a message calls a sample: a path or a URL."""

    def stamps(self, names: Iterable[bytes]) -> npt.NDArray[np.int64]:
        """Return numbers that change when a file does, found without reading it.

        Returns:
            (N, columns): the size in bytes; the time of change in nanoseconds, or a number that
            stands for the contents; whatever else. A negative one says that there is none.
        """


def as_split(name: str) -> str | None:
    """Return which split a name stands for.

    Example:
        >>> as_split("validation"), as_split("Training"), as_split("ants")
        ('val', 'train', None)
    """
    return next((split for split, names in SPLIT_NAMES.items() if name.lower() in names), None)


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the classes of written labels in index order: sorted, and whole numbers by value.

    Example:
        >>> in_order(["b", "a", "b"]), in_order(["10", "9"])
        (('a', 'b'), ('9', '10'))
    """
    found = set(labels)
    if all(label.isascii() and label.isdigit() and str(int(label)) == label for label in found):
        return tuple(sorted(found, key=int))
    return tuple(sorted(found))


def number_labels(labels: list[str]) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Return the targets of written labels, and the classes that they index."""
    classes = in_order(labels)
    place = {label: index for index, label in enumerate(classes)}
    return np.array([place[label] for label in labels], dtype=np.int64), classes
