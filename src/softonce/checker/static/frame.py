"""One running function or module: its names, and under which branches it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from softonce.checker.static.values import Const, External, Later, Scope, Value

if TYPE_CHECKING:
    import ast

    from softonce.checker.findings import Place
    from softonce.checker.static.heap import Changes
    from softonce.checker.static.objects import Class, Instance, Module


@dataclass(slots=True, eq=False)
class Frame:
    """The names of a running function, and what it has returned so far.

    Attributes:
        outer: the scopes around a nested function, the nearest first.
        elsewhere: name -> the outer scope that `global` or `nonlocal` says it is bound in.
        eval_only: whether this code runs in eval mode only.
        unproven: whether nobody is seen to run this code on these very values.
        tests: the decided tests of options that it stands under.
        branches: how many undecided branches of this very function it stands in.
        options: how many of these are decided only by options, a name or an attribute.
        optional_returns: whether it returned from one of those.
        mark: the level of the heap that it began on.
        leaves: what the heap held where it returned from an undecided branch.
        loop: the level of the heap that the loop's round began on.
        exits: what the heap held where that round was left.
    """

    module: Module
    scope: Scope
    outer: tuple[Scope, ...] = ()
    owner: Class | None = None
    self_value: Instance | None = None
    eval_only: bool = False
    unproven: bool = False
    tests: frozenset[ast.expr] = frozenset()
    branches: int = 0
    options: int = 0
    optional_returns: bool = False
    returns: list[Value] = field(default_factory=list)
    yields: list[Value] = field(default_factory=list)
    mark: int = 0
    leaves: list[Changes] = field(default_factory=list)
    loop: int = 0
    exits: list[Changes] = field(default_factory=list)
    elsewhere: dict[str, Scope] = field(default_factory=dict)
    function: ast.AST | None = None

    @property
    def is_unproven(self) -> bool:
        """Whether it is unknown that this code runs on these very values."""
        return self.unproven or self.branches > 0

    def lookup(self, name: str) -> Value:
        """Return what a name holds; a name that nobody binds is a builtin."""
        value = self.scope.get(name)
        if value is None:
            for scope in (*self.outer, self.module.scope):
                value = scope.get(name)
                if value is not None:
                    break
        if value is not None:
            return value.now() if isinstance(value, Later) else value
        if name == "__name__":
            return Const("__main__")
        for prefix in self.module.stars:
            if name in STAR_NAMES.get(prefix, ()):
                return External(f"{prefix}.{name}")
        return External(f"builtins.{name}")

    def scopes(self) -> tuple[Scope, ...]:
        """Return the scopes around a function that is defined here, but for the file's."""
        inner = () if self.scope is self.module.scope else (self.scope,)
        return (*inner, *self.outer)

    def place(self, node: ast.expr | ast.stmt) -> Place:
        """Return where the node stands."""
        return self.module.source.place(node.lineno, node.col_offset + 1)


def _star_names() -> dict[str, frozenset[str]]:
    from softonce.checker.kinds import JOINS, ROWS, SINKS
    from softonce.checker.names import MODULES

    operations = frozenset([*ROWS, *SINKS, *JOINS])
    containers = {"Module", "Sequential", "ModuleList", "ModuleDict", "functional", "DataParallel"}
    return {
        "torch": operations | {"nn", "no_grad"},
        "torch.nn": frozenset(MODULES) | containers,
        "torch.nn.functional": operations,
        "torch.nn.modules": frozenset(MODULES) | containers,
    }


STAR_NAMES = _star_names()
