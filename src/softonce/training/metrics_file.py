"""`metrics.jsonl`: one JSON object a line, cut back to the state that a run goes on from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from softonce.errors import StorageError
from softonce.files import write_text

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class MetricsFile:
    """The rows of a run.

    Args:
        path: the file.
    """

    path: Path

    def rows(self) -> list[dict[str, Any]]:
        """Return all rows."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def append(self, row: dict[str, Any]) -> None:
        """Add a row; values that are None are left out."""
        plain = {name: value for name, value in row.items() if value is not None}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(plain) + "\n")
        except OSError as error:
            raise StorageError(
                f"expected to write {self.path}, found: {error.strerror or error}; free some "
                "space, then go on with --resume"
            ) from error

    def cut(self, num_rows: int) -> None:
        """Keep the first rows: a killed run may have written some that its state does not know."""
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        if len(lines) > num_rows:
            write_text(self.path, "".join(lines[:num_rows]))
