"""What can be trained: the names of every source, and what is published of them."""

from __future__ import annotations

import dataclasses
import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from softonce.errors import MissingExtraError, SoftonceError, UnknownNameError
from softonce.models.registry import create_model, list_models
from softonce.models.sources import SOURCES, Facts, find_source
from softonce.models.weights import list_weights

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BUILT = 20
"""Networks of one listing whose parameters are counted by building them without memory."""


@dataclass(frozen=True)
class Row(Facts):
    """A network of the list.

    Args:
        name: what `--model` takes.
    """

    name: str

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON holds it."""
        return dataclasses.asdict(self)


def find_rows(pattern: str = "") -> list[Row]:
    """Return the networks whose names match, in every source that is installed.

    Args:
        pattern: a shell-style pattern such as `resnet*`, or `timm:vit*` for one source; an empty
            one lists the registered names.

    Raises:
        UnknownNameError: if nothing matches.
        MissingExtraError: if the pattern names a source whose package is not installed.

    Example:
        >>> row = find_rows("resnet18")[0]  # ours; then those of other sources
        >>> row.name, row.accuracy
        ('resnet18', 69.758)
    """
    names = list_models(pattern) if ":" not in pattern else []
    prefix, colon, wanted = pattern.partition(":")
    if colon and prefix not in SOURCES:
        raise UnknownNameError.of("source", prefix, SOURCES)
    if colon:
        names += _matching(prefix, wanted)
    else:
        names += [name for source in SOURCES for name in _match_if_installed(source, pattern)]
    if not names and colon:
        listing = f"softonce models '{prefix}:*'"
        known = SOURCES[prefix].names()
        raise UnknownNameError.of(f"{prefix} model", wanted.strip("*"), known, listing=listing)
    if not names:
        raise UnknownNameError(
            f"expected a pattern that some network matches, found {pattern!r}: softonce models "
            "lists the sources"
        )
    return [_row(name, is_counted=len(names) <= MAX_BUILT) for name in names]


def count_elsewhere() -> dict[str, int | None]:
    """Return how many networks each source has; None if its package is not installed."""
    counts: dict[str, int | None] = {}
    for prefix, source in SOURCES.items():
        try:
            counts[prefix] = len(source.names()) or None
        except MissingExtraError:
            counts[prefix] = None
    return {prefix: count for prefix, count in counts.items() if prefix != "hf"}


def _match_if_installed(prefix: str, pattern: str) -> Iterable[str]:
    try:
        return _matching(prefix, pattern) if pattern else []
    except MissingExtraError:
        return []


def _matching(prefix: str, pattern: str) -> list[str]:
    names = SOURCES[prefix].names()
    return [f"{prefix}:{name}" for name in names if fnmatch.fnmatchcase(name, pattern.lower())]


def _row(name: str, *, is_counted: bool) -> Row:
    found = find_source(name)
    facts = _find_registered(name) if found is None else found[0].facts(found[1])
    values = dataclasses.asdict(facts)
    if facts.num_params is None and is_counted:
        values["num_params"] = _count(name)
    return Row(name=name, **values)


def _find_registered(name: str) -> Facts:
    records = list_weights(name)
    if not records:
        return Facts()
    best = type(records[0])["DEFAULT"]
    return Facts(size=best.preprocessing.size, num_params=best.num_params, accuracy=best.acc1)


def _count(name: str) -> int | None:
    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in create_model(name).parameters())
    except (SoftonceError, RuntimeError, NotImplementedError):
        return None  # one that cannot be built without memory
