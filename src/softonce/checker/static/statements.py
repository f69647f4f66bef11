"""Statements: assignments, branches, loops. Each returns whether the block ends here."""

from __future__ import annotations

import ast
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from softonce.checker.kinds import Kind
from softonce.checker.static import attributes, patterns
from softonce.checker.static.bodies import DeferredAsyncFunction, DeferredFunction
from softonce.checker.static.branches import (
    asks_for_two,
    expects_an_error,
    is_option,
    training_test,
)
from softonce.checker.static.definitions import define_class, define_function
from softonce.checker.static.expressions import evaluate
from softonce.checker.static.hooks import Handle, remove
from softonce.checker.static.imports import import_from, import_plain
from softonce.checker.static.lattice import join, truth
from softonce.checker.static.operations import binary, overwritten
from softonce.checker.static.values import Const, Later, Scores, Sequence, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame
    from softonce.checker.static.heap import Changes

MAX_UNROLLED = 24
"""A loop over more known items is run as one of unknown length."""
MAX_EAGER_LINES = 20
"""A longer assignment at a file's top, such as a table, is evaluated when its name is read."""


def execute(run: Run, frame: Frame, body: list[ast.stmt]) -> bool:
    """Run the statements in order; True if return, raise, break or continue ends the block."""
    for node in body:
        run.steps += 1
        run.visited.add(node)
        handler = _HANDLERS.get(type(node))
        if handler is not None and handler(run, frame, node):
            return True
    return False


def _expression(run: Run, frame: Frame, node: ast.Expr) -> bool:
    value = evaluate(run, frame, node.value)
    target = _changed_in_place(node.value)
    if target is not None and isinstance(value, Scores):
        run.heap.write(frame.scope)[target] = value
    return False


def _changed_in_place(node: ast.expr) -> str | None:
    """Return the name that `x.sigmoid_()` or `F.relu(x, inplace=True)` changes."""
    if not isinstance(node, ast.Call):
        return None
    function = node.func
    if (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.attr.endswith("_")
        and not function.attr.startswith("_")
    ):
        return function.value.id
    inplace = any(
        k.arg == "inplace" and isinstance(k.value, ast.Constant) and k.value.value is True
        for k in node.keywords
    )
    first = node.args[0] if node.args else None
    return first.id if inplace and isinstance(first, ast.Name) else None


def _assign(run: Run, frame: Frame, node: ast.Assign) -> bool:
    lines = (node.end_lineno or node.lineno) - node.lineno
    if lines > MAX_EAGER_LINES and frame.scope is frame.module.scope:
        value: Value = Later(lambda: evaluate(run, frame, node.value))
    else:
        value = evaluate(run, frame, node.value)
    for target in node.targets:
        bind(run, frame, target, value)
    return False


def _annotated(run: Run, frame: Frame, node: ast.AnnAssign) -> bool:
    if node.value is not None:
        bind(run, frame, node.target, evaluate(run, frame, node.value))
    return False


def _augmented(run: Run, frame: Frame, node: ast.AugAssign) -> bool:
    left = evaluate(run, frame, node.target)
    right = evaluate(run, frame, node.value)
    if isinstance(left, Sequence) and isinstance(right, Sequence) and isinstance(node.op, ast.Add):
        run.heap.write(left).items.extend(right.items)
        left.exact = left.exact and right.exact
        return False
    bind(run, frame, node.target, binary(run, frame, node, left, right))
    return False


def bind(run: Run, frame: Frame, target: ast.expr, value: Value) -> None:
    """Store a value under a target: a name, an attribute, an item, or several."""
    if isinstance(target, ast.Name):
        run.heap.write(frame.elsewhere.get(target.id, frame.scope))[target.id] = value
        run.reporter.named(frame, target, value)
    elif isinstance(target, ast.Attribute):
        receiver = evaluate(run, frame, target.value)
        attributes.store(run, frame, receiver, target.attr, value)
    elif isinstance(target, (ast.Tuple, ast.List)):
        _unpack(run, frame, target.elts, value)
    elif isinstance(target, ast.Starred):
        bind(run, frame, target.value, Sequence([value], exact=False))
    elif isinstance(target, ast.Subscript):
        _bind_item(run, frame, target, value)


def _unpack(run: Run, frame: Frame, targets: list[ast.expr], value: Value) -> None:
    starred = any(isinstance(t, ast.Starred) for t in targets)
    parts = attributes.parts(run, frame, value, len(targets), starred=starred)
    for target, part in zip(targets, parts, strict=True):
        bind(run, frame, target, part)


