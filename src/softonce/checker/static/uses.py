"""Where the value of a name goes: whether a repair of its binding changes what one call gets only.

Each read of the name is followed backwards, from its statement through the blocks around it, to the
assignment that it certainly sees. It cannot see the binding if that is another one, and if nothing
on the way, a loop's next turn included, can have run the binding meanwhile.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)


class _Place(NamedTuple):
    """Where a statement stands: in which block of which node, and what comes before it there."""

    parent: ast.AST
    field: str
    block: list[ast.stmt]
    position: int


def is_sole_use(call: ast.Call, made: ast.expr, function: ast.AST | None) -> bool:
    """Return whether what is made goes to the call and nowhere else.

    It stands in the call itself, or under a name that no other read of the function sees so.

    Args:
        call: takes the value, as its first argument, as `input`, or as the object of a method.
        made: the expression whose value it is.
        function: in which both are; None outside of functions, where other modules may read names.
    """
    given = [*call.args[:1], *(k.value for k in call.keywords if k.arg == "input")]
    if not given and isinstance(call.func, ast.Attribute):
        given = [call.func.value]
    if any(value is made for value in given):
        return True
    names = [value for value in given if isinstance(value, ast.Name)]
    if function is None or len(names) != 1 or _escapes(function, names[0].id):
        return False
    binding = _binding(function, names[0].id, made)
    if binding is None:
        return False
    places = dict(_places(function, function))
    return all(
        read is names[0] or not _may_see(statement, names[0].id, binding, places)
        for statement in places
        for read in _reads(statement, names[0].id)
    )


def _escapes(function: ast.AST, name: str) -> bool:
    """Return whether an inner scope, or one around the function, may read the name."""
    for node in ast.walk(function):
        if isinstance(node, (ast.Global, ast.Nonlocal)) and name in node.names:
            return True
        if (
            isinstance(node, _SCOPES)
            and node is not function
            and any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(node))
        ):
            return True
    return False


def _binding(function: ast.AST, name: str, made: ast.expr) -> ast.stmt | None:
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and node.value is made:
            return node if _assigns(node, name) else None
    return None


def _assigns(statement: ast.stmt, name: str) -> bool:
    """Return whether the statement does nothing but give the name a new value."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return False
    target = statement.targets[0]
    return isinstance(target, ast.Name) and target.id == name


def _places(node: ast.AST, owner: ast.AST) -> Iterator[tuple[ast.stmt, _Place]]:
    """Yield every statement below a node with its place in the statement that owns the node."""
    for field, value in ast.iter_fields(node):
        for index, child in enumerate(value if isinstance(value, list) else []):
            if isinstance(child, ast.stmt):
                yield child, _Place(owner, field, value, index)
                yield from _places(child, child)
            elif isinstance(child, (ast.excepthandler, ast.match_case)):
                yield from _places(child, owner)


def _reads(statement: ast.stmt, name: str) -> Iterator[ast.Name]:
    """Yield the reads of a name by a statement itself, without those by the blocks in it."""
    target = statement.target if isinstance(statement, ast.AugAssign) else None
    if isinstance(target, ast.Name) and target.id == name:
        yield target
    pending: list[ast.AST] = [statement]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Store):
            yield node
        pending += [c for c in ast.iter_child_nodes(node) if not isinstance(c, ast.stmt)]


def _may_see(
    statement: ast.stmt, name: str, binding: ast.stmt, places: dict[ast.stmt, _Place]
) -> bool:
    """Return whether a read by the statement may see what the binding made."""
    if statement is not binding and _contains(statement, binding):
        return True
    node: ast.AST = statement
    while isinstance(node, ast.stmt) and node in places:
        place = places[node]
        for sibling in reversed(place.block[: place.position]):
            if _assigns(sibling, name):
                return sibling is binding
            if _contains(sibling, binding):
                return True
        node = place.parent
        is_body_of_loop = isinstance(node, _LOOPS) and place.field == "body"
        if is_body_of_loop and _is_target(node, name):
            return False
        if isinstance(node, (*_LOOPS, ast.Try, ast.TryStar)) and _contains(node, binding):
            return True  # seen by the loop's next turn, or by `except`, `else` and `finally`
    return False


def _is_target(loop: ast.AST, name: str) -> bool:
    """Return whether every turn of a loop gives the name a new value."""
    target = getattr(loop, "target", ast.Pass())
    return any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(target))


def _contains(node: ast.AST, other: ast.AST) -> bool:
    return any(each is other for each in ast.walk(node))


def find_rebinding(function: ast.AST | None, made: ast.expr, operand: ast.expr) -> ast.stmt | None:
    """Return the statement `x = softmax(x)` if it is one and its block holds others, else None."""
    if function is None or not isinstance(operand, ast.Name):
        return None
    found = _binding(function, operand.id, made)
    return found if found and len(dict(_places(function, function))[found].block) > 1 else None
