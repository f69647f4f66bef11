"""Functions and classes: where they are defined, and what their decorators register."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from softonce.checker.static.calls import call, is_operation
from softonce.checker.static.expressions import evaluate
from softonce.checker.static.frame import Frame
from softonce.checker.static.objects import Class, Function, Instance
from softonce.checker.static.values import Partial

if TYPE_CHECKING:
    from softonce.checker.static.context import Run
    from softonce.checker.static.values import Value

_CALLABLE = (Function, Partial, Instance)
MAX_DECORATOR_STEPS = 100
"""What registers something is short; what writes documentation is long."""


def define_function(run: Run, frame: Frame, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Run `def`."""
    function = Function(node, frame.module, frame.scopes())
    run.define(function)
    scope = run.heap.write(frame.elsewhere.get(node.name, frame.scope))
    scope[node.name] = function
    if node.decorator_list and not is_operation(function):
        scope[node.name] = _decorated(run, frame, node, function)
    return False


def _decorated(
    run: Run,
    frame: Frame,
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
    value: Value,
) -> Value:
    """Call `@register("name")` for what it registers; return what the name then holds.

    That is what the decorator returns if it wraps a function in another one; what else it
    returns is as good as what it was given.
    """
    for decorator in reversed(node.decorator_list):
        with run.defining(MAX_DECORATOR_STEPS):
            wrap = evaluate(run, frame, decorator)
        if isinstance(wrap, (Function, Class)):
            with run.defining(MAX_DECORATOR_STEPS):
                made = call(run, frame, wrap, [value], {}, decorator)
            if isinstance(made, (Function, Partial, Instance)) and isinstance(value, _CALLABLE):
                value = made
    return value


def define_class(run: Run, frame: Frame, node: ast.ClassDef) -> bool:
    """Run `class`: of its body only what it assigns."""
    bases = [evaluate(run, frame, base) for base in node.bases]
    cls = Class(node.name, frame.module, node, bases)
    run.heap.write(frame.scope)[node.name] = cls
    run.classes.setdefault(node, cls)
    _decorated(run, frame, node, cls)
    inner = Frame(frame.module, cls.scope, frame.scopes())
    simple = (ast.Assign, ast.AnnAssign)
    run.execute(inner, [n for n in node.body if isinstance(n, simple)])
    for method in cls.methods.values():
        if method.decorator_list:
            function = Function(method, frame.module, (), cls)
            wrapped = _decorated(run, frame, method, function)
            if wrapped is not function:
                cls.wrapped[method.name] = wrapped
    return False
