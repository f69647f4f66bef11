"""A folder of class folders becomes samples (path, target); the class map is made here, once."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from softonce.console import LOG
from softonce.errors import DataError
from softonce.randomness import permutation

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

SPLIT_FOLDERS = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}


@dataclass(frozen=True)
class Samples:
    """Paths and targets of one split.

    The paths are one array of bytes: a list of a million strings is copied, page by page, into
    every worker process that counts references on it.

    Args:
        root: the folder that the paths are relative to.
        names: (N,) paths relative to `root`, as bytes.
        target: (N,) class indices.
        classes: class names in index order.
    """

    root: Path
    names: npt.NDArray[np.bytes_]
    target: npt.NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.target)

    def path(self, index: int) -> Path:
        """Return the path of one sample."""
        return self.root / os.fsdecode(self.names[index])

    def take(self, indices: npt.NDArray[np.int64]) -> Samples:
        """Return the samples at these indices."""
        return dataclasses.replace(self, names=self.names[indices], target=self.target[indices])

    def listing(self) -> str:
        """Return a hash of the file names, by which a folder is known again."""
        return hashlib.blake2b(b"\0".join(self.names.tolist()), digest_size=16).hexdigest()


def find_splits(data: Path) -> dict[str, Path]:
    """Return the folder of each split of DATA; a folder of class folders is one split, `all`.

    Raises:
        DataError: where DATA is no folder.
    """
    if not data.is_dir():
        what = "a file" if data.exists() else "nothing"
        raise DataError(f"expected a folder of images at {data}, found {what}: check the path")
    found = {
        split: data / name
        for split, names in SPLIT_FOLDERS.items()
        for name in reversed(names)
        if (data / name).is_dir()
    }
    return found if "train" in found or "test" in found or "val" in found else {"all": data}


def read_classes(folder: Path) -> tuple[str, ...]:
    """Return the class names of a split: its folders, sorted; hidden folders are no classes.

    Raises:
        DataError: where there are fewer than two, or where a name is no UTF-8.
    """
    classes = tuple(
        sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))
    )
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if classes else "none"
        raise DataError(
            f"expected at least 2 class folders in {folder}, found {found}: "
            "make one folder a class, with that class's images inside"
        )
    if foreign := [name for name in classes if name.encode("utf-8", "ignore").decode() != name]:
        raise DataError(
            f"expected class folders in {folder} that are named in UTF-8, "
            f"found {_listed(foreign)}: rename them"
        )
    return classes


def list_samples(folder: Path, classes: tuple[str, ...], *, complete: bool = False) -> Samples:
    """List a split's images, matched to the class map by name.

    A class of the map that the split lacks stays in its place, so that no label shifts.

    Args:
        folder: a folder of class folders.
        classes: the class map.
        complete: whether every class must have an image, as in train.

    Raises:
        DataError: where the split has a class that the map lacks, or (complete) an empty one.
    """
    present = read_classes(folder) if complete else _class_folders(folder)
    unknown = sorted(set(present) - set(classes))
    if unknown:
        raise DataError(
            f"expected the {len(classes)} classes of train in {folder}, "
            f"found unknown ones: {_listed(unknown)}; rename or remove these folders"
        )
    names: list[bytes] = []
    target: list[int] = []
    for index, name in enumerate(classes):
        files = _image_names(folder, name)
        names += files
        target += [index] * len(files)
    counts = np.bincount(np.array(target, dtype=np.int64), minlength=len(classes))
    empty = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if empty and complete:
        raise DataError(
            f"expected at least one image of every class in {folder}, "
            f"found none of: {_listed(empty)}; add images or remove these folders"
        )
    if not names:
        raise DataError(f"expected images in the class folders of {folder}, found none")
    if empty:
        LOG.info("%s has no image of: %s; the labels keep their places", folder, _listed(empty))
    return Samples(folder, np.array(names), np.array(target, dtype=np.int64), classes)


def split_off_val(
    samples: Samples, fraction: float, *, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the indices of train and of val: a stratified split, the same for the same seed.

    Every class keeps at least one image in train; val gets `fraction` of each, rounded.

    Raises:
        DataError: where val would be empty.
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


@cache
def image_suffixes() -> frozenset[str]:
    """Return the file suffixes that Pillow can open."""
    readable = set(Image.registered_extensions().items())
    return frozenset(suffix for suffix, kind in readable if kind in Image.OPEN)


def _class_folders(folder: Path) -> list[str]:
    return [e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith(".")]


def _image_names(folder: Path, name: str) -> list[bytes]:
    """Return the class's image files, nested folders included, sorted, relative to `folder`."""
    return [os.fsencode(os.path.relpath(path, folder)) for path in _walk(folder / name)]


def images_below(folder: Path) -> Iterator[Path]:
    """Yield every image file below a folder, sorted; hidden files and folders are left out."""
    return map(Path, _walk(folder))


def _walk(folder: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(files):
            # A Path a file would cost seconds on a large folder.
            suffix = os.path.splitext(file)[1].lower()  # noqa: PTH122 - as said above
            if suffix in image_suffixes() and not file.startswith("."):
                yield os.path.join(parent, file)  # noqa: PTH118 - as said above


def _listed(names: list[str], limit: int = 8) -> str:
    shown = ", ".join(map(repr, names[:limit]))
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")
