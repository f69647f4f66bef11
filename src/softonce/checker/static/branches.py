"""What the text says of blocks: a name that is set again, a mistake that is made on purpose."""

from __future__ import annotations

import ast
import re
from functools import cache

_DELIBERATE = re.compile(r"double_?softmax|softmax_?twice", re.IGNORECASE)

_RAISES = frozenset({"raises", "assertRaises", "assertRaisesRegex"})


@cache
def asks_for_two(test: ast.expr) -> bool:
    """Return whether a test names a second softmax: an experiment, made on purpose."""
    names = (getattr(part, "attr", getattr(part, "id", "")) for part in ast.walk(test))
    return any(_DELIBERATE.search(name) for name in names if isinstance(name, str))


def expects_an_error(node: ast.With | ast.AsyncWith) -> bool:
    """Return whether a block is there to fail: `with pytest.raises(...)`, `self.assertRaises`."""
    calls = (item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call))
    return any(getattr(c.func, "attr", getattr(c.func, "id", "")) in _RAISES for c in calls)


def is_set_again(function: ast.AST, first: ast.Call, second: ast.Call) -> bool:
    """Return whether an `if` above sets the name that `second` is applied to, by `first`."""
    name = operand_of(second)
    if not isinstance(name, ast.Name):
        return False
    return any(
        isinstance(part, ast.If)
        and part.end_lineno is not None
        and part.end_lineno < second.lineno
        and not asks_for_two(part.test)
        and any(_binds(line, name.id, first) for line in ast.walk(part))
        for part in ast.walk(function)
    )


def _binds(line: ast.AST, name: str, value: ast.expr) -> bool:
    targets = line.targets if isinstance(line, ast.Assign) and line.value is value else []
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def operand_of(call: ast.Call) -> ast.expr | None:
    """Return what `F.softmax(x, 1)`, `x.softmax(1)` or `self.softmax(x)` is applied to."""
    first = call.args[0] if call.args else None
    is_tensor = isinstance(first, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
    if is_tensor or not isinstance(call.func, ast.Attribute):
        return first
    return call.func.value


def axis_of(call: ast.Call) -> str:
    """Return how a softmax names its axis; of a layer, which names none, the name of the layer."""
    named = (k.value for k in call.keywords if k.arg in ("dim", "axis"))
    given = next(named, call.args[-1] if call.args else None)
    if given is None or given is operand_of(call):
        return ast.unparse(call.func)
    return ast.unparse(given)


def training_test(test: ast.expr) -> int:
    """Return 1 if the test holds in train mode, -1 if it holds in eval mode, else 0."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return -training_test(test.operand)
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return next((mode for mode in map(training_test, test.values) if mode), 0)
    if isinstance(test, ast.Compare) and isinstance(test.comparators[0], ast.Constant):
        sign = -1 if test.comparators[0].value is False else 1
        return sign * training_test(test.left)
    return 1 if isinstance(test, ast.Attribute) and test.attr == "training" else 0


@cache
def is_option(test: ast.expr) -> bool:
    """Return whether a test reads names, attributes and constants only, as of a setting."""
    parts = (ast.Name, ast.Attribute, ast.Constant, ast.Compare, ast.BoolOp, ast.UnaryOp)
    other = (ast.expr_context, ast.cmpop, ast.boolop, ast.unaryop)
    return all(isinstance(part, (*parts, *other)) for part in ast.walk(test))
