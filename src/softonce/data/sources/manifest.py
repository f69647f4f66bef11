"""A CSV or JSONL file with a path and a label a row, and optionally a split."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from softonce.data.names import Names
from softonce.data.sources.source import SPLIT_NAMES, WHOLE, Listing, as_split, number_labels
from softonce.data.storage import MAX_SAMPLES, check_inside
from softonce.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from softonce.data.storage import Storage

SUFFIXES = (".csv", ".jsonl")
MAX_LINE = 1 << 20
"""Longer lines of a manifest, in characters, are refused."""


@dataclass(frozen=True)
class Manifest:
    """Rows `path,label` or `path,label,split`; paths are relative to the manifest.

    A manifest of this machine is its owner's word: its paths may be absolute and climb up. One
    behind a URL may name only files below its own folder.

    Args:
        storage: the folder that the manifest is in.
        listings: the rows of each split, in the order of the file.
    """

    storage: Storage
    listings: dict[str, Listing]

    remedy: ClassVar[str] = "give at least two different labels in the column label"

    @classmethod
    def open(cls, storage: Storage, name: str, *, is_own: bool) -> Manifest:
        """Read all rows.

        Raises:
            DataError: if there is no such file, or a row cannot be used.
        """
        place = storage.where(name.encode())
        if storage.kind(name.encode()) != "file":
            raise DataError(f"expected a manifest at {place}, found no such file: check the path")
        paths: dict[str, list[bytes]] = {}
        labels: dict[str, list[str]] = {}
        with storage.open(name.encode()) as opened:
            text = io.TextIOWrapper(opened, encoding="utf-8-sig", errors="surrogateescape")
            rows = _csv_rows if name.lower().endswith(".csv") else _json_rows
            for number, (path, label, split) in enumerate(rows(_lines(text, place), place)):
                inside = os.fsencode(path)
                paths.setdefault(split, []).append(
                    inside if is_own else check_inside(inside, place)
                )
                labels.setdefault(split, []).append(label)
                _check_number(number, place)
        if not paths:
            raise DataError(f"expected a row for each image in {place}, found none: fill it in")
        if WHOLE in paths and len(paths) > 1:
            raise DataError(
                f"expected a split in every row of {place} or in none, found {len(paths[WHOLE])} "
                "rows without: fill them in"
            )
        return cls(
            storage, {split: _listing(place, paths[split], labels[split]) for split in paths}
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


def _listing(place: str, paths: list[bytes], labels: list[str]) -> Listing:
    target, classes = number_labels(labels)
    return Listing(place, Names.pack(paths), target, classes)


def _check_number(number: int, place: str) -> None:
    if number >= MAX_SAMPLES:
        raise DataError(f"expected at most {MAX_SAMPLES:,} rows in {place}, found more: split it")


def _lines(text: io.TextIOWrapper, place: str) -> Iterator[str]:
    """Yield the lines, none of which fills the memory."""
    while line := text.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise DataError(
                f"expected lines of at most {MAX_LINE:,} characters in {place}, found longer"
            )
        yield line


def _csv_rows(lines: Iterator[str], place: str) -> Iterator[tuple[str, str, str]]:
    columns = "path,label and optionally split"
    for row, where in _csv_objects(lines, place, needed=("path", "label"), columns=columns):
        yield _row(row, where)


def _csv_objects(
    lines: Iterator[str],
    place: str,
    *,
    needed: tuple[str, ...] = ("path",),
    columns: str = "path",
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each row by column, and where it is."""
    reader = csv.DictReader(lines, strict=True)
    try:
        header = reader.fieldnames or []
        if not set(needed) <= set(header):
            raise DataError(
                f"expected the {'column' if columns == 'path' else 'columns'} {columns} in line 1 "
                f"of {place}, found {', '.join(map(repr, header[:8])) or 'nothing'}: name "
                f"{'it' if columns == 'path' else 'them'} so"
            )
        for row in reader:
            yield row, f"line {reader.line_num} of {place}"
    except csv.Error as error:
        raise DataError(f"expected CSV in {place}, found: {error}") from error


def _json_rows(lines: Iterator[str], place: str) -> Iterator[tuple[str, str, str]]:
    for row, where in _json_objects(lines, place):
        yield _row(row, where)


def _json_objects(lines: Iterator[str], place: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each object, and where it is."""
    for number, line in enumerate(lines, 1):
        where = f"line {number} of {place}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"expected a JSON object in {where}, found: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"expected a JSON object in {where}, found {line.strip()[:40]}")
        yield row, where


def _row(row: dict[str, Any], where: str) -> tuple[str, str, str]:
    path, label, split = row.get("path"), row.get("label"), row.get("split")
    if isinstance(label, int) and not isinstance(label, bool):
        label = str(label)
    label = label.strip() if isinstance(label, str) else label
    for name, value in (("path", path), ("label", label)):
        if not isinstance(value, str) or not value:
            raise DataError(f"expected a {name} in {where}, found {value!r}: fill it in")
    if not split:
        return str(path), str(label), WHOLE
    known = as_split(split) if isinstance(split, str) else None
    if known is None:
        raise DataError(f"expected train, val or test as the split in {where}, found {split!r}")
    return str(path), str(label), known


def is_manifest(name: str) -> bool:
    """Return whether a name is that of a manifest, not of a picture."""
    return name.lower().endswith(SUFFIXES)


def read_paths(manifest: Path) -> Iterator[str]:
    """Yield the path of each row, joined to the manifest's folder; other columns are not read.

    Raises:
        DataError: if the file cannot be read as a manifest, or a row has no path.
    """
    place = str(manifest)
    try:
        with manifest.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            read = _csv_objects if place.lower().endswith(".csv") else _json_objects
            for row, where in read(_lines(text, place), place):
                path = row.get("path")
                if not isinstance(path, str) or not path:
                    raise DataError(f"expected a path in {where}, found {path!r}: fill it in")
                yield str(manifest.parent / path)
    except OSError as error:
        raise DataError(
            f"expected a manifest that can be read at {place}, found: {error.strerror or error}"
        ) from error
