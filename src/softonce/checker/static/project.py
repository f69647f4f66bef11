"""The files of a project as modules: which file an import means, which method a class has."""

from __future__ import annotations

import ast
import os
import re
import sys
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING

from softonce.checker.static.sources import Source, read
from softonce.checker.static.values import External, Scope, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from softonce.checker.static.values import Instance

MAX_PARENTS = 8
_LOSS_CALL = re.compile(r"(loss\w*|criteri\w*|cross_entropy)(\(\))?\(", re.IGNORECASE)
_SCORE_TEXT = re.compile(r"softmax|sigmoid|softmin|expit")
LIBRARIES = frozenset(
    {
        "torch", "torchvision", "numpy", "builtins", "transformers", "keras", "tensorflow",
        "slice", "timm", "sklearn", "scipy", "pandas", "os", "sys", "typing", "project",
    }
)  # fmt: skip
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(eq=False)
class Module(Value):
    """One file: its tree, and its global names once it has been run."""

    path: str
    source: Source
    tree: ast.Module
    scope: Scope = field(default_factory=Scope)
    stars: list[str] = field(default_factory=list)
    started: bool = False
    reads_options: bool = False
    """Whether its names depend on the options of a program."""

    @property
    def folder(self) -> str:
        """Where the file lies."""
        return os.path.dirname(self.path)  # noqa: PTH120 - hot

    @property
    def is_package(self) -> bool:
        """Whether it is the `__init__.py` of its folder."""
        return self.path.endswith("__init__.py")

    @cached_property
    def score_lines(self) -> list[int]:
        """The lines that mention softmax or sigmoid, in order."""
        source = self.source
        text = "\n".join(source.lines) if "\r" in source.text else source.text
        text, line, position, found = text.lower(), 1, 0, []
        for match in _SCORE_TEXT.finditer(text):
            line += text.count("\n", position, match.start())
            position = match.start()
            found.append(line)
        return found

    def functions(self) -> Iterator[FunctionNode]:
        """Yield the functions at the top of the file, those under an `if` or `try` too."""
        return (n for n in _top_level(self.tree.body) if isinstance(n, FunctionNode))

    def num_functions(self) -> int:
        """Return how many functions and methods there are, roughly."""
        return self.source.text.count("def ")

    def classes(self) -> Iterator[ast.ClassDef]:
        """Yield the classes at the top of the file."""
        return (n for n in _top_level(self.tree.body) if isinstance(n, ast.ClassDef))


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try, ast.With, ast.For)):
            for part in ("body", "orelse", "finalbody"):
                yield from _top_level(getattr(node, part, []))


@cache
def decorator_names(node: FunctionNode) -> set[str]:
    """Return the last names of a function's decorators: `property`, `no_grad`."""
    return {ast.unparse(d).rsplit(".", 1)[-1].split("(")[0] for d in node.decorator_list}


def _is_part_of_property(node: FunctionNode, part: str) -> bool:
    return any(getattr(decorator, "attr", "") == part for decorator in node.decorator_list)


@dataclass(eq=False)
class Class(Value):
    """A class of the project."""

    name: str
    module: Module
    node: ast.ClassDef
    bases: list[Value]
    scope: Scope = field(default_factory=Scope)
    instances: list[Instance] = field(default_factory=list)
    wrapped: dict[str, Value] = field(default_factory=dict)
    """The methods that a decorator of the project has wrapped, by name."""
    _order: list[Class] | None = None
    _stores: dict[str, list[FunctionNode]] | None = None
    _loss_methods: dict[str, FunctionNode] | None = None

    def __post_init__(self) -> None:
        """Index the methods by name; a property's setter is another method than its getter."""
        methods = [n for n in _top_level(self.node.body) if isinstance(n, FunctionNode)]
        self.setters = {n.name: n for n in methods if _is_part_of_property(n, "setter")}
        parts = ("setter", "deleter")
        self.methods = {
            n.name: n for n in methods if not any(_is_part_of_property(n, part) for part in parts)
        }

    def order(self) -> list[Class]:
        """Return the class and its bases of the project, nearest first, each once."""
        if self._order is None:
            self._order = []
            stack: list[Value] = [self]
            while stack:
                cls = stack.pop(0)
                if isinstance(cls, Class) and cls not in self._order:
                    self._order.append(cls)
                    stack = [*cls.bases, *stack]
        return self._order

    def external_bases(self) -> list[str]:
        """Return the dotted names of the bases outside of the project."""
        return [b.name for cls in self.order() for b in cls.bases if isinstance(b, External)]

    def find(self, name: str, after: Class | None = None) -> tuple[Class, FunctionNode] | None:
        """Return the method and the class that defines it; only in the classes after `after`."""
        order = self.order()
        if after in order:
            order = order[order.index(after) + 1 :]
        return next(((cls, cls.methods[name]) for cls in order if name in cls.methods), None)

    def fields(self) -> list[str]:
        """Return the annotated names of the class and its bases, as a constructor takes them."""
        return [
            node.target.id
            for cls in reversed(self.order())
            for node in cls.node.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        ]

    @property
    def is_named_tuple(self) -> bool:
        """Whether its objects are tuples whose entries have names."""
        return any(base.rpartition(".")[2] == "NamedTuple" for base in self.external_bases())

    def find_wrapped(self, name: str) -> Value | None:
        """Return what the nearest class that defines a method has wrapped it in, if anything."""
        for cls in self.order():
            if name in cls.methods:
                return cls.wrapped.get(name)
        return None

    def find_setter(self, name: str) -> tuple[Class, FunctionNode] | None:
        """Return the setter of a property, and the class that defines it."""
        for cls in self.order():
            if name in cls.setters:
                return cls, cls.setters[name]
        return None

    def stores(self, name: str) -> list[tuple[Class, FunctionNode]]:
        """Return the methods that assign to `self.name`."""
        return [(cls, node) for cls in self.order() for node in cls.own_stores().get(name, [])]

    def loss_methods(self) -> dict[str, FunctionNode]:
        """Return the methods of this class that seem to call a loss, by name."""
        if self._loss_methods is None:
            lines = self.module.source.lines
            self._loss_methods = {
                name: node
                for name, node in self.methods.items()
                if any(map(_LOSS_CALL.search, lines[node.lineno - 1 : node.end_lineno]))
            }
        return self._loss_methods

    def own_stores(self) -> dict[str, list[FunctionNode]]:
        """Return attribute -> the methods of this class that assign it."""
        if self._stores is None:
            self._stores = {}
            for method in self.methods.values():
                for node in ast.walk(method):
                    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                        methods = self._stores.setdefault(node.attr, [])
                        if method not in methods:
                            methods.append(method)
        return self._stores


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
        """Return the module of a file, or None where it cannot be read or parsed."""
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
    """Return the path from here, where it lies below here."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
