"""A table with a path and a label a row, and optionally a split and a group.

Columns are found by their usual names, or named by the caller; what is not used is said. If no
path of the first rows is a file, the files are looked for below the table's folder by their names,
since tables often hold bare names, ids without a suffix, or the paths of another machine.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from softonce.console import LOG
from softonce.data.names import Names
from softonce.data.sources.columns import Columns, cell, groups_among, read_split
from softonce.data.sources.source import SPLIT_NAMES, WHOLE, Listing, number_labels
from softonce.data.sources.tables import read_table
from softonce.data.storage import MAX_SAMPLES, Local, check_inside, is_image
from softonce.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from softonce.data.storage import Storage

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
_NUM_TRIED = 16
"""Paths that are tried as they are written, before files are looked for by their names."""
_SEVERAL = ("|", ";", ",")


@dataclass
class _Part:
    """The rows of one split, while they are read."""

    paths: list[bytes] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Manifest:
    """Rows of a CSV, TSV, JSONL or Parquet file; paths are relative to the file.

    A manifest of this machine is its owner's word: its paths may be absolute and climb up. One
    behind a URL may name only files below its own folder.

    Args:
        storage: the folder that the manifest is in.
        listings: the rows of each split, in the order of the file.
    """

    storage: Storage
    listings: dict[str, Listing]

    remedy: ClassVar[str] = "give at least two different labels in the column of the label"

    @classmethod
    def open(cls, storage: Storage, name: str, *, is_own: bool, columns: Columns) -> Manifest:
        """Read all rows.

        Raises:
            DataError: if there is no such file, or a row cannot be used.
        """
        place = storage.where(name.encode())
        if storage.kind(name.encode()) != "file":
            raise DataError(f"expected a manifest at {place}, found no such file: check the path")
        with storage.open(name.encode()) as opened:
            header, rows = read_table(opened, name, place, guess_header=columns == Columns())
            found = columns.find(header, place)
            _say_unused(found.unused(header), place)
            parts = _read_parts(rows, found, place)
        if not parts:
            raise DataError(f"expected a row for each image in {place}, found none: fill it in")
        if WHOLE in parts and len(parts) > 1:
            raise DataError(
                f"expected a split in every row of {place} or in none, found "
                f"{len(parts[WHOLE].paths)} rows without: fill them in"
            )
        _say_several_labels(parts.values(), place)
        every = [path for part in parts.values() for path in part.paths]
        if is_own:
            located = _locate(storage, every, place)
        else:
            located = {path: check_inside(path, place) for path in every}
        return cls(
            storage, {split: _listing(place, part, located) for split, part in parts.items()}
        )

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have rows."""
        named = tuple(split for split in SPLIT_NAMES if split in self.listings)
        return named or (WHOLE,)

    def list_split(self, split: str) -> Listing:
        """Return a split's rows."""
        return self.listings[split]

    def read(self, name: bytes) -> bytes:
        """Return a file's bytes."""
        return self.storage.read(name)

    def where(self, name: bytes) -> str:
        """Return the file's path or URL."""
        return self.storage.where(name)

    def stamps(self, names: Iterable[bytes]) -> npt.NDArray[np.int64]:
        """Return size and time of change of each file."""
        return self.storage.stamps(names)


def is_manifest(name: str) -> bool:
    """Return whether a name is that of a manifest, not of a picture."""
    return name.lower().endswith(SUFFIXES)


def read_paths(manifest: Path) -> Iterator[str]:
    """Yield the path of each row, joined to the manifest's folder; other columns are not read.

    Raises:
        DataError: if the file cannot be read as a manifest, or a row has no path.
    """
    place, storage = str(manifest), Local(manifest.parent)
    try:
        with manifest.open("rb") as opened:
            header, rows = read_table(opened, manifest.name, place, guess_header=True)
            columns = Columns().find(header, place, needed=("path",))
            assert columns.path is not None  # noqa: S101 - as found
            paths = [os.fsencode(cell(row, columns.path, "path", where)) for where, row in rows]
    except OSError as error:
        raise DataError(
            f"expected a manifest that can be read at {place}, found: {error.strerror or error}"
        ) from error
    located = _locate(storage, paths, place)
    return (str(manifest.parent / os.fsdecode(located.get(path, path))) for path in paths)


