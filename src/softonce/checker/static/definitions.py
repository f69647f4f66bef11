"""Functions and classes: where they are defined, and what their decorators register."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from softonce.checker.static.expressions import evaluate
from softonce.checker.static.frame import Frame
from softonce.checker.static.project import Class
from softonce.checker.static.values import Function

if TYPE_CHECKING:
    from softonce.checker.static.interpreter import Interpreter

MAX_DECORATOR_STEPS = 100
"""What registers something is short; what writes documentation is long."""


def define_function(
    run: Interpreter, frame: Frame, node: ast.FunctionDef | ast.AsyncFunctionDef
) -> bool:
    """Run `def`."""
    function = Function(node, frame.module, frame.scopes())
    run.heap.write(frame.scope)[node.name] = function
    _decorate(run, frame, node, function)
    return False


def _decorate(
    run: Interpreter,
    frame: Frame,
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
    value: Function | Class,
) -> None:
    """Call `@register("name")` for what it registers; the name keeps what it decorates."""
    for decorator in node.decorator_list:
        with run.at_most(MAX_DECORATOR_STEPS):
            function = evaluate(run, frame, decorator)
        if isinstance(function, Function):
            with run.at_most(MAX_DECORATOR_STEPS):
                run.call_function(frame, function, [value], {})


def define_class(run: Interpreter, frame: Frame, node: ast.ClassDef) -> bool:
    """Run `class`: of its body only what it assigns."""
    from softonce.checker.static.statements import execute

    bases = [evaluate(run, frame, base) for base in node.bases]
    cls = Class(node.name, frame.module, node, bases)
    run.heap.write(frame.scope)[node.name] = cls
    run.classes.setdefault(node, cls)
    _decorate(run, frame, node, cls)
    inner = Frame(frame.module, cls.scope, frame.scopes())
    simple = (ast.Assign, ast.AnnAssign)
    execute(run, inner, [n for n in node.body if isinstance(n, simple)])
    return False
