"""The way back into the interpreter, for whatever evaluates one part of a program.

To evaluate an expression may call a function, whose statements have expressions: the recursion is
real. It goes through this object, which everybody is given, so that the files below know the
values and each other's floors, and none of them the interpreter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import ast
    from contextlib import AbstractContextManager

    from softonce.checker.static.frame import Frame
    from softonce.checker.static.heap import Heap, Hooks
    from softonce.checker.static.losses import Losses
    from softonce.checker.static.objects import Class, Function, Module
    from softonce.checker.static.project import Project
    from softonce.checker.static.reporter import Reporter
    from softonce.checker.static.rules import Rules
    from softonce.checker.static.values import Maker, Scores, Value

    Args = list[Value]
    Kwargs = dict[str, Value]


class Run(Protocol):
    """A program that is being read.

    Attributes:
        project: the files.
        heap: what cells hold on the way that is being run.
        hooks: the functions that were hooked on modules.
        reporter: takes the findings.
        rules: the rules that look at one operation.
        losses: the rules that look at what a loss is given.
        classes: the classes that have been defined.
        visited: the statements that have been run.
        steps: how many statements that were, repetitions counted.
        assumes_defaults: whether options are as they are if nobody sets them.
    """

    project: Project
    heap: Heap
    hooks: Hooks
    reporter: Reporter
    rules: Rules
    losses: Losses
    libraries: frozenset[str]
    classes: dict[ast.ClassDef, Class]
    visited: set[ast.stmt]
    steps: int
    assumes_defaults: bool

    def evaluate(self, frame: Frame, node: ast.expr) -> Value:
        """Return what an expression is."""

    def execute(self, frame: Frame, body: list[ast.stmt]) -> bool:
        """Run statements; return whether the block ends with them."""

    def bind(self, frame: Frame, target: ast.expr, value: Value) -> None:
        """Store a value under a target: a name, an attribute, an item, or several."""

    def call(
        self, frame: Frame, callee: Value, args: Args, kwargs: Kwargs, node: ast.expr
    ) -> Value:
        """Call anything that can be called."""

    def call_external(
        self, frame: Frame, name: str, args: Args, kwargs: Kwargs, node: ast.expr
    ) -> Value:
        """Call a function or a class of another library, by its dotted name."""

    def call_function(self, caller: Frame, function: Function, args: Args, kwargs: Kwargs) -> Value:
        """Run a function of the project on what it is given."""

    def enter(self, function: Function) -> Value:
        """Run a function that nobody is seen to call, its arguments unknown."""

    def define(self, function: Function) -> None:
        """Note a nested function: it may be handed on to somebody who calls it."""

    def defining(self, steps: int) -> AbstractContextManager[None]:
        """Run decorators, in so many statements."""

    def instantiate(self, frame: Frame, cls: Class, args: Args, kwargs: Kwargs) -> Value:
        """Return a new object of a class of the project."""

    def some_instance(self, cls: Class) -> Value:
        """Return an object of a class: one that the project makes, else one of unknown options."""

    def attributed(self, value: Scores, node: ast.expr, maker: Maker, frame: Frame) -> Scores:
        """Return a layer's output as made where the layer is built, not where it is called."""

    def start(self, module: Module) -> None:
        """Run a module's top level, once."""

    def import_module(self, module: Module, importer: Module) -> None:
        """Run a module for a file that imports it, and before it the packages that lead to it."""

    def read_option(self) -> None:
        """Note that what runs depends on an option of the program."""

    def decided(self, frame: Frame, test: ast.expr, outcome: bool) -> frozenset[ast.expr]:
        """Return the tests that a branch stands under, this one included if it reads options."""
