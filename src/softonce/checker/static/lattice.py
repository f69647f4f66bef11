"""What holds of a value that may be one of several: joins, choices, and what is read from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from softonce.checker.kinds import NOTHING, Kind
from softonce.checker.static.objects import Function, Instance
from softonce.checker.static.values import (
    ANYTHING,
    UNKNOWN,
    Backbone,
    Cell,
    Chain,
    Choice,
    Const,
    External,
    Layer,
    Mapping,
    Scores,
    Sequence,
    Value,
)

MAX_CHOICES = 8
"""A value of more possibilities is unknown: each doubles the work of what uses it."""
_TRUE = (Instance, Layer, Chain, Backbone, Function)


def join(left: Value, right: Value) -> Value:
    """Return what holds where either may be."""
    if left is right or left is ANYTHING:
        return left
    if right is ANYTHING:
        return right
    if isinstance(left, Scores) and isinstance(right, Scores):
        return _join_scores(left, right)
    if isinstance(left, Const) and isinstance(right, Const):
        return left if left == right and type(left.value) is type(right.value) else UNKNOWN
    if isinstance(left, Sequence) and isinstance(right, Sequence):
        return _join_sequences(left, right)
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        keys = [*left.items, *(key for key in right.items if key not in left.items)]
        items = {k: join_present(left.items.get(k), right.items.get(k)) for k in keys}
        return Mapping(items, left.exact and right.exact)
    if isinstance(left, Choice) and _holds(left, right):
        return left
    if isinstance(right, Choice) and _holds(right, left):
        return right
    return choice([left, right])


def _holds(chosen: Choice, value: Value) -> bool:
    """Return whether a choice has the value, or all of its options, already.

    Often it has: where one of two ways did not change a name, the very same objects are joined.
    """
    known = set(map(id, chosen.options))
    if isinstance(value, Choice):
        return known.issuperset(map(id, value.options))
    return id(value) in known


def join_present(left: Value | None, right: Value | None) -> Value:
    """Join two values of which one may be absent."""
    if left is None:
        return UNKNOWN if right is None else right
    return left if right is None else join(left, right)


def mark_optional(value: Value) -> Value:
    """Return the value with its undecided kinds marked as a matter of options."""
    if isinstance(value, Scores) and value.kind.bit_count() > 1:
        return replace(value, optional=True)
    if isinstance(value, Sequence):
        return Sequence([mark_optional(item) for item in value.items], value.exact)
    return value


def join_all(values: list[Value]) -> Value:
    """Join any number of values."""
    if not values:
        return UNKNOWN
    result = values[0]
    for value in values[1:]:
        result = join(result, value)
    return result


def choice(values: list[Value]) -> Value:
    """Return one of the values, unknown which, flat and without repetition."""
    options: list[Value] = []
    known: set[int] = set()
    for value in values:
        for option in value.options if isinstance(value, Choice) else [value]:
            if id(option) in known:
                continue
            known.add(id(option))
            if not any(_same(option, seen) for seen in options):
                options.append(option)
            if len(options) > MAX_CHOICES or option is ANYTHING:
                return ANYTHING
    return options[0] if len(options) == 1 else Choice(options)


def _same(left: Value, right: Value) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, Scores) and isinstance(right, Scores):
        return left.kind == right.kind and left == right
    if isinstance(left, Const):
        return bool(left == right)
    return isinstance(left, External) and isinstance(right, External) and left.name == right.name


def options_of(value: Value) -> list[Value]:
    """Return the values that a value may be, without None.

    Beside a module or a loss of known class, an unknown one (`torch.load`) is left out as well:
    what is wrong with the known one is wrong wherever it is used.
    """
    if not isinstance(value, Choice):
        return [value]
    options = [v for v in value.options if not (isinstance(v, Const) and v.value is None)]
    if any(isinstance(v, (Instance, Layer, Chain, Backbone)) for v in options):
        options = [v for v in options if not isinstance(v, Scores)]
    return options or [UNKNOWN]


def _join_scores(left: Scores, right: Scores) -> Scores:
    if left == right or right.kind == NOTHING:
        return left
    if left.kind == NOTHING:
        return right
    if left.blank and right.blank and Kind.OTHER in (left.kind, right.kind):
        return right if left.kind == Kind.OTHER else left
    makers = dict(right.makers) | dict(left.makers)
    return Scores(
        left.kind | right.kind,
        tuple(makers.items()),
        left.dim if left.dim == right.dim else None,
        left.num_classes if left.num_classes == right.num_classes else None,
        left.rank if left.rank == right.rank else None,
        left.before if left.before == right.before else None,
        left.direct and right.direct,
        left.tempered if left.tempered == right.tempered else None,
        left.optional or right.optional,
        blank=left.blank and right.blank,
    )


def _join_sequences(left: Sequence, right: Sequence) -> Sequence:
    if left.exact and right.exact and len(left.items) == len(right.items):
        return Sequence([join(a, b) for a, b in zip(left.items, right.items, strict=True)])
    return Sequence([join_all([*left.items, *right.items])], exact=False)


def as_scores(value: Value | None) -> Scores:
    """Return the value as a tensor: the join of its options, unknown if it is none."""
    if isinstance(value, Scores):
        return value
    if isinstance(value, Choice):
        joined = Scores(NOTHING)
        for option in options_of(value):
            joined = _join_scores(as_scores(option), joined) if joined.kind else as_scores(option)
        return joined
    return UNKNOWN


def number_of(value: Value | None) -> float | None:
    """Return the number that a value is, if it is one."""
    if isinstance(value, Const) and isinstance(value.value, (int, float)):
        return None if isinstance(value.value, bool) else value.value
    return None


def int_of(value: Value | None) -> int | None:
    """Return the integer that a value is, if it is one."""
    number = number_of(value)
    return number if isinstance(number, int) else None


def signature(value: Value, depth: int = 3) -> Any:
    """Return something hashable that is equal for values that behave alike."""
    if isinstance(value, Scores):
        return value
    if isinstance(value, Const):
        return (type(value.value), value.value)
    if depth and isinstance(value, Sequence):
        return ("seq", value.exact, *(signature(item, depth - 1) for item in value.items))
    if depth and isinstance(value, Mapping):
        pairs = ((key, signature(item, depth - 1)) for key, item in value.items.items())
        return ("map", value.exact, *pairs)
    if isinstance(value, Function):
        return (id(value.node), id(value.bound), *map(id, value.scopes))
    if isinstance(value, Cell):
        return (id(value), value.version)
    return id(value)


def truth(value: Value) -> bool | None:
    """Return whether the value is true, or None if that is unknown."""
    if isinstance(value, Const):
        return bool(value.value)
    if isinstance(value, _TRUE):
        return True
    if isinstance(value, (Sequence, Mapping)) and value.exact:
        return bool(value.items)
    return None
