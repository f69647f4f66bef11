"""Hooks of modules: functions that see, and may replace, what a module is given and puts out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from softonce.checker.static.lattice import join, join_all, truth
from softonce.checker.static.objects import Function
from softonce.checker.static.values import (
    Cell,
    Choice,
    Const,
    Mapping,
    Partial,
    Sequence,
    Value,
)

if TYPE_CHECKING:
    import ast

    from softonce.checker.static.context import Args, Kwargs, Run
    from softonce.checker.static.frame import Frame

FORWARD, BEFORE = "register_forward_hook", "register_forward_pre_hook"
REGISTERS = frozenset({FORWARD, BEFORE})


@dataclass(slots=True, eq=False)
class Handle(Value):
    """What registering a hook returns: `remove` takes the hook off again, and so does `with`."""

    hooks: Sequence
    hook: Sequence


def register(run: Run, module: Value, way: str, args: Args, kwargs: Kwargs) -> Value:
    """Add the hook that a call of `module.register_forward_hook` is given."""
    hooks = run.hooks.opened(module, way)
    given = args[0] if args else kwargs.get("hook", Const(None))
    hook = Sequence([given, kwargs.get("with_kwargs", Const(False))])
    run.heap.write(hooks).items.append(hook)
    if isinstance(module, Cell):
        run.heap.write(module)  # calls of it are not what they were
    return Handle(hooks, hook)


def remove(run: Run, handle: Handle) -> None:
    """Take a hook off its module."""
    if handle.hook in handle.hooks.items:
        run.heap.write(handle.hooks).items.remove(handle.hook)


def given_to(
    run: Run, frame: Frame, module: Value, args: Args, kwargs: Kwargs, node: ast.expr
) -> Args:
    """Return the arguments of a module once its hooks have seen them."""
    hooks = run.hooks.of(module, BEFORE)
    for hook in hooks.items if hooks else ():
        made = _call(run, frame, hook, [module, Sequence(list(args))], kwargs, [], node)
        if made is None or (isinstance(made, Const) and made.value is None):
            continue
        new = made.items if isinstance(made, Sequence) and made.exact else [made, *args[1:]]
        is_certain = hooks is not None and hooks.exact and len(new) == len(args)
        args = list(new) if is_certain else [join(a, b) for a, b in zip(args, new, strict=False)]
    return args


def put_out(
    run: Run,
    frame: Frame,
    module: Value,
    args: Args,
    kwargs: Kwargs,
    output: Value,
    node: ast.expr,
) -> Value:
    """Return the output of a module once its hooks have seen it: what they return replaces it."""
    hooks = run.hooks.of(module, FORWARD)
    for hook in hooks.items if hooks else ():
        made = _call(run, frame, hook, [module, Sequence(list(args))], kwargs, [output], node)
        new = output if made is None else _replaced(output, made)
        output = new if hooks is not None and hooks.exact else join(output, new)
    return output


def _call(
    run: Run,
    frame: Frame,
    hook: Value,
    first: Args,
    kwargs: Kwargs,
    last: Args,
    node: ast.expr,
) -> Value | None:
    """Call one hook; None if nothing is known of it: most only look, and return None."""
    if not isinstance(hook, Sequence):
        return None
    function, with_kwargs = hook.items
    named: Args = [Mapping(dict(kwargs))] if truth(with_kwargs) else []
    if not isinstance(function, (Function, Partial, Choice)):
        return None
    return run.call(frame, function, [*first, *named, *last], {}, node)


def _replaced(output: Value, made: Value) -> Value:
    if isinstance(made, Choice):
        return join_all([_replaced(output, option) for option in made.options])
    return output if isinstance(made, Const) else made
