"""A verb called from Python: with its configuration, or with arguments and options by keyword."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from softonce.config.coercion import takes_many
from softonce.config.other_names import other_name
from softonce.errors import ArgumentError, UnknownNameError

Config = TypeVar("Config")


def config_of(kind: type[Config], *args: Any, **options: Any) -> Config:
    """Return the configuration that the arguments of a call stand for.

    Args:
        kind: the configuration of the verb.
        args: one configuration of that kind, or the values of its positional fields.
        options: further fields by name; beside a configuration, they replace its own.

    Raises:
        ArgumentError: if an option is unknown, an argument is missing, given twice or too many, or
            a configuration belongs to another verb.
        ConfigError: if a value is of the wrong kind or out of its range.

    Example:
        >>> from softonce.config import TrainConfig
        >>> config_of(TrainConfig, "photos", epochs=5).epochs
        5
        >>> config_of(TrainConfig, TrainConfig("photos", epochs=5), epochs=6).epochs
        6
        >>> config_of(TrainConfig, "photos", epoch=5)
        Traceback (most recent call last):
        softonce.errors.UnknownNameError: expected a known option of TrainConfig, found 'epoch'; ...
    """
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type] # a dataclass
    for name in options:
        if name not in names:
            raise _unknown_option(kind, name, names)
    given, *others = args or (None,)
    if isinstance(given, kind):
        if others:
            raise ArgumentError(
                f"expected nothing beside a {kind.__name__} but options by name, found "
                f"{len(others)} more argument(s): put them into the configuration"
            )
        return dataclasses.replace(given, **options)  # type: ignore[type-var] # a dataclass
    if type(given).__name__.endswith("Config") and dataclasses.is_dataclass(given):
        raise ArgumentError(
            f"expected a {kind.__name__}, found a {type(given).__name__}: "
            "each verb has a configuration of its own"
        )
    values = by_position(kind, args)
    twice = sorted(values.keys() & options)
    missing = [name for name in _required_names(kind) if name not in values | options]
    if twice or missing:
        problem = f"{twice[0]} twice" if twice else f"no {missing[0]}"
        raise ArgumentError(f"expected each argument once, found {problem}")
    return kind(**values, **options)


def _required_names(kind: type[Any]) -> list[str]:
    missing = dataclasses.MISSING
    return [f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is missing]


def by_position(kind: type[Any], args: tuple[Any, ...]) -> dict[str, Any]:
    """Return the positional arguments under the names of their fields; the last may take many."""
    positional = [field.name for field in dataclasses.fields(kind) if not field.kw_only]
    extra = len(args) - len(positional)
    if extra > 0 and positional and takes_many(kind, positional[-1]):
        args = (*args[: len(positional) - 1], args[len(positional) - 1 :])
    elif extra > 0:
        shape = ", ".join(positional) or "none"
        raise ArgumentError(
            f"expected at most {len(positional)} argument(s) without a name ({shape}), found "
            f"{len(args)}: give options by name"
        )
    return dict(zip(positional, args, strict=False))


def _unknown_option(kind: type[Any], name: str, names: list[str]) -> ArgumentError:
    hint = other_name(f"--{name}")
    if hint is not None:
        return ArgumentError(
            f"expected an option of {kind.__name__}, found {name}, which is {hint}"
        )
    return UnknownNameError.of(f"option of {kind.__name__}", name, names)
