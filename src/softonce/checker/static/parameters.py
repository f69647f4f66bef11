"""What the parameters of a function hold: arguments, defaults, or what the annotation says."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from softonce.checker.kinds import SINKS, Kind
from softonce.checker.names import MODULES
from softonce.checker.static import jax, options
from softonce.checker.static.expressions import evaluate
from softonce.checker.static.externals import call_external
from softonce.checker.static.objects import Class, Function
from softonce.checker.static.values import (
    UNKNOWN,
    Backbone,
    Chain,
    Const,
    External,
    Maker,
    Mapping,
    Sequence,
    Value,
    scores,
)

if TYPE_CHECKING:
    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame


def bind_parameters(
    run: Run,
    frame: Frame,
    function: Function,
    args: list[Value],
    kwargs: dict[str, Value],
    *,
    entered: bool,
) -> None:
    """Give the parameters their values: arguments, defaults, or what the annotation says."""
    spec = function.node.args
    names = [*spec.posonlyargs, *spec.args]
    loose = entered or "**" in kwargs
    for parameter, value in zip(names, args, strict=False):
        frame.scope[parameter.arg] = value
    if spec.vararg is not None:
        frame.scope[spec.vararg.arg] = Sequence(args[len(names) :], exact=not loose)
    defaults = dict(
        zip(
            [p.arg for p in names][len(names) - len(spec.defaults) :],
            spec.defaults,
            strict=True,
        )
    )
    defaults |= {
        p.arg: d for p, d in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if d is not None
    }
    rest = dict(kwargs)
    for parameter in [*names, *spec.kwonlyargs]:
        name = parameter.arg
        if name in rest:
            frame.scope[name] = rest.pop(name)
        elif name not in frame.scope:
            frame.scope[name] = _default(run, frame, function, parameter, defaults, loose=loose)
        _declare(frame, parameter)
    if spec.kwarg is not None:
        exact = "**" not in rest and not entered
        rest.pop("**", None)
        frame.scope[spec.kwarg.arg] = Mapping(rest, exact)


def _default(
    run: Run,
    frame: Frame,
    function: Function,
    parameter: ast.arg,
    defaults: dict[str, ast.expr],
    *,
    loose: bool,
) -> Value:
    default = defaults.get(parameter.arg)
    annotated = _annotated(run, frame, parameter)
    if default is None:
        option = options.of_decorator(function.node, parameter.arg)
        if option is not None:
            run.read_option()
            return option if run.assumes_defaults else UNKNOWN
        is_first = function.owner is not None and parameter.arg == "model"
        if is_first and getattr(function.node, "name", "") == "compute_loss":
            maker = Maker(frame.place(function.node), "backbone")
            return Backbone(maker, Chain([]), "mapping")
        return annotated
    value = evaluate(run, frame, default)
    # Somebody may pass another number or flag; a loss by default is what is meant to be used.
    return annotated if loose and isinstance(value, Const) else value


def _annotated(run: Run, frame: Frame, parameter: ast.arg) -> Value:
    """Return an object of the class that the annotation names: the project's, or a loss."""
    note = _named_in(parameter.annotation)
    if note is None:
        return UNKNOWN
    named = evaluate(run, frame, note)
    if isinstance(named, Class) and (named.find("forward") or jax.is_network(named)):
        return run.some_instance(named)
    is_loss = isinstance(named, External) and MODULES.get(named.name.rpartition(".")[2]) in SINKS
    if is_loss and isinstance(named, External) and named.name.startswith("torch.nn"):
        return call_external(run, frame, named.name, [], {}, note)
    return UNKNOWN


def _named_in(note: ast.expr | None) -> ast.expr | None:
    """Return the class that an annotation names: `Net`, `"Net"`, `Net | None`, `Optional[Net]`."""
    if isinstance(note, ast.Constant) and isinstance(note.value, str):
        try:
            quoted = ast.parse(note.value, mode="eval").body
        except (SyntaxError, ValueError):
            return None
        named = _named_in(quoted)
        return None if named is None else ast.copy_location(named, note)
    if isinstance(note, ast.BinOp):
        return _named_in(note.left)
    if isinstance(note, ast.Subscript):
        is_optional = getattr(note.value, "attr", getattr(note.value, "id", "")) == "Optional"
        return _named_in(note.slice) if is_optional else None
    return note if isinstance(note, (ast.Name, ast.Attribute)) else None


def _declare(frame: Frame, parameter: ast.arg) -> None:
    """Take an annotation called Logits as a declaration of raw scores."""
    note = parameter.annotation
    name = getattr(note, "attr", getattr(note, "id", ""))
    if name == "Logits" and frame.scope[parameter.arg] == UNKNOWN and note is not None:
        maker = Maker(frame.place(note), "declared")
        frame.scope[parameter.arg] = scores(Kind.LOGITS, maker, dim=-1)
