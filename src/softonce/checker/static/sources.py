"""Finding and reading source files: whatever is wrong with one is a note, never an exception."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import tokenize
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from softonce.checker.findings import Place
from softonce.checker.static.bodies import parse_heads
from softonce.checker.static.python2 import as_python3

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_BYTES = 4_000_000
"""Larger files are data or generated; Python itself takes seconds to parse one."""
SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages"})
_NOQA = re.compile(r"#\s*noqa(?P<codes>:\s*[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*)?", re.IGNORECASE)
_CODE = re.compile(r"[A-Z]+[0-9]+", re.IGNORECASE)
_MAGIC = re.compile(r"^(\s*)([%!?].*|.*\?\s*)$", re.MULTILINE)
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(slots=True)
class Source:
    """One file: its text, and why it could not be parsed, if so."""

    path: str
    text: str = ""
    problem: str = ""
    encoding: str = "utf-8"
    cells: list[tuple[int, int]] = field(default_factory=list)
    """The first and the last line of each cell of a notebook."""
    is_python2: bool = False
    _lines: list[str] | None = None

    @property
    def raw(self) -> bytes:
        """The bytes of the text, as the file has them."""
        return self.text.encode(self.encoding)

    @property
    def lines(self) -> list[str]:
        """The lines of the text, as Python counts them."""
        if self._lines is None:
            self._lines = _LINE_END.split(self.text)
        return self._lines

    def place(self, line: int, column: int) -> Place:
        """Return where a line of the text stands; in a notebook, in which of its cells."""
        if not self.cells:
            return Place(self.path, line, column)
        cell = next(i for i, (_, last) in enumerate(self.cells) if line <= last)
        return Place(self.path, line - self.cells[cell][0] + 1, column, cell + 1)

    def line(self, place: Place) -> str:
        """Return the text of a line of this file; "" if there is none."""
        number = place.line + (self.cells[place.cell - 1][0] - 1 if place.cell else 0)
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def parse(self) -> ast.Module | None:
        """Return the tree, or None and say why in `problem`."""
        if self.problem:
            return None
        try:
            return parse_heads(self.text, self._parse_body) or _parsed(self.text)
        except SyntaxError as error:
            self.problem = f"no Python 3: {error.msg} (line {error.lineno})"
            return self._parse_python2(self.text)
        except (ValueError, RecursionError, MemoryError) as error:
            self.problem = f"cannot be parsed: {error or type(error).__name__}"
        return None

    def _parse_python2(self, text: str) -> ast.Module | None:
        """Return the tree of what Python 3 makes of it; then it is read, and not repaired."""
        try:
            tree = _parsed(as_python3(text))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
        self.problem += ": read as Python 2"
        self.is_python2 = True
        return tree

    def _parse_body(self, text: str) -> ast.Module:
        """Return the tree of a function's body, an empty one if it cannot be parsed."""
        try:
            return _parsed(text)
        except SyntaxError as error:
            self.problem = f"no Python 3: {error.msg} (line {error.lineno})"
            return self._parse_python2(text) or _parsed("pass")
        except (ValueError, RecursionError, MemoryError) as error:
            self.problem = f"cannot be parsed: {error or type(error).__name__}"
            return _parsed("pass")

    def is_silenced(self, place: Place, code: str) -> bool:
        """Return whether a noqa comment on the line names the code, or no code at all."""
        text = self.line(place)
        found = _NOQA.search(text) if "noqa" in text.lower() else None
        if found is None:
            return False
        codes = found.group("codes")
        return codes is None or code.upper() in map(str.upper, _CODE.findall(codes))


def _parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def walk(paths: Iterable[str], exclude: Iterable[str] = ()) -> Iterator[str]:
    """Yield the .py and .ipynb files of files and folders, each once; links in circles end.

    Args:
        paths: files and folders; a file is taken whatever its name.
        exclude: glob patterns of paths to leave out.
    """
    patterns, seen = list(exclude), set()
    for path in paths:
        found = _below(path) if Path(path).is_dir() else iter([path])
        for name in found:
            real = os.path.realpath(name)
            if real not in seen and not _excluded(name, patterns):
                seen.add(real)
                yield name


def _excluded(path: str, patterns: list[str]) -> bool:
    whole = Path(path)
    return any(whole.match(p) or any(parent.match(p) for parent in whole.parents) for p in patterns)


def _below(root: str) -> Iterator[str]:
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen or "pyvenv.cfg" in files:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if f not in SKIPPED_FOLDERS and f[0] != ".")
        yield from (
            os.path.normpath(os.path.join(folder, name))  # noqa: PTH118 - hot, and os.walk's own
            for name in sorted(files)
            if name.endswith((".py", ".ipynb"))
        )


def read(path: str) -> Source:
    """Read a file; a notebook's code cells come one below the other."""
    try:
        raw = Path(path).read_bytes() if Path(path).is_file() else b""
    except OSError as error:
        return Source(path, problem=f"cannot be read: {error.strerror or error}")
    if not raw:
        reason = "" if Path(path).is_file() else "cannot be read: no such file"
        return Source(path, problem=reason)
    if len(raw) > MAX_BYTES:
        return Source(path, problem=f"larger than {MAX_BYTES:,} bytes")
    if path.endswith(".ipynb"):
        return _read_notebook(path, raw)
    try:
        encoding = tokenize.detect_encoding(io.BytesIO(raw).readline)[0]
        return Source(path, raw.decode(encoding), encoding=encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        return Source(path, problem=f"wrong encoding: {error}")


def _read_notebook(path: str, raw: bytes) -> Source:
    """Join the code cells; lines of magics and shell commands become `pass`."""
    try:
        cells = json.loads(raw)["cells"]
        texts = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return Source(path, problem=f"no notebook: {error or type(error).__name__}")
    kept, ranges, line = [], [], 1
    for text in texts:
        code = "" if text.lstrip().startswith("%%") else _MAGIC.sub(r"\1pass", text)
        if not _is_python(code):
            code = ""
        ranges.append((line, line + code.count("\n")))
        line += code.count("\n") + 1
        kept.append(code)
    return Source(path, "\n".join(kept), cells=ranges)


def _is_python(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, "cell", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
