"""Values from Python become what the annotation of their option says, or one clear error.

The command line and TOML files are converted by the parser; a Python caller may give text for a
path, a NumPy number, or one path for many, and no type checker stops a notebook from giving more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from softonce.errors import ConfigError, describe_value

_NAMES = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}


class _MismatchError(Exception):
    """A value does not fit its annotation."""


def coerce_fields_(config: Any) -> None:
    """Convert every field of a frozen configuration to its annotation, in place.

    A path may be text or anything with `__fspath__`; one value may stand for a tuple of them, so
    that a text is never taken apart into letters; a path that may be a URL becomes text, as it is
    on the command line. NumPy's numbers become Python's.

    Raises:
        ConfigError: if a value is of another kind; the message names the option.

    Example:
        >>> from softonce.config import EvaluateConfig, PredictConfig
        >>> PredictConfig("model.onnx", Path("a.jpg")).images
        ('a.jpg',)
        >>> PredictConfig("model.onnx", "a.jpg", top_k="5")
        Traceback (most recent call last):
        softonce.errors.ConfigError: expected a whole number for --top-k, found '5' (str)
    """
    hints = _hints_of(config.__class__)
    for field in fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        try:
            converted = _convert(value, hint)
        except _MismatchError as error:
            place = option_name(config.__class__, field.name)
            raise ConfigError(
                f"expected {_describe(hint)} for {place}, found {describe_value(value)}{error}"
            ) from None
        object.__setattr__(config, field.name, converted)


def option_name(kind: type[Any], name: str) -> str:
    """Return how the help spells a field: NAME if it has a position, else --name.

    Example:
        >>> from softonce.config import PredictConfig
        >>> option_name(PredictConfig, "images"), option_name(PredictConfig, "top_k")
        ('IMAGES', '--top-k')
    """
    positional = {field.name for field in fields(kind) if not field.kw_only}
    return name.upper() if name in positional else f"--{name.replace('_', '-')}"


def takes_many(kind: Any, name: str) -> bool:
    """Return whether a field holds any number of values."""
    hint = _hints_of(kind)[name]
    return get_origin(hint) is tuple and get_args(hint)[-1] is Ellipsis


@cache
def _hints_of(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)  # takes 4 ms for the options of train


def _members(hint: Any) -> tuple[Any, ...]:
    """Return the alternatives of a union, or the hint by itself."""
    is_union = get_origin(hint) not in (None, Literal, tuple)
    return get_args(hint) if is_union else (hint,)


def _convert(value: Any, hint: Any) -> Any:
    """Return the value as the first alternative that it fits."""
    members = _members(hint)
    if Path in members and isinstance(value, str) and not value:  # the working directory
        raise _MismatchError
    if Path in members and isinstance(value, os.PathLike):
        # DATA may be a URL, so that it is text everywhere.
        members = (str,) if str in members else (Path,)
        value = os.fspath(value)
    for member in members:
        try:
            return _convert_one(value, member)
        except _MismatchError as error:
            if str(error):
                raise
    raise _MismatchError


def _convert_one(value: Any, hint: Any) -> Any:
    if get_origin(hint) is Literal:
        if not isinstance(value, str) or value not in get_args(hint):
            raise _MismatchError
        return value
    if get_origin(hint) is tuple:
        return _convert_many(value, get_args(hint))
    if hint in (int, float):
        return _convert_number(value, hint)
    if hint is bool and type(value).__name__ in ("bool", "bool_"):  # numpy.bool is bool_, too
        return bool(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint in (str, NoneType) and isinstance(value, hint):
        return value
    raise _MismatchError


def _convert_many(value: Any, items: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a tuple; one value by itself is a tuple of one if any number is allowed."""
    any_number = items[-1] is Ellipsis
    is_one = isinstance(value, str | bytes | os.PathLike | Real)
    is_many = isinstance(value, Iterable) and not isinstance(value, Mapping)
    if not (any_number if is_one else is_many):
        raise _MismatchError
    values = [value] if is_one else list(value)
    if not any_number and len(values) != len(items):
        raise _MismatchError
    hints = [items[0]] * len(values) if any_number else items
    converted = []
    for position, (item, hint) in enumerate(zip(values, hints, strict=True)):
        try:
            converted.append(_convert(item, hint))
        except _MismatchError:
            where = "" if is_one else f" with {describe_value(item)} at position {position}"
            raise _MismatchError(where) from None
    return tuple(converted)


def _convert_number(value: Any, hint: type[int | float]) -> int | float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise _MismatchError
    number = int(value) if isinstance(value, Integral) else float(value)
    if hint is float or isinstance(number, int):
        return number
    if not number.is_integer():
        raise _MismatchError
    return int(number)


def _describe(hint: Any) -> str:
    """Say in words what an annotation allows."""
    members = [member for member in _members(hint) if member is not NoneType]
    if Path in members:
        return "a path or URL" if str in members else "a path"
    words: list[str] = []
    for member in members:
        words += get_args(member) if get_origin(member) is Literal else [_describe_one(member)]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _describe_one(hint: Any) -> str:
    if get_origin(hint) is not tuple:
        return _NAMES[hint]
    items = get_args(hint)
    kind = _describe(items[0]).removeprefix("a ").removeprefix("whole ")
    plural = {"text": "texts", "path or URL": "paths or URLs"}.get(kind, f"{kind}s")
    return plural if items[-1] is Ellipsis else f"{len(items)} {plural}"
