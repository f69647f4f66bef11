"""The groups of the help text, the kinds of field, and the checks that several verbs share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeAlias,
    get_args,
)

from cyclopts import Group, Parameter

from softonce.errors import ConfigError
from softonce.formats import ENGINES
from softonce.preprocessing import Preprocessing, num_channels

if TYPE_CHECKING:
    from cyclopts import App, ArgumentCollection

DATA = Group("Data", sort_key=1)
MODEL = Group("Model", sort_key=2)
OPTIMISATION = Group("Optimisation", sort_key=3)
RUN = Group("Run", sort_key=4)
OUTPUT = Group("Output", sort_key=5)
AUGMENTATION = Group("Augmentation", sort_key=6)
HARDWARE = Group("Hardware", sort_key=7)

Data: TypeAlias = str | Path
"""A path, a URL that fsspec knows, or idx:DIR; from the command line always text."""

Tta: TypeAlias = Literal["none", "flip"]
AskedPrecision: TypeAlias = Literal["auto", "float32", "bfloat16"]
Device: TypeAlias = Literal["auto", "cpu", "cuda", "mps"]

if TYPE_CHECKING:
    EngineName: TypeAlias = str
else:
    EngineName = Literal[("auto", *ENGINES)]

Numbers: TypeAlias = Annotated[
    tuple[float, ...] | None, Parameter(group=DATA, consume_multiple=True, negative=())
]
Workers: TypeAlias = Annotated[int | None, Parameter(name=("--workers", "-j"), group=HARDWARE)]
BatchSize: TypeAlias = Annotated[int, Parameter(name=("--batch-size", "-b"), group=HARDWARE)]
Size: TypeAlias = Annotated[
    int | None, Parameter(name=("--size", "--val-crop-size"), group=DATA, negative=())
]
Resize: TypeAlias = Annotated[
    int | None, Parameter(name=("--resize", "--val-resize-size"), group=DATA, negative=())
]
MaxPixels: TypeAlias = Annotated[int, Parameter(group=DATA)]
Column: TypeAlias = Annotated[str | None, Parameter(group=DATA, negative=())]
Quiet: TypeAlias = Annotated[bool, Parameter(name=("--quiet", "-q"), group=OUTPUT, negative=())]
Weights: TypeAlias = Annotated[str | None, Parameter(group=MODEL, negative=())]
Engine: TypeAlias = Annotated[EngineName, Parameter(group=HARDWARE)]
PrecisionFlag: TypeAlias = Annotated[AskedPrecision, Parameter(group=HARDWARE)]
Threads: TypeAlias = Annotated[int | None, Parameter(group=HARDWARE, negative=())]
Trust: TypeAlias = Annotated[bool, Parameter(group=MODEL, negative=())]
OwnModel: TypeAlias = Annotated[
    str | None, Parameter(name=("--model", "-m"), group=MODEL, negative=())
]
TtaFlag: TypeAlias = Annotated[Tta, Parameter(group=MODEL)]
OptionalPath: TypeAlias = Annotated[Path | None, Parameter(negative=())]


PREDICTIONS_SUFFIXES = (".csv", ".parquet")
"""What `softonce evaluate --predictions` writes."""


def check_range(config: Any, name: str, low: float, high: float = float("inf")) -> None:
    """Raise a `ConfigError` unless the field is None, or finite and within [low, high].

    Example:
        >>> from types import SimpleNamespace
        >>> check_range(SimpleNamespace(epochs=0), "epochs", 1)
        Traceback (most recent call last):
        softonce.errors.ConfigError: expected --epochs of at least 1, found 0
    """
    value = getattr(config, name)
    if value is None or (low <= value <= high and math.isfinite(value)):
        return
    bound = f"at least {low:g}" if high == float("inf") else f"{low:g} to {high:g}"
    raise ConfigError(f"expected --{name.replace('_', '-')} of {bound}, found {value}")


def _is_whole(hint: Any) -> bool:
    kinds = {hint, *get_args(hint)}
    return int in kinds and float not in kinds


def refuse_fractions(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:  # noqa: ARG001 - the parser's signature
    """Raise a `ConfigError` if a fraction is given for a whole number; the parser would round.

    It is one of the parser's `config` functions, and sees the command line and the TOML file.
    """
    for argument in arguments:
        for token in argument.tokens if _is_whole(argument.hint) else ():
            if _is_fraction(token.value):
                place = "" if token.source == "cli" else f" in {token.source}"
                raise ConfigError(
                    f"expected a whole number for {argument.name}, found {token.value}{place}"
                )


def _is_fraction(text: str) -> bool:
    try:
        return not float(text).is_integer()
    except ValueError:
        return False  # not a number: the parser reports it


def preprocessing_from(config: Any, default: Preprocessing) -> Preprocessing:
    """Return the preprocessing that the flags ask for, over the model's or the weights' own.

    A new size without a new resize keeps the default's proportion between the two; channels of
    another number than the default's have its mean of means.

    Example:
        >>> from types import SimpleNamespace
        >>> asked = SimpleNamespace(size=112, resize=None, mean=None, std=None)
        >>> preprocessing_from(asked, Preprocessing(size=224, resize=256)).resize
        128
    """
    record = default.to_dict()
    for name in ("fit", "interpolation", "mode", "mean", "std", "size", "resize"):
        asked = getattr(config, name, None)
        if asked is not None:
            record[name] = asked
    if config.size is not None and config.resize is None:
        record["resize"] = round(config.size * default.resize / default.size)
    for name in ("mean", "std"):
        count = num_channels(record["mode"])
        if len(record[name]) != count and getattr(config, name) is None:
            record[name] = [sum(record[name]) / len(record[name])] * count
    return Preprocessing.from_dict(record)
