"""The patterns of `match`: whether a value fits one, and the names that it binds."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from softonce.checker.static import attributes
from softonce.checker.static.expressions import evaluate
from softonce.checker.static.objects import Class, Instance
from softonce.checker.static.values import UNKNOWN, Const, Sequence, Value

if TYPE_CHECKING:
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
    answers = [fits(run, frame, part, item) for part, item in zip(parts, known, strict=True)]
    return False if False in answers else None if None in answers else True


def capture(run: Run, frame: Frame, pattern: ast.pattern, subject: Value) -> None:
    """Bind the names of the pattern."""
    scope = run.heap.write(frame.scope)
    if isinstance(pattern, ast.MatchAs) and pattern.name is not None:
        scope[pattern.name] = subject
    if isinstance(pattern, ast.MatchAs) and pattern.pattern is not None:
        capture(run, frame, pattern.pattern, subject)
        return
    if isinstance(pattern, ast.MatchSequence):
        starred = any(isinstance(part, ast.MatchStar) for part in pattern.patterns)
        count = len(pattern.patterns)
        items = attributes.parts(run, frame, subject, count, starred=starred)
        for part, item in zip(pattern.patterns, items, strict=True):
            capture(run, frame, part, item)
        return
    for inner in ast.iter_child_nodes(pattern):
        if isinstance(inner, ast.pattern):
            capture(run, frame, inner, UNKNOWN)
