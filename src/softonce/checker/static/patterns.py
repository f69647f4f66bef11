"""The patterns of `match`: whether a value fits one, and the names that it binds."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from softonce.checker.static import attributes
from softonce.checker.static.expressions import evaluate
from softonce.checker.static.objects import Class, Instance
from softonce.checker.static.values import UNKNOWN, Const, Mapping, Sequence, Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame


def fits(run: Run, frame: Frame, pattern: ast.pattern, subject: Value) -> bool | None:
    """Return whether the subject fits the pattern, or None if that is unknown."""
    if isinstance(pattern, ast.MatchAs):
        return True if pattern.pattern is None else fits(run, frame, pattern.pattern, subject)
    if isinstance(pattern, ast.MatchOr):
        answers = [fits(run, frame, each, subject) for each in pattern.patterns]
        return True if True in answers else None if None in answers else False
    if isinstance(pattern, ast.MatchValue):
        return _equal(subject, evaluate(run, frame, pattern.value))
    if isinstance(pattern, ast.MatchSingleton):
        return _equal(subject, Const(pattern.value))
    if isinstance(pattern, ast.MatchClass):
        return _is_of(subject, evaluate(run, frame, pattern.cls), bare=not _has_parts(pattern))
    if isinstance(pattern, ast.MatchSequence):
        return _in_turn(run, frame, pattern.patterns, subject)
    if isinstance(pattern, ast.MatchMapping):
        return _by_key(run, frame, pattern, subject)
    return None


def _equal(subject: Value, value: Value) -> bool | None:
    if isinstance(subject, Const) and isinstance(value, Const):
        return bool(subject.value == value.value)
    return None


def _has_parts(pattern: ast.MatchClass) -> bool:
    return bool(pattern.patterns or pattern.kwd_patterns)


def _is_of(subject: Value, cls: Value, *, bare: bool) -> bool | None:
    if isinstance(subject, Instance) and isinstance(cls, Class):
        is_one = cls in subject.cls.order()
        return None if is_one and not bare else is_one
    return None


def _in_turn(run: Run, frame: Frame, parts: list[ast.pattern], subject: Value) -> bool | None:
    known = attributes.entries(run, subject) if isinstance(subject, Sequence) else None
    if known is None or any(isinstance(part, ast.MatchStar) for part in parts):
        return None
    if len(known) != len(parts):
        return False
    return _all(fits(run, frame, part, item) for part, item in zip(parts, known, strict=True))


def _all(answers: Iterable[bool | None]) -> bool | None:
    held = list(answers)
    return False if False in held else None if None in held else True


def _by_key(run: Run, frame: Frame, pattern: ast.MatchMapping, subject: Value) -> bool | None:
    """Return whether a dict has the keys of the pattern, and under each what fits."""
    if not isinstance(subject, Mapping):
        return None
    keys = [_key(run, frame, key) for key in pattern.keys]
    if any(key not in subject.items for key in keys):
        return False if subject.exact else None
    parts = zip(keys, pattern.patterns, strict=True)
    return _all(fits(run, frame, part, subject.items[key]) for key, part in parts)


def _key(run: Run, frame: Frame, key: ast.expr) -> Any:
    value = evaluate(run, frame, key)
    return value.value if isinstance(value, Const) else None


def capture(run: Run, frame: Frame, pattern: ast.pattern, subject: Value) -> None:
    """Bind the names of the pattern."""
    scope = run.heap.write(frame.scope)
    if isinstance(pattern, ast.MatchAs) and pattern.name is not None:
        scope[pattern.name] = subject
    if isinstance(pattern, ast.MatchMapping) and pattern.rest and isinstance(subject, Mapping):
        keys = [_key(run, frame, key) for key in pattern.keys]
        rest = {key: item for key, item in subject.items.items() if key not in keys}
        scope[pattern.rest] = Mapping(rest, subject.exact)
    for part, item in _parts(run, frame, pattern, subject):
        capture(run, frame, part, item)


def _parts(
    run: Run, frame: Frame, pattern: ast.pattern, subject: Value
) -> list[tuple[ast.pattern, Value]]:
    """Return the patterns within a pattern, each with what it is compared with."""
    if isinstance(pattern, ast.MatchAs):
        return [(pattern.pattern, subject)] if pattern.pattern is not None else []
    if isinstance(pattern, ast.MatchSequence):
        starred = any(isinstance(part, ast.MatchStar) for part in pattern.patterns)
        count = len(pattern.patterns)
        items = attributes.parts(run, frame, subject, count, starred=starred)
        return list(zip(pattern.patterns, items, strict=True))
    if isinstance(pattern, ast.MatchMapping) and isinstance(subject, Mapping):
        held = [subject.items.get(_key(run, frame, key), UNKNOWN) for key in pattern.keys]
        return list(zip(pattern.patterns, held, strict=True))
    if isinstance(pattern, ast.MatchClass) and isinstance(subject, Instance):
        by_place = zip(pattern.patterns, subject.cls.fields(), strict=False)
        by_name = zip(pattern.kwd_patterns, pattern.kwd_attrs, strict=True)
        return [
            (part, attributes.attribute(run, frame, subject, name))
            for part, name in (*by_place, *by_name)
        ]
    inner = (each for each in ast.iter_child_nodes(pattern) if isinstance(each, ast.pattern))
    return [(part, UNKNOWN) for part in inner]
