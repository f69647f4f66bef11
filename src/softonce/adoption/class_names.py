"""The names of a foreign classifier's classes: in its metadata, beside it, or in a list."""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from softonce.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_KEYS = ("names", "classes", "class_names", "labels", "id2label", "character")
"""Under which exporters write names: ultralytics, scikit-learn's, others, Hugging Face, Paddle."""

_FILES = ("config.json", "class_indices.json", "labels.txt", "classes.txt")
"""What lies beside a file: of Hugging Face and timm, of Keras' generators, of many samples."""

_MAX_BYTES = 10_000_000
"""ImageNet-21k's names take half a megabyte."""


class ClassNames(NamedTuple):
    """Names and their source.

    Attributes:
        names: in index order.
        place: as a report says it.
    """

    names: tuple[str, ...]
    place: str


def find_names(
    path: Path, about: Mapping[str, str], number: int, listed: Path | None
) -> ClassNames | None:
    """Return the names of `number` classes, or None if nothing says them.

    Args:
        path: the model file.
        about: its metadata.
        number: of the scores.
        listed: the file that the caller names.

    Raises:
        DataError: if the caller's file does not name as many classes.
    """
    if listed is not None:
        names = _parsed(_read(listed))
        if names is None or len(names) != number:
            found = "none that are read" if names is None else str(len(names))
            raise DataError(
                f"expected {number} class names in {listed}, one for each score, found {found}: "
                "one a line, a JSON list, or a JSON object of names and numbers"
            )
        return ClassNames(names, str(listed))
    for names, place in _candidates(path, about):
        if names is not None and len(names) == number:
            return ClassNames(names, place)
    return None


def _candidates(
    path: Path, about: Mapping[str, str]
) -> Iterator[tuple[tuple[str, ...] | None, str]]:
    for key in _KEYS:
        if key in about:
            yield _parsed(about[key]), f"{key!r} in the file"
    for name in _FILES:
        file = path.with_name(name)
        if file.is_file() and file.stat().st_size <= _MAX_BYTES:
            try:
                yield _parsed(_read(file)), str(file)
            except DataError:
                continue  # nobody has named this file


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"expected class names in {file}, found: {error}") from error


def _parsed(text: str) -> tuple[str, ...] | None:
    """Return the names that a text holds: JSON, a Python literal, or one a line."""
    value: Any = None
    if text.lstrip()[:1] in ("{", "["):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            try:
                value = ast.literal_eval(text[:_MAX_BYTES].strip())
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                return None
    else:
        value = [line.strip() for line in text.splitlines() if line.strip()]
    return _ordered(value)


def _ordered(value: Any) -> tuple[str, ...] | None:
    """Return names by their numbers: of a list, or of an object in either direction."""
    if isinstance(value, dict):
        inner = (value.get(key) for key in ("id2label", "label_names", "label2id", "names"))
        nested = next((each for each in inner if isinstance(each, dict | list)), None)
        if nested is not None:
            return _ordered(nested)
        if all(isinstance(number, int) for number in value.values()):
            value = {number: name for name, number in value.items()}
        try:
            by_number = {int(number): str(name) for number, name in value.items()}
        except (TypeError, ValueError):
            return None
        if sorted(by_number) != list(range(len(by_number))):
            return None
        value = [by_number[number] for number in range(len(by_number))]
    if not isinstance(value, list) or not value:
        return None
    names = tuple(str(name) for name in value if isinstance(name, str | int))
    return names if len(names) == len(value) == len(set(names)) else None
