"""The parts of a file, by its text: what they define, what they mention, what registers them.

A unit is what stands at the left edge of a file, down to the next such line. Nothing is parsed:
of a large project most files are read no further than this.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import dedent
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Comments and texts of several lines. What else is quoted stays: a loss may be chosen by its name.
_PROSE = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+"""|\'\'\'(?:[^\'\\]|\\.|\'(?!\'\'))*+\'\'\'|#[^\n]*'
    r'|("(?:[^"\\\n]|\\.)*+"|\'(?:[^\'\\\n]|\\.)*+\')',
    re.DOTALL,
)
_EDGE = re.compile(r"^(?=[A-Za-z_@])", re.MULTILINE)
_DEFINITION = re.compile(r"(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)")
_BLOCK = re.compile(r"(?:if|elif|else|try|except|finally|with|for|while|match)\b")
_TARGET = re.compile(r"(\w+)[^\n=(]*=(?!=)")
_CALLED = re.compile(r"(\w+)[\w.]*\(")
# `@register_loss("focal")`, `@LOSSES.register_module()`: others of its kind are no tables.
_DECORATOR = re.compile(
    r"^@(\w*regist\w*|[A-Z]{3}\w*|\w+(?=\.regist))", re.MULTILINE | re.IGNORECASE
)
ANY = "__dict__"
"""Stands for whatever a module has: `getattr(losses, name)`, `losses.__dict__[name]`."""
_DOTTED = re.compile(r"[^\W\d]\w*(?:\.\w+)*")
_BY_TEXT = re.compile(r"\b(?:getattr|vars)\(\s*([\w.]+)")


@dataclass(slots=True)
class Unit:
    """One definition, or one statement, at the left edge of a file.

    Attributes:
        names: what it defines.
        code: its text without comments, docstrings and decorators.
        tables: the names that may keep what it defines, or that it calls, for readers elsewhere.
        is_definition: whether it is a function or a class.
    """

    names: set[str]
    code: str
    tables: set[str]
    is_definition: bool
    _mentioned: frozenset[str] | None = None

    @property
    def mentioned(self) -> frozenset[str]:
        """The names it reads, and what it reads of them: `losses`, `losses.Focal`."""
        if self._mentioned is None:
            found = set(_DOTTED.findall(self.code))
            found |= {f"{holder}.{ANY}" for holder in _BY_TEXT.findall(self.code)}
            for name in [name for name in found if "." in name]:
                while name:
                    found.add(name)
                    name = name.rpartition(".")[0]  # noqa: PLW2901 - the names that lead to it
            self._mentioned = frozenset(found)
        return self._mentioned


def units(text: str) -> Iterator[Unit]:
    r"""Yield the units of a file, but for its imports.

    Example:
        >>> [unit.names for unit in units("import os\nx = f(y)")]
        [{'x'}]
    """
    return _units(_PROSE.sub(lambda found: found.group(1) or "", text))


def _units(code: str) -> Iterator[Unit]:
    decorators = ""
    for part in _EDGE.split(code):
        if part.startswith("@"):
            decorators += part
        elif part.strip() and not part.startswith(("import ", "from ", "__all__")):
            block = _BLOCK.match(part)
            if block is None:
                yield _unit(part, decorators)
            else:
                head, _, body = part.partition("\n")
                yield Unit(set(), head, set(), is_definition=False)
                yield from _units(dedent(body))
            decorators = ""


def _unit(code: str, decorators: str) -> Unit:
    definition = _DEFINITION.match(code)
    if definition is not None:
        return Unit({definition.group(1)}, code, set(_DECORATOR.findall(decorators)), True)
    target, called = _TARGET.match(code), _CALLED.match(code)
    if target is not None:
        return Unit({target.group(1)}, code, {target.group(1)}, False)
    return Unit(set(), code, {called.group(1)} if called else set(), False)
