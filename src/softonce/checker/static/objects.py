"""Files, classes, functions and objects of the project, as values."""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING

from softonce.checker.static.values import Cell, External, Scope, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from softonce.checker.static.sources import Source
    from softonce.checker.static.values import State

# A criterion is a loss, but for one to stop by; criteria with a name before them are conditions:
# every network of a large library inherits a loop that asks `stopping_criteria(ids, scores)`.
_LOSS_CALL = re.compile(
    r"(loss\w*|(?<!stopping_)(?<!stop_)criterion\w*|\bcriteria\w*|cross_entropy)(\(\))?\(",
    re.IGNORECASE,
)
_SCORE_TEXT = re.compile(r"softmax|sigmoid|softmin|expit")
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
        """Return attribute -> the methods of this class that assign it to their own object."""
        if self._stores is None:
            self._stores = {}
            for method in self.methods.values():
                for name in _own_attributes(method):
                    self._stores.setdefault(name, []).append(method)
        return self._stores


def _own_attributes(method: FunctionNode) -> dict[str, None]:
    """Return the attributes that a method assigns to its first parameter, in order."""
    first = next((p.arg for p in (*method.args.posonlyargs, *method.args.args)), None)
    return {
        node.attr: None
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == first
    }


@dataclass(slots=True, eq=False)
class Function(Value):
    """A function of the project, with what it is bound to and the names around it."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    module: Module
    scopes: tuple[Scope, ...] = ()
    owner: Class | None = None
    bound: Value | None = None


@dataclass(slots=True, eq=False)
class Super(Value):
    """`super()`: the classes after `owner` in the order of `instance`."""

    instance: Instance
    owner: Class


@dataclass(slots=True, eq=False)
class Instance(Cell):
    """An object of a class of the project."""

    cls: Class
    attrs: dict[str, Value] = field(default_factory=dict)
    training: bool | None = True
    base: Value | None = None
    filled: set[str] = field(default_factory=set)

    def state(self) -> State:
        """Return the attributes, the mode, and what the base holds."""
        return self.version, dict(self.attrs), self.training, self.base, frozenset(self.filled)

    def restore(self, state: State) -> None:
        """Hold what that state has."""
        self.version, attrs, self.training, self.base, filled = state
        self.attrs, self.filled = dict(attrs), set(filled)
