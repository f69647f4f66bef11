"""Safe repairs as edits of bytes; all else stays as it is."""

from __future__ import annotations

import ast
import difflib
from typing import TYPE_CHECKING

from softonce.checker.findings import Edit
from softonce.checker.names import MODULES
from softonce.checker.static.uses import find_rebinding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from softonce.checker.findings import Finding
    from softonce.checker.static.sources import Source
    from softonce.checker.static.values import Maker

_CLASSES = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}
_BOM = b"\xef\xbb\xbf"


def _offset(source: Source, line: int, column: int) -> int:
    """Return where a position of the tree lies in the file; columns are bytes of UTF-8."""
    start = len(_BOM) if source.raw.startswith(_BOM) else 0
    lines = source.raw[start:].splitlines(keepends=True)
    return start + sum(map(len, lines[: line - 1])) + column


def _is_editable(source: Source) -> bool:
    if source.cells or source.is_python2:
        return False
    return source.encoding in ("utf-8", "utf-8-sig", "ascii")


def _span(source: Source, node: ast.expr) -> tuple[int, int]:
    end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
    return (
        _offset(source, node.lineno, node.col_offset),
        _offset(source, end_line, end_column),
    )


def _text(source: Source, node: ast.expr) -> str:
    start, stop = _span(source, node)
    return source.raw[start:stop].decode()


def unwrap(
    source: Source, call: ast.Call, op: str, function: ast.AST | None = None
) -> Sequence[Edit]:
    """Replace `softmax(x, dim=1)` or `x.softmax(1)` by `x`, and `x = softmax(x)` by nothing."""
    inner = _operand(call, op)
    if inner is None or not _is_editable(source):
        return ()
    rebinding = find_rebinding(function, call, inner)
    if rebinding is not None and (removal := _remove_lines(source, rebinding)):
        return removal
    start, stop = _span(source, call)
    text = _text(source, inner)
    return [Edit(source.path, start, stop, text if _is_simple(inner) else f"({text})")]


def _remove_lines(source: Source, statement: ast.stmt) -> Sequence[Edit]:
    """Remove the lines of a statement if nothing else, such as a comment, stands on them."""
    start = _offset(source, statement.lineno, 0)
    stop = _offset(source, (statement.end_lineno or statement.lineno) + 1, 0)
    left = source.raw[start : _offset(source, statement.lineno, statement.col_offset)]
    end = _offset(source, statement.end_lineno or 0, statement.end_col_offset or 0)
    if left.strip() or source.raw[end:stop].strip():
        return ()
    return [Edit(source.path, start, stop, "")]


def _operand(call: ast.Call, op: str) -> ast.expr | None:
    """Return what a function, a method or a module of this operation is applied to."""
    function = call.func
    if isinstance(function, ast.Call):
        is_module = MODULES.get(_last_name(function)) == op and len(call.args) == 1
        return call.args[0] if is_module and not isinstance(call.args[0], ast.Starred) else None
    if _last_name(call) != op:
        return None
    if call.args and not isinstance(call.args[0], (ast.Constant, ast.Starred)):
        return call.args[0]
    named = [k.value for k in call.keywords if k.arg == "input"]
    return named[0] if named else getattr(function, "value", None)


def _is_simple(node: ast.expr) -> bool:
    return isinstance(node, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))


def rename(source: Source, call: ast.Call, old: str, new: str) -> Sequence[Edit]:
    """Replace the name of the function or method that is called."""
    if not _is_editable(source):
        return ()
    function = call.func
    if isinstance(function, ast.Call):
        old, new = _CLASSES.get(old, old), _CLASSES.get(new, new)
        call, function = function, function.func
    # A bare name may have been imported by itself.
    if not is_named(call, old) or isinstance(function, ast.Name):
        return ()
    _, stop = _span(source, function)
    return [Edit(source.path, stop - len(old), stop, new)]


def is_named(call: ast.expr, name: str) -> bool:
    """Return whether the call's last name is this one."""
    return isinstance(call, ast.Call) and _last_name(call) == name


def _last_name(call: ast.Call) -> str:
    return str(getattr(call.func, "attr", getattr(call.func, "id", "")))


def add_argument(source: Source, call: ast.expr, argument: str) -> Sequence[Edit]:
    """Add an argument at the end of a call."""
    if not isinstance(call, ast.Call) or not _is_editable(source):
        return ()
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    _, stop = _span(source, call)
    if not given:
        return [Edit(source.path, stop - 1, stop - 1, argument)]
    _, last = max(_span(source, node) for node in given)
    if source.raw[last : stop - 1].strip() not in (b"", b","):
        return ()
    return [Edit(source.path, last, last, f", {argument}")]


def log_of_softmax(source: Source, node: ast.expr, maker: Maker) -> Sequence[Edit]:
    """Replace `torch.log(F.softmax(x, dim=1))` or `x.softmax(1).log()` by log_softmax."""
    inner = maker.node
    if not isinstance(node, ast.Call) or not isinstance(inner, ast.Call):
        return ()
    is_method = isinstance(node.func, ast.Attribute) and node.func.value is inner
    if not (is_method and not node.args) and not (node.args and node.args[0] is inner):
        return ()
    if not rename(source, inner, "softmax", "log_softmax"):
        return ()
    start, stop = _span(source, inner)
    _, name_stop = _span(source, inner.func)
    cut = name_stop - len("softmax")
    text = source.raw[start:cut] + b"log_softmax" + source.raw[name_stop:stop]
    outer = _span(source, node)
    return [Edit(source.path, *outer, text.decode())]


def apply_edits(raw: bytes, edits: Iterable[Edit]) -> bytes:
    """Return the file's bytes after the edits; of two that overlap the first is made.

    Example:
        >>> apply_edits(b"ce(softmax(x))", [Edit("a.py", 3, 13, "x")])
        b'ce(x)'
    """
    parts, position = [], 0
    for edit in sorted(set(edits), key=lambda e: (e.start, e.stop)):
        if edit.start >= position:
            parts += [raw[position : edit.start], edit.text.encode()]
            position = edit.stop
    return b"".join([*parts, raw[position:]])


def unified_diff(path: str, before: bytes, after: bytes) -> str:
    r"""Return the change as a patch.

    Example:
        >>> print(unified_diff("a.py", b"x = 1\n", b"x = 2\n").splitlines()[-1])
        +x = 2
    """
    old, new = (
        text.decode("utf-8", "replace").splitlines(keepends=True) for text in (before, after)
    )
    return "".join(difflib.unified_diff(old, new, f"a/{path}", f"b/{path}"))


def repaired(
    findings: Iterable[Finding], sources: dict[str, Source]
) -> tuple[set[Finding], dict[str, bytes]]:
    """Return the findings that can be repaired, and path -> the file's bytes after that.

    A file that would not parse any more is left as it is.
    """
    by_path: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.edits:
            by_path.setdefault(finding.edits[0].path, []).append(finding)
    done: set[Finding] = set()
    changed: dict[str, bytes] = {}
    for path, found in by_path.items():
        after = apply_edits(sources[path].raw, [edit for f in found for edit in f.edits])
        try:
            ast.parse(after)
        except (SyntaxError, ValueError):
            continue
        changed[path] = after
        done.update(found)
    return done, changed
