"""Bodies of functions: parsed when they are first run, and dropped when their file has been read.

Of a large library most functions are never run, and a tree takes thirty times the memory of its
text. So a file is parsed with `...` in place of long bodies, each on the line where its body
begins. Which text is a body is guessed by its indentation. A wrong guess leaves a file that cannot
be parsed, or a body that is not the whole of its function's: then all is parsed at once.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Parse = Callable[[str], ast.Module]

# Parsing a body separately costs time, too: shorter ones are parsed with their file.
MIN_LINES = 4
# Anything but the beginning of a text of several lines.
_PLAIN = re.compile(
    r"(?:[^\"'#\\]++|\\.|#[^\n]*+"
    r"|\"(?!\"\")(?:[^\"\\\n]|\\.)*+\"|'(?!'')(?:[^'\\\n]|\\.)*+')*+",
    re.DOTALL,
)
_TEXT = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+"""|\'\'\'(?:[^\'\\]|\\.|\'(?!\'\'))*+\'\'\'', re.DOTALL
)
_INNER = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
_EMPTY = r"[ \t]*(?:#[^\n]*)?\n"
_FUNCTION = re.compile(
    rf"^(?P<indent>[ \t]*)(?:async[ \t]+)?def[ \t]+\w+[ \t]*{_INNER}[ \t]*(?:->[^:#\n]+)?:{_EMPTY}"
    rf"(?:{_EMPTY})*"
    # What is deeper; and what cannot begin a statement, such as a bracket that closes.
    r"(?P<body>(?P=indent)[ \t]+[^\s#][^\n]*\n"
    r"(?:(?P=indent)[ \t]+[^\n]*\n|[ \t]*(?:[#)\]}][^\n]*)?\n)*+)",
    re.MULTILINE,
)
_TAIL = re.compile(r"\n[ \t]*#[^\n]*$")


class _Body(NamedTuple):
    """Where the body of a function stands: in which text, from where to where, on which lines."""

    file: str
    start: int
    stop: int
    line: int
    end_line: int
    parse: Parse

    @property
    def text(self) -> str:
        """The text of the body alone."""
        return self.file[self.start : self.stop]


class DeferredFunction(ast.FunctionDef):
    """A function whose body has not been parsed, or was dropped; whoever reads it gets it."""

    def __getattr__(self, name: str) -> list[ast.stmt]:
        """Parse the body when it is asked for."""
        return _load(self, ast.FunctionDef, name)


class DeferredAsyncFunction(ast.AsyncFunctionDef):
    """The same of an `async def`."""

    def __getattr__(self, name: str) -> list[ast.stmt]:
        """Parse the body when it is asked for."""
        return _load(self, ast.AsyncFunctionDef, name)


_DEFERRED: dict[type, type] = {
    ast.FunctionDef: DeferredFunction,
    ast.AsyncFunctionDef: DeferredAsyncFunction,
}


def parse_heads(text: str, parse: Parse) -> ast.Module | None:
    """Parse a file, but for the bodies of its functions; None if they are not found for sure.

    Args:
        text: the file.
        parse: parses what it is given, for the file and for each body.
    """
    text = text if text.endswith("\n") else text + "\n"
    parts: list[str] = []
    bodies: dict[int, _Body] = {}
    position, line = 0, 1
    for start, stop, end in _bodies(text):
        line += text.count("\n", position, start)
        count = text.count("\n", start, stop)
        lines = text.count("\n", start, end)
        bodies[line] = _Body(text, start, stop, line, line + lines, parse)
        indent = text[start : stop - len(text[start:stop].lstrip(" \t"))]
        parts += [text[position:start], indent, "...", "\n" * count]
        position, line = stop, line + count
    if not bodies:
        return None
    try:
        tree = ast.parse("".join([*parts, text[position:]]))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    _put(tree, bodies)
    return None if bodies else tree


def deferred_text(node: ast.AST) -> str | None:
    """Return the text of a body that has not been parsed, else None."""
    return node.deferred.text if type(node) in _DEFERRED.values() else None  # type: ignore[attr-defined]


def _bodies(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield where bodies begin and end, and where their last statement does."""
    masked = _masked(text)
    for found in _FUNCTION.finditer(masked):
        start, stop = found.span("body")
        code = masked[start:stop].rstrip()
        while tail := _TAIL.search(code):
            code = code[: tail.start()].rstrip()
        is_continued = code.endswith("\\")
        if text.count("\n", start, stop) >= MIN_LINES and not is_continued:
            yield start, stop, start + len(code)


def _masked(text: str) -> str:
    """Return as long a text, of which texts of several lines are one line."""
    parts: list[str] = []
    position = 0
    while True:
        plain = _PLAIN.match(text, position)
        start = plain.end() if plain else position
        quoted = _TEXT.match(text, start)
        if quoted is None:
            return "".join([*parts, text[position:]])
        parts += [text[position:start], '"' * (quoted.end() - start)]
        position = quoted.end()


def can_be_dropped(node: ast.AST) -> bool:
    """Return whether a function's body is there, and can be parsed again."""
    return type(node) in _DEFERRED and hasattr(node, "deferred")


def drop_body(node: ast.AST) -> None:
    """Forget the body of a function until it is read again."""
    del node.body  # type: ignore[attr-defined] # it is a function
    node.end_lineno = node.deferred.end_line  # type: ignore[attr-defined]
    node.__class__ = _DEFERRED[type(node)]


def statements_below(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements below a node; expressions are not looked into."""
    for block in ("body", "orelse", "handlers", "finalbody", "cases"):
        for child in getattr(node, block, ()):
            yield child
            yield from statements_below(child)


def _put(node: ast.AST, bodies: dict[int, _Body]) -> None:
    """Give each function its body, which is all of it, and all that is around it its last line."""
    for block in ("body", "orelse", "handlers", "finalbody"):
        for child in getattr(node, block, ()):
            body = child.body if type(child) in _DEFERRED else []
            if len(body) == 1 and body[0].lineno in bodies:
                child.deferred = bodies.pop(body[0].lineno)
                drop_body(child)
            else:
                _put(child, bodies)
            if isinstance(node, (ast.stmt, ast.excepthandler)):
                node.end_lineno = max(node.end_lineno or 0, child.end_lineno)


def _load(node: ast.AST, plain: type[ast.AST], name: str) -> list[ast.stmt]:
    if name != "body":
        raise AttributeError(name)
    node.__class__ = plain
    found: _Body = node.deferred  # type: ignore[attr-defined]
    block = found.parse("\n" * (found.line - 2) + "if 1:\n" + found.text).body[0]
    body = block.body if isinstance(block, ast.If) else [block]
    node.body = body  # type: ignore[attr-defined]
    return body
