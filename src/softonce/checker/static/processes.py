"""Functions that are handed to a process, a thread or a pool, which calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softonce.checker.static import attributes
from softonce.checker.static.objects import Function
from softonce.checker.static.values import UNKNOWN, Mapping, Method, Partial, Value

if TYPE_CHECKING:
    import ast

    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame

Args = list[Value]
Kwargs = dict[str, Value]

_TARGETS = frozenset({"Process", "Thread"})
# Launcher -> how many arguments it puts before the function's own: the rank of the process.
_LAUNCHERS = {"spawn": 1, "start_processes": 1, "notebook_launcher": 0}
_POOLS = frozenset({"submit", "apply_async", "run_in_executor"})
STARTERS = _TARGETS | _LAUNCHERS.keys() | _POOLS
_CALLABLE = (Function, Partial, Method)


def start(run: Run, frame: Frame, name: str, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    """Call the function that a process, a launcher or a pool is given; return its handle."""
    last = name.rpartition(".")[2]
    if last in _TARGETS:
        function = kwargs.get("target", args[1] if len(args) > 1 else UNKNOWN)
        _call(run, frame, function, [], kwargs, node)
    elif last in _LAUNCHERS:
        function = kwargs.get("fn", kwargs.get("function", args[0] if args else UNKNOWN))
        given = {"args": args[1], **kwargs} if len(args) > 1 else kwargs
        _call(run, frame, function, [UNKNOWN] * _LAUNCHERS[last], given, node)
    elif last == "apply_async" and len(args) > 1:
        _call(run, frame, args[0], [], {"args": args[1]}, node)
    elif last == "submit" and args:
        _call(run, frame, args[0], args[1:], {}, node)
    elif last == "run_in_executor" and len(args) > 1:
        _call(run, frame, args[1], args[2:], {}, node)
    return UNKNOWN


def _call(
    run: Run, frame: Frame, function: Value, first: Args, kwargs: Kwargs, node: ast.expr
) -> None:

    if not isinstance(function, _CALLABLE):
        return
    listed = kwargs.get("args")
    known = [] if listed is None else attributes.entries(run, listed)
    named = kwargs.get("kwargs")
    given: Kwargs = dict(named.items) if isinstance(named, Mapping) else {}
    if known is None:
        given["**"] = UNKNOWN
    run.call(frame, function, [*first, *(known or [])], given, node)
