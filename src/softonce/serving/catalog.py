"""Which files are served under which names: NAME=FILE, a file by itself, or a folder of them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from softonce.errors import ConfigError
from softonce.formats import format_of
from softonce.run_folder import RunFolder, model_file

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_OTHER = re.compile(r"[^A-Za-z0-9._-]+")


def catalog_of(words: Iterable[str]) -> dict[str, Path]:
    """Return the model file of each name, in order.

    Args:
        words: `NAME=FILE`, or a file or the folder of a run, whose name is taken from its own, or a
            folder that holds such files and folders.

    Raises:
        ConfigError: if there is none, two have the same name, or one has none that can be part of
            an address.

    Example:
        >>> found = catalog_of(["cats=run/model.onnx", "runs/photos-1/model.safetensors"])
        >>> {name: str(path) for name, path in found.items()}
        {'cats': 'run/model.onnx', 'photos-1': 'runs/photos-1/model.safetensors'}
    """
    found: dict[str, Path] = {}
    for word in words:
        for name, path in _named(word):
            if _NAME.fullmatch(name) is None:
                raise ConfigError(
                    f"expected a model's name of letters, digits, and . _ -, found {name!r}: give "
                    "it one with NAME=FILE"
                )
            if name in found and found[name] != path:
                raise ConfigError(
                    f"expected models of different names, found {name} twice ({found[name]} and "
                    f"{path}): give them names with NAME=FILE"
                )
            found[name] = path
    if not found:
        raise ConfigError("expected a classifier, or --watch FOLDER, found neither")
    return found


def models_in(folder: Path) -> dict[str, Path]:
    """Return the model files in a folder by name: those of a run, or all that it holds.

    Raises:
        ConfigError: as `catalog_of`.
    """
    return catalog_of([str(folder)])


def _named(word: str) -> list[tuple[str, Path]]:
    path = Path(word)
    name, equals, rest = word.partition("=")
    if equals and not os.path.lexists(word):
        return [(name, model_file(rest))]
    if path.is_dir() and not RunFolder(path).artefact.exists():
        inside = [child for child in sorted(path.iterdir()) if _is_model(child)]
        if inside:
            return [(_name_of(child), model_file(child)) for child in inside]
    return [(_name_of(path), model_file(path))]


def _is_model(path: Path) -> bool:
    if path.name.startswith("."):  # what is being written, and links of Kubernetes
        return False
    if path.is_file():
        return format_of(model_file(path)) is not None
    return RunFolder(path).artefact.exists()


def _name_of(path: Path) -> str:
    """Return a name for a file: its own, or that of its folder if it is only called model."""
    has_suffix = format_of(path) is not None
    name = path.stem if has_suffix else path.name
    if name in ("model", "", ".", "..") and (folder := path.resolve().parent.name):
        name = folder if has_suffix else path.resolve().name or "model"
    return _OTHER.sub("-", name).strip("-._") or "model"
