"""Calls: functions and classes of the project, modules, losses, methods, other libraries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from softonce.checker.kinds import ROWS, SINKS, Kind
from softonce.checker.static import hooks, keras, libraries
from softonce.checker.static.externals import call_external
from softonce.checker.static.lattice import choice, join_all, mark_optional, options_of
from softonce.checker.static.methods import call_method
from softonce.checker.static.objects import Class, Function, Instance
from softonce.checker.static.operations import apply
from softonce.checker.static.values import (
    UNKNOWN,
    Backbone,
    Chain,
    Choice,
    External,
    Layer,
    Maker,
    Mapping,
    Method,
    Partial,
    Scores,
    Value,
    scores,
)

if TYPE_CHECKING:
    import ast

    from softonce.checker.findings import Place
    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame

MAX_PATH = 8
"""Calls that a finding names between the place where scores are made and where they go wrong."""
Args = list[Value]
Kwargs = dict[str, Value]


def call(
    run: Run, frame: Frame, callee: Value, args: Args, kwargs: Kwargs, node: ast.expr
) -> Value:
    """Return what the call gives."""
    if isinstance(callee, Function):
        return _handed_on(frame, _function(run, frame, callee, args, kwargs, node), node)
    if isinstance(callee, External):
        return call_external(run, frame, callee.name, args, kwargs, node)
    if isinstance(callee, Method):
        return call_method(run, frame, callee, args, kwargs, node)
    if isinstance(callee, (Layer, Chain, Backbone, Instance)):
        return call_module(run, frame, callee, args, kwargs, node)
    if isinstance(callee, Class):
        made = run.instantiate(frame, callee, args, kwargs)
        libraries.pair_subclass(run, frame, callee, made, args, kwargs, node)
        return made
    if isinstance(callee, Partial):
        return call(
            run, frame, callee.function, [*callee.args, *args], {**callee.kwargs, **kwargs}, node
        )
    if isinstance(callee, Choice):
        return _choice(run, frame, callee, args, kwargs, node)
    if len(args) > 1 and isinstance(args[0], Scores) and args[0].known:
        # It may be another loss.
        run.rules.train_on("unknown", args[0], frame.place(node))
    return UNKNOWN


def _choice(
    run: Run, frame: Frame, callee: Choice, args: Args, kwargs: Kwargs, node: ast.expr
) -> Value:
    """Call each; losses among the options are a matter of settings, and are only seen together."""
    options = options_of(callee)
    losses = [o for o in options if isinstance(o, Layer) and o.op in SINKS]
    if losses and len(losses) == len(options):
        run.losses.check_choice(frame, losses, args, kwargs, node)
        return UNKNOWN
    results = [call(run, frame, o, args, kwargs, node) for o in options if o not in losses]
    are_objects = all(isinstance(r, (Instance, Layer, Chain, Backbone)) for r in results)
    if are_objects and results:
        return choice(results)
    # Which network is trained is one matter, which last layer a network was given another.
    joined = join_all(results)
    return mark_optional(joined) if any(isinstance(o, Layer) for o in options) else joined


def _function(
    run: Run, frame: Frame, callee: Function, args: Args, kwargs: Kwargs, node: ast.expr
) -> Value:
    if is_operation(callee):
        return apply(run, frame, getattr(callee.node, "name", ""), args, kwargs, node)
    return run.call_function(frame, callee, args, kwargs)


def is_operation(function: Function) -> bool:
    """Return whether a function of softonce itself is an operation or a loss of the table."""
    name = getattr(function.node, "name", "")
    return name in ROWS.keys() | SINKS.keys() and "softonce/losses/" in function.module.path


def _handed_on(frame: Frame, value: Value, node: ast.expr) -> Value:
    """Note that scores came out of a call: a line of the way that a finding shows."""
    if not isinstance(value, Scores) or not value.makers:
        return value
    place, tests = frame.place(node), frame.tests
    makers = tuple((bit, _through(m, place, tests)) for bit, m in value.makers)
    return replace(value, makers=makers)


def _through(maker: Maker, place: Place, tests: frozenset[ast.expr]) -> Maker:
    path = maker.path if len(maker.path) >= MAX_PATH else (*maker.path, place)
    return maker._replace(path=path, tests=maker.tests | tests)


def call_module(
    run: Run, frame: Frame, module: Value, args: Args, kwargs: Kwargs, node: ast.expr
) -> Value:
    """Return what a module, and the hooks on it, make of its input."""
    args = hooks.given_to(run, frame, module, args, kwargs, node)
    output = _forward(run, frame, module, args, kwargs, node)
    return hooks.put_out(run, frame, module, args, kwargs, output, node)


def _forward(
    run: Run, frame: Frame, module: Value, args: Args, kwargs: Kwargs, node: ast.expr
) -> Value:
    if isinstance(module, Layer) and keras.is_loss(module):
        return keras.call_loss(run, frame, module, args, kwargs, node)
    if isinstance(module, Layer):
        before, frame.tests = frame.tests, frame.tests | module.maker.tests
        made = apply(run, frame, module.op, args, kwargs, node, module.settings)
        frame.tests = before
        return made
    if isinstance(module, Chain):
        return call_chain(run, frame, module, args, node)
    if isinstance(module, Backbone):
        return call_backbone(run, frame, module, node)
    if not isinstance(module, Instance):
        return UNKNOWN
    for name in ("forward", "__call__", "call"):
        wrapped = module.cls.find_wrapped(name)
        if wrapped is not None:
            return call(run, frame, wrapped, [module, *args], kwargs, node)
        found = module.cls.find(name)
        if found is not None:
            function = Function(found[1], found[0].module, (), found[0], module)
            return _handed_on(frame, run.call_function(frame, function, args, kwargs), node)
    if module.base is not None:
        return call(run, frame, module.base, args, kwargs, node)
    return UNKNOWN


def call_chain(run: Run, frame: Frame, chain: Chain, args: Args, node: ast.expr) -> Value:
    """Apply one module after the other; what a layer makes is attributed to its own line."""
    value: Value = args[0] if args else UNKNOWN
    for item in chain.items:
        value = call(run, frame, item, [value], {}, node)
        if isinstance(item, Layer) and isinstance(value, Scores):
            value = run.attributed(value, node, item.maker, frame)
    return value


def call_backbone(run: Run, frame: Frame, module: Backbone, node: ast.expr) -> Value:
    """Return raw scores, or what the replaced head makes."""
    if module.output == "fixed":
        return module.attrs["value"]
    dim, rank = (1, 4) if module.output == "image" else (-1, 2)
    raw = scores(Kind.LOGITS, module.maker, dim=dim, rank=rank, num_classes=module.num_classes)
    start = UNKNOWN if module.attrs else raw
    result = call_chain(run, frame, module.head, [start], node) if module.head.items else raw
    if module.output == "mapping":
        return Mapping({"logits": result, "loss": UNKNOWN}, exact=False)
    if module.output == "segmentation":
        return Mapping({"out": result}, exact=False)
    return result
