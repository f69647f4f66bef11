"""What a scan has found, kept beside a run, so that a later start reads only what has changed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL
import torch

from softonce.console import LOG, progress
from softonce.data.file_table import KIND, FileTable, concatenate_tables
from softonce.data.names import Names
from softonce.data.sources import absolute
from softonce.errors import ArtefactError
from softonce.tensors import read_tensors, write_tensors

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from softonce.data.samples import Samples
    from softonce.preprocessing import Mode

FORMAT = 3
_AT_A_TIME = 8192  # files whose stamps are taken between two lines of progress

_SECOND = 10**9
_TICK = _SECOND // 50
"""A file's time is that of the kernel's last tick, of which there are 100 a second at the least;
twice that, to be safe."""
_COARSE_TICK = 2 * _SECOND
"""Of file systems that keep whole seconds; FAT keeps every second one."""


@dataclass(frozen=True, eq=False)
class Stamps:
    """Size and time of each file, taken before it is read.

    Args:
        numbers: (N, columns) as the source gives them: size, time, whatever else.
        taken: when, in nanoseconds since 1970.
    """

    numbers: npt.NDArray[np.int64]
    taken: int

    @classmethod
    def of(cls, samples: Samples) -> Stamps:
        """Take the stamps of all samples now."""
        taken, parts = time.time_ns(), []
        with progress("checking sizes and times", len(samples)) as advance:
            names = iter(samples.names)
            while some := list(islice(names, _AT_A_TIME)):
                parts.append(samples.source.stamps(some))
                advance(len(some))
        return cls(np.concatenate(parts) if parts else np.empty((0, 2), np.int64), taken)

    def are_settled(self) -> npt.NDArray[np.bool_]:
        """Return which files will have other stamps if they are changed from now on.

        A file that was changed within the last tick of the clock may be changed once more in the
        same tick, and keep size and time: such a row is not relied on. A file without stamps, as
        one that is missing, is not settled.

        Source:
            Documentation/technical/racy-git.txt of git.
        """
        size, changed = self.numbers[:, 0], self.numbers[:, 1]
        tick = np.where(changed % _SECOND == 0, _COARSE_TICK, _TICK)
        return (size >= 0) & (changed >= 0) & (changed < self.taken - tick)


class ScanFile:
    """The rows of an earlier scan of the same data, and those of this one.

    A file of the same name in the same place, with the size and the time of change that it had, is
    taken to be the same, as git and make do it. What could not be read is always tried again.

    Args:
        path: of the file, which need not be there.
        data: DATA as asked; another place shares no rows.
        mode: of the preprocessing, by which some files can be used and others not.
    """

    def __init__(self, path: Path, data: str | Path, mode: Mode) -> None:
        self.path = path
        self._record = {
            "kind": "scan",
            "format": FORMAT,
            "place": absolute(data),
            "mode": mode,
            "pillow": PIL.__version__,  # another version may read more files, or fewer
        }
        self._new: list[_Rows] = []
        self.num_files, self.num_known = 0, 0

    def find(self, samples: Samples, stamps: Stamps) -> tuple[FileTable, npt.NDArray[np.bool_]]:
        """Return a table of these samples, and which of its rows are known."""
        found, known = FileTable.empty(len(samples)), np.zeros(len(samples), bool)
        before = self._before
        if before is not None and before.numbers.shape[1] == stamps.numbers.shape[1]:
            rows = before.rows_of(samples.names)
            there = np.flatnonzero(rows >= 0)
            same = (before.numbers[rows[there]] == stamps.numbers[there]).all(axis=1)
            known[there[same]] = True
            found.put_rows(np.flatnonzero(known), before.table.take(rows[known]))
        self.num_files += len(samples)
        self.num_known += int(known.sum())
        return found, known

    def say(self) -> None:
        """Say how much of the reading an earlier scan has spared."""
        if self.num_known:
            LOG.info(
                "%d of %d files have the size and the time of change that they had when they were "
                "read before: %d read now",
                self.num_known,
                self.num_files,
                self.num_files - self.num_known,
            )

    def keep(self, samples: Samples, stamps: Stamps, table: FileTable) -> None:
        """Keep what is known of these samples now, if it can be relied on later."""
        rows = np.flatnonzero(stamps.are_settled() & table.were_read())
        self._new.append(_Rows(samples.names.take(rows), stamps.numbers[rows], table.take(rows)))

    def save(self) -> None:
        """Write the file, if anything had to be read.

        Raises:
            StorageError: if it cannot be written.
        """
        if self.num_known == self.num_files:
            return
        rows = _join_rows(self._new)
        columns: dict[str, npt.NDArray[Any]] = {
            "names": rows.names.buffer,
            "ends": rows.names.offsets,
            "stamps": rows.numbers,
            "digests": rows.table.digests,
            "kinds": rows.table.kinds.view(np.uint8).reshape(-1, KIND.itemsize),
            "sides": rows.table.sides,
            "looks": rows.table.looks,
            "bad": np.array(list(rows.table.errors), np.int64),
        }
        record = self._record | {"errors": list(rows.table.errors.values())}
        arrays = {name: torch.from_numpy(array.copy()) for name, array in columns.items()}
        write_tensors(self.path, arrays, record)

    @cached_property
    def _before(self) -> _Rows | None:
        """The rows of the earlier scan; None if there are none to rely on."""
        if not self.path.exists():
            return None
        try:
            tensors, record = read_tensors(self.path)
            if any(record.get(name) != value for name, value in self._record.items()):
                return None
            return _as_rows({name: value.numpy() for name, value in tensors.items()}, record)
        except (ArtefactError, KeyError, TypeError, ValueError, IndexError) as error:
            LOG.warning("%s cannot be used, every file is read again: %s", self.path, error)
            return None


@dataclass(frozen=True, eq=False)
class _Rows:
    """What is known of files by name.

    Args:
        names: (N,) the source's names.
        numbers: (N, columns) the stamps of then.
        table: what was found in them.
    """

    names: Names
    numbers: npt.NDArray[np.int64]
    table: FileTable

    def rows_of(self, names: Names) -> npt.NDArray[np.int64]:
        """Return the row of each name, -1 for one that is not there."""
        place = {name: row for row, name in enumerate(self.names)}
        found = (place.get(name, -1) for name in names)
        return np.fromiter(found, np.int64, count=len(names))


def _join_rows(parts: list[_Rows]) -> _Rows:
    names = Names.pack(chain.from_iterable(part.names for part in parts))
    numbers = np.concatenate([part.numbers for part in parts])
    return _Rows(names, numbers, concatenate_tables(part.table for part in parts))


def _as_rows(columns: dict[str, npt.NDArray[Any]], record: dict[str, Any]) -> _Rows:
    """Return the rows of a file, if its columns fit each other."""
    names = Names(columns["names"], columns["ends"])
    kinds = np.ascontiguousarray(columns["kinds"]).view(KIND).reshape(-1)
    errors = dict(zip(columns["bad"].tolist(), record["errors"], strict=True))
    table = FileTable(columns["digests"], kinds, columns["sides"], columns["looks"], errors)
    num, ends = len(names), names.offsets
    fits = (
        {len(columns[name]) for name in ("stamps", "digests", "kinds", "sides", "looks")} == {num}
        and table.digests.shape[1:] == FileTable.empty(0).digests.shape[1:]
        and table.looks.shape[1:] == FileTable.empty(0).looks.shape[1:]
        and bool((np.diff(ends) >= 0).all())
        and (ends[0], ends[-1]) == (0, len(names.buffer))
        and all(0 <= row < num for row in errors)
    )
    if not fits:
        raise ValueError("its columns do not fit each other")
    return _Rows(names, columns["stamps"], table)
