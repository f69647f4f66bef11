"""Python 2 source, read as Python 3: line for line, so that places stay what they are."""

from __future__ import annotations

import re

_PRINT = re.compile(
    r"^(?P<head>[ \t]*(?:[^#'\"\n]*:[ \t]*)?)print\b[ \t]*(?:>>[ \t]*)?(?P<rest>.*)$"
)
_CALLED = re.compile(r"^\(.*\)[ \t]*(#.*)?$|^[=.\[]")
_EXCEPT = re.compile(r"^([ \t]*except[ \t]+[^:#\n]+?),[ \t]*(\w+)[ \t]*:", re.MULTILINE)
_RAISE = re.compile(r"^([ \t]*raise[ \t]+[\w.]+),[ \t]*([^\n#]+)$", re.MULTILINE)
_COMMENT = re.compile(r"[ \t]+#[^'\"]*$")
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
MAX_LINES_OF_A_PRINT = 40
"""Lines that a print statement may go on for; a missing bracket would swallow the file."""


def as_python3(text: str) -> str:
    r"""Return the text with the statements of Python 2 written as Python 3 has them.

    Example:
        >>> print(as_python3("try:\n\tprint 'loss', x\nexcept IOError, e:\n\traise E, 'no'"))
        try:
                print('loss', x)
        except IOError as e:
                raise E('no')
    """
    text = _RAISE.sub(r"\1(\2)", _EXCEPT.sub(r"\1 as \2:", text.expandtabs(8)))
    lines = text.replace("<>", "!=").split("\n")
    number = 0
    while number < len(lines):
        found = _PRINT.match(lines[number])
        last = number
        if found and not _CALLED.match(found["rest"]):
            last = _end_of(lines, number)
            lines[number] = f"{found['head']}print({found['rest']}"
            lines[last] = _COMMENT.sub("", lines[last]).rstrip() + ")"
        number = last + 1
    return "\n".join(lines)


def _end_of(lines: list[str], first: int) -> int:
    """Return the last line of the statement that begins there."""
    depth = 0
    for number in range(first, min(first + MAX_LINES_OF_A_PRINT, len(lines))):
        code = _COMMENT.sub("", _QUOTED.sub("''", lines[number])).rstrip()
        depth += sum(map(code.count, "([{")) - sum(map(code.count, ")]}"))
        if depth <= 0 and not code.endswith("\\"):
            return number
    return first
