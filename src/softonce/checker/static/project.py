"""The files of a project as modules: which file an import means."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from softonce.checker.static.objects import Module
from softonce.checker.static.sources import Source, read

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_PARENTS = 8
"""Packages within packages that a file may lie in."""
LIBRARIES = frozenset(
    {
        "torch", "torchvision", "numpy", "builtins", "transformers", "keras", "tensorflow",
        "slice", "timm", "sklearn", "scipy", "pandas", "os", "sys", "typing", "project",
    }
)  # fmt: skip


class Project:
    """The files that may be asked for; each is parsed once, when it is needed.

    Args:
        sources: the files that were found.
        on_disk: whether imports may lead to files beside them as well.
    """

    def __init__(self, sources: Iterable[Source], *, on_disk: bool = False) -> None:
        self.sources = {_absolute(s.path): s for s in sources}
        self.on_disk = on_disk
        self._modules: dict[str, Module | None] = {}
        self._by_name: dict[str, list[str]] | None = None
        self._found: dict[tuple[str, str], str | None] = {}
        self._packages: dict[str, list[Module]] = {}

    def module(self, path: str) -> Module | None:
        """Return the module of a file, or None if it cannot be read or parsed."""
        path = _absolute(path)
        if path not in self._modules:
            source = self.sources.get(path)
            if source is None:
                source = self.sources[path] = read(_shorter(path))
            tree = source.parse()
            self._modules[path] = None if tree is None else Module(source.path, source, tree)
        return self._modules[path]

    def resolve(self, dotted: str, importer: Module, level: int = 0) -> Module | None:
        """Return the module that an import means: beside the importer, or below one of its parents.

        Args:
            dotted: the module's name; "" for `from . import x`.
            importer: the file that imports.
            level: the number of leading dots.
        """
        key = (importer.folder, "." * level + dotted)
        if key not in self._found:
            folder = _absolute(importer.folder)
            for _ in range(level - 1):
                folder = os.path.dirname(folder)  # noqa: PTH120 - hot
            found = (self._file if level else self._search)(folder, dotted)
            self._found[key] = found or (None if level else self._anywhere(dotted))
        path = self._found[key]
        return self.module(path) if path else None

    def packages_around(self, module: Module) -> list[Module]:
        """Return the `__init__.py` of the packages that a file lies in, the outermost first."""
        if module.folder not in self._packages:
            found: list[Module] = []
            folder = _absolute(module.folder)
            while self._has(folder + "/__init__.py") and len(found) < MAX_PARENTS:
                package = self.module(folder + "/__init__.py")
                found += [] if package is None else [package]
                folder = os.path.dirname(folder)  # noqa: PTH120 - hot
            self._packages[module.folder] = found[::-1]
        return [package for package in self._packages[module.folder] if package is not module]

    def _search(self, folder: str, dotted: str) -> str | None:
        for _ in range(MAX_PARENTS):
            path = self._file(folder, dotted) or self._file(folder + "/src", dotted)
            parent = os.path.dirname(folder)  # noqa: PTH120 - hot
            if path is not None or parent == folder:
                return path
            folder = parent
        return None

    def _anywhere(self, dotted: str) -> str | None:
        """Return the one file that the name can mean: scripts add folders to `sys.path`."""
        top = dotted.partition(".")[0]
        if top in sys.stdlib_module_names or top in LIBRARIES:
            return None
        if self._by_name is None:
            self._by_name = {}
            for path in self.sources:
                stem = path.removesuffix(".py").removesuffix("/__init__")
                self._by_name.setdefault(stem.rpartition("/")[2], []).append(path)
        tail = "/" + dotted.replace(".", "/")
        ends = (f"{tail}.py", f"{tail}/__init__.py")
        named = self._by_name.get(dotted.rpartition(".")[2], ())
        found = [path for path in named if path.endswith(ends)]
        return found[0] if len(found) == 1 else None

    def _file(self, root: str, dotted: str) -> str | None:
        """Return the file of a dotted name below a folder."""
        base = "/".join([root, *dotted.split(".")]) if dotted else root
        tries = [base + ".py", base + "/__init__.py"] if dotted else [base + "/__init__.py"]
        return next(filter(self._has, tries), None)

    def _has(self, path: str) -> bool:
        if path in self.sources:
            return True
        return self.on_disk and "/site-packages/" not in path and os.path.isfile(path)  # noqa: PTH113


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - hot, and links are left as they are


def _shorter(path: str) -> str:
    """Return the path from here, if it lies below here."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