def _read_parts(
    rows: Iterable[tuple[str, Mapping[str, Any]]], columns: Columns, place: str
) -> dict[str, _Part]:
    parts: dict[str, _Part] = defaultdict(_Part)
    assert columns.path is not None and columns.label is not None  # noqa: S101, PT018 - as found
    for number, (where, row) in enumerate(rows):
        if number >= MAX_SAMPLES:
            raise DataError(
                f"expected at most {MAX_SAMPLES:,} rows in {place}, found more: split it"
            )
        path = os.fsencode(cell(row, columns.path, "path", where))
        split = WHOLE
        if columns.split is not None:
            split = read_split(row.get(columns.split), columns.split, where)
        part = parts[split]
        part.paths.append(path)
        part.labels.append(cell(row, columns.label, "label", where))
        if columns.group is not None:
            group = row.get(columns.group)
            part.groups.append(f"file {path!r}" if group in (None, "") else f"group {group}")
    return dict(parts)


def _listing(place: str, part: _Part, located: Mapping[bytes, bytes]) -> Listing:
    target, classes = number_labels(part.labels)
    names = Names.pack(located.get(path, path) for path in part.paths)
    return Listing(place, names, target, classes, groups=_hashes(part.groups))


def _hashes(groups: Sequence[str]) -> npt.NDArray[np.uint8] | None:
    if not groups:
        return None
    digest = b"".join(
        hashlib.blake2b(group.encode("utf-8", "surrogateescape"), digest_size=16).digest()
        for group in groups
    )
    return np.frombuffer(digest, np.uint8).reshape(-1, 16)


def _say_unused(unused: list[str], place: str) -> None:
    if unused:
        LOG.info("columns of %s that are not used: %s", place, ", ".join(unused))
    for name in groups_among(unused):
        LOG.warning(
            "column %r of %s may tell which pictures belong together: --group-col %s keeps them "
            "on one side of a split",
            name,
            place,
            name,
        )


def _say_several_labels(parts: Iterable[_Part], place: str) -> None:
    """Warn of labels such as `a|b`, of which a part is in another label, too: they are several."""
    labels = {label for part in parts for label in part.labels}
    for mark in _SEVERAL:
        pieces = {
            label: {p.strip() for p in label.split(mark)} for label in labels if mark in label
        }
        shared = [
            label
            for label, own in pieces.items()
            if all(own)
            and any(own & ({other} | pieces.get(other, set())) for other in labels - {label})
        ]
        if shared:
            LOG.warning(
                "labels of %s look like several in one, such as %r: each is a class of its own "
                "here; softonce gives a picture exactly one class",
                place,
                min(shared),
            )
            return


def _locate(storage: Storage, paths: Sequence[bytes], place: str) -> dict[bytes, bytes]:
    """Return where the files are whose paths are not as they are written; empty if they are."""
    tried = paths[:: max(1, len(paths) // _NUM_TRIED)][:_NUM_TRIED]
    if any(storage.kind(path) == "file" for path in tried):
        return {}
    slashes = {path: path.replace(b"\\", b"/") for path in paths}
    if any(storage.kind(slashes[path]) == "file" for path in tried):
        LOG.info("paths of %s are read with / for \\", place)
        return slashes
    by_name = _files_by_name(storage)
    found = {
        path: by_name[last]
        for path, name in slashes.items()
        if (last := name.rpartition(b"/")[2].lower()) in by_name
    }
    if found:
        LOG.info(
            "no path of %s is a file: %d of %d are taken from below %s by their names",
            place,
            len(found),
            len(slashes),
            storage.where(),
        )
    return found


def _files_by_name(storage: Storage) -> dict[bytes, bytes]:
    """Return the images below by their names, with and without suffix; a name twice is none."""
    found: dict[bytes, bytes] = {}
    twice = set()
    for path in filter(is_image, storage.walk()):
        last = path.rpartition(b"/")[2].lower()
        for name in {last, os.path.splitext(last)[0]}:  # noqa: PTH122 - bytes
            if name in found:
                twice.add(name)
            found[name] = path
    return {name: path for name, path in found.items() if name not in twice}
