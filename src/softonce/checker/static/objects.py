"""Files, classes, functions and objects of the project, as values."""

from __future__ import annotations

import ast
import os
import re
from bisect import bisect_left
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING

from softonce.checker.static.bodies import deferred_text
from softonce.checker.static.values import Cell, External, Scope, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from softonce.checker.static.sources import Source
    from softonce.checker.static.values import State

# A criterion is a loss, but for one to stop by; criteria with a name before them are conditions:
# every network of a large library inherits a loop that asks `stopping_criteria(ids, scores)`.
_LOSS_CALL = re.compile(
    r"(loss\w*|(?<!stopping_)(?<!stop_)criterion\w*|\bcriteria\w*|cross_entropy)(\(\))?\("
)
_LOSS_WORDS = ("loss", "criteri", "cross_entropy")
_SCORE_TEXT = re.compile(r"softmax|sigmoid|softmin|expit")
_SCORE_WORDS = ("softmax", "sigmoid", "softmin", "expit")
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
        return self._lines_of(_SCORE_WORDS, _SCORE_TEXT)

    @cached_property
    def loss_lines(self) -> list[int]:
        """The lines that seem to call a loss, in order."""
        return self._lines_of(_LOSS_WORDS, _LOSS_CALL)

    def _lines_of(self, words: tuple[str, ...], pattern: re.Pattern[str]) -> list[int]:
        """Return the lines on which the pattern begins, as it does with one of the words."""
        text = self.source.text.lower()
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        starts = []
        for word in words:  # to look for words is ten times as quick as for patterns
            start = text.find(word)
            while start >= 0:
                starts += [start] if pattern.match(text, start) else []
                start = text.find(word, start + 1)
        line, position, found = 1, 0, []
        for start in sorted(starts):
            line += text.count("\n", position, start)
            position = start
            found.append(line)
        return found

    def functions(self) -> Iterator[FunctionNode]:
        """Yield the functions at the top of the file, those under an `if` or `try` too."""
        return (n for n in _top_level(self.tree.body) if isinstance(n, FunctionNode))

    def all_functions(self) -> Iterator[FunctionNode]:
        """Yield the functions, and the methods of the classes, at the top of the file."""
        for node in _top_level(self.tree.body):
            body = node.body if isinstance(node, ast.ClassDef) else [node]
            yield from (each for each in _top_level(body) if isinstance(each, FunctionNode))

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
    _stores: dict[str, list[FunctionNode]] = field(default_factory=dict)
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
        return [(cls, node) for cls in self.order() for node in cls.own_stores(name)]

    def own_stores(self, name: str) -> list[FunctionNode]:
        """Return the methods of this class that assign an attribute of their own object."""
        if name not in self._stores:
            methods = self.methods.values()
            self._stores[name] = [node for node in methods if name in _own_attributes(node, name)]
        return self._stores[name]

    def loss_methods(self) -> dict[str, FunctionNode]:
        """Return the methods of this class that seem to call a loss, by name."""
        if self._loss_methods is None:
            lines = self.module.loss_lines
            self._loss_methods = {
                name: node
                for name, node in self.methods.items()
                if has_any(lines, node.lineno, node.end_lineno)
            }
        return self._loss_methods


def has_any(lines: list[int], first: int, last: int | None) -> bool:
    """Return whether any of the lines, which are in order, is one from the first to the last."""
    index = bisect_left(lines, first)
    return index < len(lines) and lines[index] <= (last or 0)


def _own_attributes(method: FunctionNode, name: str) -> frozenset[str]:
    """Return the attributes that a method assigns to its own object, if one may be of the name."""
    first = next((p.arg for p in (*method.args.posonlyargs, *method.args.args)), None)
    text = deferred_text(method)
    if first is None or (text is not None and not _assigned(first, name, text)):
        return frozenset()
    return _all_own_attributes(method, first)


@cache
def _all_own_attributes(method: FunctionNode, first: str) -> frozenset[str]:
    return frozenset(
        node.attr
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == first
    )


def _assigned(first: str, name: str, text: str) -> bool:
    """Return whether a text may assign `first.name`: it stands left of `=`, or before `in`."""
    attribute = f"{first}.{name}"
    return attribute in text and bool(
        re.search(
            rf"\b{re.escape(attribute)}\b(?:[^\n(=]*=(?!=)|[^\n]*\bin\b|[ \t]*:|[ \t]*[,)\]\\]*\n)",
            text,
        )
    )


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