def _bind_item(run: Run, frame: Frame, target: ast.Subscript, value: Value) -> None:
    receiver = evaluate(run, frame, target.value)
    key = evaluate(run, frame, target.slice)
    if isinstance(receiver, Scores) and receiver.blank and isinstance(value, Scores):
        filled = replace(value, dim=None, rank=None, blank=True)
        bind(run, frame, target.value, join(receiver, filled))
        return
    if isinstance(receiver, Scores) and receiver.kind != Kind.OTHER:
        bind(run, frame, target.value, overwritten(receiver, value))
        return
    attributes.store_item(run, frame, receiver, key, value)


def _return(run: Run, frame: Frame, node: ast.Return) -> bool:
    frame.optional_returns = frame.optional_returns or frame.options > 0
    frame.returns.append(Const(None) if node.value is None else evaluate(run, frame, node.value))
    frame.leaves.append(run.heap.changes(frame.mark))
    return True


def _leave_loop(run: Run, frame: Frame, node: ast.stmt) -> bool:
    frame.exits.append(run.heap.changes(frame.loop))
    return True


def _if(run: Run, frame: Frame, node: ast.If) -> bool:
    if not asks_for_two(node.test):
        return _branch(run, frame, node)
    with run.reporter.deliberate():
        return _branch(run, frame, node)


def _branch(run: Run, frame: Frame, node: ast.If) -> bool:
    condition = truth(evaluate(run, frame, node.test))
    mode = training_test(node.test)
    if condition is not None:
        branch = node.body if condition else node.orelse
        skipped = node.orelse if condition else node.body
        before = frame.tests
        frame.tests = run.decided(frame, node.test, condition)
        ended = _decided(run, frame, branch, skipped, mode if condition else -mode)
        if not (skipped and _ends(skipped)):  # else all that follows stands under the test
            frame.tests = before
        return ended
    return _undecided(run, frame, node, mode)


def _decided(
    run: Run, frame: Frame, branch: list[ast.stmt], skipped: list[ast.stmt], mode: int
) -> bool:
    before = frame.eval_only
    frame.eval_only = before or mode < 0
    ended = execute(run, frame, branch)
    # After `if self.training: return x`, the rest is for eval mode; the flag then stays.
    rest_is_eval = mode < 0 and not branch and bool(skipped) and _ends(skipped)
    frame.eval_only = before or rest_is_eval
    return ended


def _ends(body: list[ast.stmt]) -> bool:
    return isinstance(body[-1], (ast.Return, ast.Raise))


def _undecided(run: Run, frame: Frame, node: ast.If, mode: int) -> bool:
    before, optional = frame.eval_only, is_option(node.test)
    frame.branches += 1
    frame.options += optional
    ways = []
    for branch, sign in ((node.body, mode), (node.orelse, -mode)):
        frame.eval_only = before or sign < 0
        ways.append(_way(run, frame, branch))
    frame.branches -= 1
    frame.options -= optional
    ends = [ended for _, ended in ways]
    frame.eval_only = before or (ends[0] and mode > 0)
    if ends[0] != ends[1]:
        frame.branches += 1  # what follows is the other branch
        if frame.leaves or frame.exits:
            run.heap.open()  # what it changes is unchanged where the first has gone
    return _meet(run, ways, optional=optional)


def _for(run: Run, frame: Frame, node: ast.For) -> bool:
    iterated = evaluate(run, frame, node.iter)
    items = attributes.entries(run, iterated)
    if items is not None and len(items) <= MAX_UNROLLED:
        for item in items:
            with _round(run, frame) as exits:
                bind(run, frame, node.target, item)
                ended = execute(run, frame, node.body)
                if ended and not exits:
                    return True
                run.heap.join_exits(frame.loop, exits, falls_through=not ended)
        return execute(run, frame, node.orelse)
    element = attributes.entry(run, frame, iterated)
    _loop(run, frame, node.body, lambda: bind(run, frame, node.target, element))
    return execute(run, frame, node.orelse)


def _while(run: Run, frame: Frame, node: ast.While) -> bool:
    _loop(run, frame, node.body, lambda: evaluate(run, frame, node.test))
    return False


def _loop(run: Run, frame: Frame, body: list[ast.stmt], start_round: Callable[[], object]) -> None:
    """Run a body once, and once more if it changed what it starts from."""
    for _ in range(2):
        before = dict(frame.scope)
        with _round(run, frame, is_unsure=True) as exits:
            start_round()
            ended = execute(run, frame, body)
            run.heap.join_exits(frame.loop, exits, falls_through=not ended)
            changed = any(
                frame.scope.get(name, value) is not value and _matters(value)
                for name, value in before.items()
            )
        if not changed:
            return


