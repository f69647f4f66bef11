"""The plugin for flake8: the same findings, at the line of the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from softonce import __version__
from softonce.checker.rule import Severity
from softonce.checker.static.check import Settings, check_sources
from softonce.checker.static.sources import read

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator


class Plugin:
    """What flake8 makes of every file, with the file's tree, name and lines."""

    name: ClassVar[str] = "softonce"
    version: ClassVar[str] = __version__

    def __init__(
        self, tree: ast.AST, filename: str = "stdin", lines: list[str] | None = None
    ) -> None:
        del tree  # read again: imports of the file lead to others, which flake8 does not give
        self._filename = filename
        self._lines = lines or []

    def run(self) -> Iterator[tuple[int, int, str, type[Any]]]:
        """Yield line, column, text and this class for every finding of the file."""
        source = read(self._filename)
        if source.problem or not source.text:
            source.problem, source.text = "", "".join(self._lines)
        checked = check_sources([source], Settings(), on_disk=True)
        for finding in checked.findings:
            here = finding.place.path == source.path
            if here and finding.severity is not Severity.NOTE:
                place = finding.place
                yield place.line, place.column - 1, f"{finding.code} {finding.message}", type(self)
