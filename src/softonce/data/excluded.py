"""Files that the user has looked at, and wants left out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from softonce.console import LOG
from softonce.data.sources.manifest import is_manifest, read_paths
from softonce.data.storage import is_url
from softonce.errors import DataError
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt


class Excluded:
    """Paths of files to leave out, and which of them have been met.

    Args:
        file: the list, for messages.
        paths: the files; a relative one is looked for from the working directory and from the
            list's folder.
    """

    def __init__(self, file: Path, paths: Iterable[str]) -> None:
        self.file = file
        self._asked = {spelled: path for path in paths for spelled in _spellings(path, file.parent)}
        self._met: set[str] = set()
        self._num_left_out = 0

    @classmethod
    def read(cls, file: Path) -> Excluded:
        """Read a text file with a path a line, or a table (CSV, TSV, JSONL, Parquet) with paths.

        Raises:
            DataError: if it cannot be read, or has no path.
        """
        if is_manifest(file.name):
            paths = list(read_paths(file))
        else:
            try:
                lines = file.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
            except OSError as error:
                raise DataError(
                    f"expected a list of files for --exclude at {file}, found: {error.strerror}"
                ) from error
            paths = [line.strip() for line in lines if line.strip()]
        if not paths:
            raise DataError(f"expected a path a line in {file} for --exclude, found none")
        return cls(file, paths)

    def keep(self, places: Iterable[str]) -> npt.NDArray[np.int64]:
        """Return the indices of the files that stay."""
        kept, number = [], -1
        for number, place in enumerate(places):
            found = self._asked.get(place if is_url(place) else os.path.abspath(place))  # noqa: PTH100 - resolves no link
            if found is None:
                kept.append(number)
            else:
                self._met.add(found)
        self._num_left_out += number + 1 - len(kept)
        return np.array(kept, dtype=np.int64)

    def say(self) -> None:
        """Say how many files were left out, and whether some of the list were not met."""
        LOG.info("%s left out, as %s asks", format_count(self._num_left_out, "image"), self.file)
        strange = sorted(set(self._asked.values()) - self._met)
        if strange:
            LOG.warning(
                "%s of %s not found among the images, the first: %s",
                format_count(len(strange), "path"),
                self.file,
                strange[0],
            )


def _spellings(path: str, folder: Path) -> set[str]:
    if is_url(path):
        return {path}
    return {os.path.abspath(path), os.path.abspath(folder / path)}  # noqa: PTH100 - resolves no link