def _matters(value: Value) -> bool:
    if isinstance(value, Scores):
        return value.known
    return not isinstance(value, Const)


@contextmanager
def _round(run: Run, frame: Frame, *, is_unsure: bool = False) -> Iterator[list[Changes]]:
    """Run one round of a loop; what `break` and `continue` leave behind is collected."""
    outer, frame.loop, frame.exits = (frame.loop, frame.exits), run.heap.open(), []
    yield frame.exits
    if is_unsure:
        run.heap.end_round(frame.loop)
    else:
        run.heap.keep(frame.loop)
    frame.loop, frame.exits = outer


def _with(run: Run, frame: Frame, node: ast.With) -> bool:
    if expects_an_error(node):
        run.reporter.leave_out(frame.place(node), (node.end_lineno or node.lineno) - node.lineno)
    handles = []
    for item in node.items:
        manager = evaluate(run, frame, item.context_expr)
        value = attributes.entered(run, frame, manager, item.context_expr)
        handles += [value] if isinstance(value, Handle) else []
        if item.optional_vars is not None:
            bind(run, frame, item.optional_vars, value)
    ended = execute(run, frame, node.body)
    for handle in handles:
        remove(run, handle)
    return ended


def _try(run: Run, frame: Frame, node: ast.Try) -> bool:
    mark = run.heap.open()
    ended = execute(run, frame, node.body) or execute(run, frame, node.orelse)
    ways = [(run.heap.undo(mark), ended)]
    frame.branches += 1
    ways += [_way(run, frame, handler.body) for handler in node.handlers]
    frame.branches -= 1
    ended = _meet(run, ways)
    return execute(run, frame, node.finalbody) or ended


def _way(run: Run, frame: Frame, body: list[ast.stmt]) -> tuple[Changes, bool]:
    """Run one of several bodies; return what it changes, which is undone, and whether it ends."""
    if not body:
        return {}, False
    mark = run.heap.open()
    ended = execute(run, frame, body)
    return run.heap.undo(mark, forget=ended), ended


def _meet(run: Run, ways: list[tuple[Changes, bool]], *, optional: bool = False) -> bool:
    """Go on with all ways that have not ended; return whether each has."""
    run.heap.merge([changes for changes, ended in ways if not ended], optional=optional)
    return all(ended for _, ended in ways)


def _match(run: Run, frame: Frame, node: ast.Match) -> bool:
    subject = evaluate(run, frame, node.subject)
    ways: list[tuple[Changes, bool]] = []
    for case in node.cases:
        fits = patterns.fits(run, frame, case.pattern, subject)
        if fits and case.guard is not None:
            fits = truth(evaluate(run, frame, case.guard))
        if fits is False:
            continue
        if fits and not ways:
            patterns.capture(run, frame, case.pattern, subject)
            return execute(run, frame, case.body)
        frame.branches += 1
        mark = run.heap.open()
        patterns.capture(run, frame, case.pattern, subject)
        ended = execute(run, frame, case.body)
        ways.append((run.heap.undo(mark, forget=ended), ended))
        frame.branches -= 1
        if fits:
            return _meet(run, ways)
    return _meet(run, [*ways, ({}, False)])


def _global(run: Run, frame: Frame, node: ast.Global) -> bool:
    frame.elsewhere |= dict.fromkeys(node.names, frame.module.scope)
    return False


def _nonlocal(run: Run, frame: Frame, node: ast.Nonlocal) -> bool:
    for name in node.names:
        holders = (scope for scope in frame.outer if name in scope)
        frame.elsewhere[name] = next(holders, frame.scope)
    return False


def _ends_block(run: Run, frame: Frame, node: ast.stmt) -> bool:
    return True


_HANDLERS: dict[type, Callable[..., bool]] = {
    ast.Expr: _expression,
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.Return: _return,
    ast.Raise: _ends_block,
    ast.Break: _leave_loop,
    ast.Continue: _leave_loop,
    ast.If: _if,
    ast.For: _for,
    ast.AsyncFor: _for,
    ast.While: _while,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.Try: _try,
    ast.TryStar: _try,
    ast.FunctionDef: define_function,
    ast.AsyncFunctionDef: define_function,
    DeferredFunction: define_function,
    DeferredAsyncFunction: define_function,
    ast.ClassDef: define_class,
    ast.Import: import_plain,
    ast.ImportFrom: import_from,
    ast.Match: _match,
    ast.Global: _global,
    ast.Nonlocal: _nonlocal,
}
