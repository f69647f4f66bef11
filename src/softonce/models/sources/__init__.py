"""Where networks come from: one adapter for each kind of spelling, and the reader of spellings."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from softonce.models.sources.own import OwnSource, spelling_of, without_folder
from softonce.models.sources.source import Asked, Facts, NetworkSource
from softonce.models.sources.timm_models import TimmSource
from softonce.models.sources.torchvision_models import TorchvisionSource
from softonce.models.sources.transformers_models import TransformersSource

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "SOURCES",
    "Asked",
    "Facts",
    "NetworkSource",
    "find_source",
    "is_own_code",
    "package_versions",
    "packages_of",
    "spelling_of",
    "without_folder",
]

SOURCES: dict[str, NetworkSource] = {
    source.prefix: source for source in (TimmSource(), TorchvisionSource(), TransformersSource())
}
_OWN: NetworkSource = OwnSource()


def find_source(spelling: str) -> tuple[NetworkSource, str] | None:
    """Return the source of a network and its name there; None for a registered name.

    Example:
        >>> found = find_source("timm:vit_tiny_patch16_224")
        >>> found and (found[0].prefix, found[1])
        ('timm', 'vit_tiny_patch16_224')
        >>> find_source("resnet18")
    """
    prefix, colon, name = spelling.partition(":")
    if not colon:
        return None
    source = SOURCES.get(prefix)
    if source is None:
        return _OWN, spelling
    return source, name


def is_own_code(spelling: str) -> bool:
    """Return whether a spelling names a file or a module of somebody's, which building runs."""
    found = find_source(spelling)
    return found is not None and found[0] is _OWN


def packages_of(spelling: str) -> dict[str, str]:
    """Return the packages that a network comes from, with their versions.

    Example:
        >>> packages_of("resnet18")
        {}
    """
    found = find_source(spelling)
    return package_versions(() if found is None else found[0].packages)


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
