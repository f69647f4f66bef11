"""Expressions: what each evaluates to."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from softonce.checker.static import attributes
from softonce.checker.static.branches import is_option, training_test
from softonce.checker.static.calls import call
from softonce.checker.static.comparisons import compare
from softonce.checker.static.lattice import join, mark_optional, truth
from softonce.checker.static.objects import Function
from softonce.checker.static.operations import binary, unary
from softonce.checker.static.values import UNKNOWN, Const, External, Mapping, Sequence, Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame


def evaluate(run: Run, frame: Frame, node: ast.expr) -> Value:
    """Return what the expression is; unknown if its form is not followed."""
    handler = _HANDLERS.get(type(node))
    return UNKNOWN if handler is None else handler(run, frame, node)


def _constant(run: Run, frame: Frame, node: ast.Constant) -> Value:
    return Const(node.value)


def _name(run: Run, frame: Frame, node: ast.Name) -> Value:
    return frame.lookup(node.id)


def _attribute(run: Run, frame: Frame, node: ast.Attribute) -> Value:
    return attributes.attribute(run, frame, evaluate(run, frame, node.value), node.attr, node)


def _call(run: Run, frame: Frame, node: ast.Call) -> Value:
    callee = evaluate(run, frame, node.func)
    args: list[Value] = []
    kwargs: dict[str, Value] = {}
    for arg in node.args:
        if isinstance(arg, ast.Starred):
            _spread(evaluate(run, frame, arg.value), args, kwargs)
        else:
            args.append(evaluate(run, frame, arg))
    for keyword in node.keywords:
        value = evaluate(run, frame, keyword.value)
        if keyword.arg is not None:
            kwargs[keyword.arg] = value
        elif isinstance(value, Mapping):
            kwargs |= {k: v for k, v in value.items.items() if isinstance(k, str)}
            kwargs |= {} if value.exact else {"**": UNKNOWN}
        else:
            kwargs["**"] = UNKNOWN
    return call(run, frame, callee, args, kwargs, node)


def _spread(value: Value, args: list[Value], kwargs: dict[str, Value]) -> None:
    """Add the entries of `*value`; entries of unknown number leave other arguments unknown."""
    if isinstance(value, Sequence):
        args.extend(value.items)
    if not isinstance(value, Sequence) or not value.exact:
        kwargs["**"] = UNKNOWN


def _binary(run: Run, frame: Frame, node: ast.BinOp) -> Value:
    left, right = evaluate(run, frame, node.left), evaluate(run, frame, node.right)
    return binary(run, frame, node, left, right)


def _unary(run: Run, frame: Frame, node: ast.UnaryOp) -> Value:
    value = evaluate(run, frame, node.operand)
    if isinstance(node.op, ast.Not):
        known = truth(value)
        return UNKNOWN if known is None else Const(not known)
    return unary(run, frame, node, value)


def _bool(run: Run, frame: Frame, node: ast.BoolOp) -> Value:
    """Return the operand that decides; `a or b` of unknown truth is either."""
    stops_at = isinstance(node.op, ast.Or)
    result: Value | None = None
    for operand in node.values:
        value = evaluate(run, frame, operand)
        known = truth(value)
        result = value if result is None else join(result, value)
        if known is stops_at:
            return value if operand is node.values[0] else result
        if known is (not stops_at) and operand is not node.values[-1]:
            result = None
    return UNKNOWN if result is None else result


def _compare(run: Run, frame: Frame, node: ast.Compare) -> Value:
    left = evaluate(run, frame, node.left)
    right = evaluate(run, frame, node.comparators[0])
    return compare(run, frame, node, left, right)


def _choose(run: Run, frame: Frame, node: ast.IfExp) -> Value:
    known = truth(evaluate(run, frame, node.test))
    mode, before, tests = training_test(node.test), frame.eval_only, frame.tests
    if known is not None:
        frame.tests = run.decided(frame, node.test, known)
    values = []
    frame.branches += known is None
    for branch, is_taken, sign in ((node.body, True, mode), (node.orelse, False, -mode)):
        if known in (None, is_taken):
            frame.eval_only = before or sign < 0
            values.append(evaluate(run, frame, branch))
    frame.branches -= known is None
    frame.eval_only, frame.tests = before, tests
    if len(values) == 1:
        return values[0]
    joined = join(*values)
    return mark_optional(joined) if is_option(node.test) else joined


def _sequence(run: Run, frame: Frame, node: ast.Tuple | ast.List | ast.Set) -> Value:
    items: list[Value] = []
    exact = True
    for element in node.elts:
        if isinstance(element, ast.Starred):
            spread = evaluate(run, frame, element.value)
            items.extend(spread.items if isinstance(spread, Sequence) else [UNKNOWN])
            exact = exact and isinstance(spread, Sequence) and spread.exact
        else:
            items.append(evaluate(run, frame, element))
    return Sequence(items, exact)


def _dict(run: Run, frame: Frame, node: ast.Dict) -> Value:
    items: dict[Any, Value] = {}
    exact = True
    for key, value_node in zip(node.keys, node.values, strict=True):
        value = evaluate(run, frame, value_node)
        if key is None:
            exact = exact and isinstance(value, Mapping) and value.exact
            items |= value.items if isinstance(value, Mapping) else {}
            continue
        name = evaluate(run, frame, key)
        if isinstance(name, Const):
            items[name.value] = value
        else:
            items[node.keys.index(key), "unknown"] = value
            exact = False
    return Mapping(items, exact)


def _subscript(run: Run, frame: Frame, node: ast.Subscript) -> Value:
    receiver = evaluate(run, frame, node.value)
    return attributes.item(run, frame, receiver, evaluate(run, frame, node.slice), node)


def _slice(run: Run, frame: Frame, node: ast.Slice) -> Value:
    ends = (node.lower, node.upper, node.step)
    if all(end is None for end in ends):
        return External("slice.full")
    values = [Const(None) if end is None else evaluate(run, frame, end) for end in ends]
    known = [value.value for value in values if isinstance(value, Const)]
    return Const(slice(*known)) if len(known) == len(ends) else External("slice.part")


def _lambda(run: Run, frame: Frame, node: ast.Lambda) -> Value:
    return Function(node, frame.module, frame.scopes())


def _comprehension(
    run: Run, frame: Frame, node: ast.ListComp | ast.GeneratorExp | ast.SetComp
) -> Value:
    """Evaluate the element once for every entry that is known, else once for any entry."""
    first = node.generators[0]
    saved = dict(frame.scope)
    items = attributes.entries(run, evaluate(run, frame, first.iter))
    exact = items is not None and len(node.generators) == 1 and not first.ifs and len(items) <= 16
    results = []
    if exact and items is not None:
        for item in items:
            run.bind(frame, first.target, item)
            results.append(evaluate(run, frame, node.elt))
    else:
        _bind_generators(run, frame, node.generators)
        results.append(evaluate(run, frame, node.elt))
    _restore(frame, saved)
    return Sequence(results, exact)


def _dict_comprehension(run: Run, frame: Frame, node: ast.DictComp) -> Value:
    saved = dict(frame.scope)
    _bind_generators(run, frame, node.generators)
    value = evaluate(run, frame, node.value)
    _restore(frame, saved)
    return Mapping({("any", "unknown"): value}, exact=False)


def _bind_generators(run: Run, frame: Frame, generators: list[ast.comprehension]) -> None:
    for generator in generators:
        iterated = evaluate(run, frame, generator.iter)
        run.bind(frame, generator.target, attributes.entry(run, frame, iterated))
        for test in generator.ifs:
            evaluate(run, frame, test)


def _restore(frame: Frame, saved: dict[str, Value]) -> None:
    frame.scope.clear()
    frame.scope.update(saved)


def _named(run: Run, frame: Frame, node: ast.NamedExpr) -> Value:
    value = evaluate(run, frame, node.value)
    run.bind(frame, node.target, value)
    return value


def _inner(run: Run, frame: Frame, node: ast.Await | ast.Starred) -> Value:
    return evaluate(run, frame, node.value)


def _yield(run: Run, frame: Frame, node: ast.Yield) -> Value:
    frame.yields.append(UNKNOWN if node.value is None else evaluate(run, frame, node.value))
    return UNKNOWN


def _text(run: Run, frame: Frame, node: ast.JoinedStr) -> Value:
    texts = []
    for part in node.values:
        inner = part.value if isinstance(part, ast.FormattedValue) else part
        value = evaluate(run, frame, inner)
        texts.append(value.value if isinstance(value, Const) else None)
    whole = all(isinstance(text, (str, int)) for text in texts)
    return Const("".join(map(str, texts))) if whole else UNKNOWN


_HANDLERS: dict[type, Callable[..., Value]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Call: _call,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.BoolOp: _bool,
    ast.Compare: _compare,
    ast.IfExp: _choose,
    ast.Tuple: _sequence,
    ast.List: _sequence,
    ast.Set: _sequence,
    ast.Dict: _dict,
    ast.Subscript: _subscript,
    ast.Slice: _slice,
    ast.Lambda: _lambda,
    ast.ListComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.SetComp: _comprehension,
    ast.DictComp: _dict_comprehension,
    ast.NamedExpr: _named,
    ast.Await: _inner,
    ast.Starred: _inner,
    ast.Yield: _yield,
    ast.JoinedStr: _text,
}
