"""One running function or module: its names, and under which branches it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from softonce.checker.static.values import (
    Const,
    External,
    Instance,
    Later,
    Value,
    join_present,
    mark_optional,
)

if TYPE_CHECKING:
    import ast

    from softonce.checker.findings import Place
    from softonce.checker.static.project import Class, Module

Scope = dict[str, Value]


@dataclass(slots=True, eq=False)
class Frame:
    """The names of a running function, and what it has returned so far.

    Attributes:
        eval_only: whether this code runs in eval mode only.
        uncertain: how many undecided branches it stands in.
        branches: how many undecided branches of this very function it stands in.
        options: how many of these are decided by options alone, a name or an attribute.
        optional_returns: whether it returned from one of those.
    """

    module: Module
    scope: Scope
    outer: Scope = field(default_factory=dict)
    owner: Class | None = None
    self_value: Instance | None = None
    eval_only: bool = False
    uncertain: int = 0
    branches: int = 0
    options: int = 0
    optional_returns: bool = False
    returns: list[Value] = field(default_factory=list)
    yields: list[Value] = field(default_factory=list)
    exits: list[Scope] = field(default_factory=list)
    depth: int = 0
    function: ast.AST | None = None

    def lookup(self, name: str) -> Value:
        """Return what a name holds; a name that nobody binds is a builtin."""
        for scope in (self.scope, self.outer, self.module.scope):
            if name in scope:
                value = scope[name]
                return value.now() if isinstance(value, Later) else value
        if name == "__name__":
            return Const("__main__")
        for prefix in self.module.stars:
            if name in STAR_NAMES.get(prefix, ()):
                return External(f"{prefix}.{name}")
        return External(f"builtins.{name}")

    def place(self, node: ast.expr | ast.stmt) -> Place:
        """Return where the node stands."""
        return self.module.source.place(node.lineno, node.col_offset + 1)


def merge(target: Scope, left: Scope, right: Scope, *, optional: bool = False) -> None:
    """Let `target` hold what either branch leaves; a name that one leaves out is the other's."""
    if left is not target:
        target.update(left)
    for name in [*left, *(n for n in right if n not in left)]:
        a, b = left.get(name), right.get(name)
        joined = join_present(a, b)
        target[name] = mark_optional(joined) if optional and a is not b else joined


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
