"""Methods of tensors, containers and modules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from softonce.checker.kinds import JOINS, METHODS, ROWS, Kind
from softonce.checker.names import canonical
from softonce.checker.static import attributes, hooks, jax, options, processes
from softonce.checker.static.lattice import choice, int_of
from softonce.checker.static.libraries import PREPARERS, call_fit, prepared
from softonce.checker.static.objects import Instance, Super
from softonce.checker.static.operations import apply
from softonce.checker.static.values import (
    UNKNOWN,
    Backbone,
    Chain,
    Const,
    Layer,
    Mapping,
    Method,
    Options,
    Scores,
    Sequence,
    Value,
)

if TYPE_CHECKING:
    import ast

    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame

_OF_THE_UNKNOWN = METHODS | {"exp", "log", "sub", "div"}
"""What is applied to an object that nothing is known of.

A softmax and its logarithm may be written out, and probabilities that were divided by a temperature
are unknown, but a logarithm of them is a finding.
"""
_SHAPE_SYNONYMS = {"resize": "reshape", "resize_": "reshape", "astype": "to", "tolist": "to"}
_PASSING = frozenset({"item"})
_ENTERING = frozenset({"enter_context", "enter_async_context"})
"""The methods of `contextlib.ExitStack` that are what `with` does."""
_TEXT_METHODS = frozenset(
    {
        "lower", "upper", "strip", "lstrip", "rstrip", "startswith", "endswith", "replace",
        "split", "rsplit", "find", "rfind", "capitalize", "title",
    }
)  # fmt: skip
_SAME_MODULE = frozenset(
    {
        "to", "cuda", "cpu", "half", "float", "double", "apply", "requires_grad_", "bfloat16",
        "share_memory", "to_empty", "type", "xpu", "mps",
    }
)  # fmt: skip


def call_method(
    run: Run,
    frame: Frame,
    method: Method,
    args: list[Value],
    kwargs: dict[str, Value],
    node: ast.expr,
) -> Value:
    """Return what the method of something that is no object of the project gives."""
    receiver, name = method.receiver, method.name
    if isinstance(receiver, Scores):
        return _of_tensor(run, frame, receiver, name, args, kwargs, node)
    if isinstance(receiver, (Instance, Layer, Chain, Backbone)):
        return _of_module(run, frame, receiver, name, args, kwargs, node)
    if isinstance(receiver, Super):
        return _of_super(run, frame, receiver, name, args, kwargs, node)
    if isinstance(receiver, Sequence):
        return _of_sequence(run, receiver, name, args)
    if isinstance(receiver, Options) and name not in ("get", "items", "keys", "values", "pop"):
        return options.call(run, receiver, name, args, kwargs)
    if isinstance(receiver, Mapping):
        return _of_mapping(run, receiver, name, args)
    if isinstance(receiver, hooks.Handle) and name == "remove":
        hooks.remove(run, receiver)
        return UNKNOWN
    if isinstance(receiver, Const) and isinstance(receiver.value, str) and name in _TEXT_METHODS:
        return _of_text(receiver.value, name, args)
    return UNKNOWN


def _of_text(text: str, name: str, args: list[Value]) -> Value:
    """Return what a method of a known string gives, such as `args.loss.lower()`."""
    if not all(isinstance(arg, Const) for arg in args):
        return UNKNOWN
    try:
        made = getattr(text, name)(*(arg.value for arg in args if isinstance(arg, Const)))
    except (TypeError, ValueError, IndexError):
        return UNKNOWN
    return Sequence([Const(part) for part in made]) if isinstance(made, list) else Const(made)


def _of_tensor(
    run: Run,
    frame: Frame,
    tensor: Scores,
    name: str,
    args: list[Value],
    kwargs: dict[str, Value],
    node: ast.expr,
) -> Value:
    if name in _SHAPE_SYNONYMS:
        return apply(run, frame, _SHAPE_SYNONYMS[name], [tensor, *args], kwargs, node)
    op = canonical(name)
    if tensor.kind == Kind.OTHER and name in _ENTERING and args:
        if isinstance(args[0], hooks.Handle):
            hooks.remove(run, args[0])  # when the stack ends is not followed
        return attributes.entered(run, frame, args[0], node)
    if tensor.kind == Kind.OTHER and name in processes.STARTERS:
        return processes.start(run, frame, name, args, kwargs, node)
    if tensor.kind == Kind.OTHER and op not in _OF_THE_UNKNOWN and not tensor.exponent:
        wrapped = prepared(args, kwargs) if name in PREPARERS else None
        return wrapped or _of_unknown(tensor, op, args or list(kwargs.values()))
    if op in ROWS or op in ("add", "sub", "mul", "div", "matmul") or op in JOINS:
        return apply(run, frame, op, [tensor, *args], kwargs, node)
    return tensor if name in _PASSING else UNKNOWN


def _of_unknown(tensor: Scores, op: str, args: list[Value]) -> Value:
    """Keep what is remembered of an unknown tensor: a temperature, the number of its axes."""
    if op in ("view", "reshape") and len(args) > 1:
        return replace(UNKNOWN, rank=len(args), tempered=tensor.tempered)
    if op == "flatten" and args and int_of(args[0]) == 1:
        return replace(UNKNOWN, rank=2, tempered=tensor.tempered)
    row = ROWS.get(op)
    remembered = tensor.blank or tensor.tempered
    return tensor if remembered and row is not None and len(row.out) == len(Kind) else UNKNOWN


def _of_module(
    run: Run,
    frame: Frame,
    module: Value,
    name: str,
    args: list[Value],
    kwargs: dict[str, Value],
    node: ast.expr,
) -> Value:

    if name in ("train", "eval"):
        on = name == "train" and not (args and isinstance(args[0], Const) and not args[0].value)
        unknown = bool(args) and not isinstance(args[0], Const)
        set_mode(run, module, None if unknown else on)
        return module
    if name == "apply" and len(args) > 1:  # torch's own takes a function and nothing else
        return jax.call_apply(run, frame, module, args, kwargs, node)
    if name in ("forward", "__call__"):
        return run.call(frame, module, args, kwargs, node)
    if name in hooks.REGISTERS:
        return hooks.register(run, module, name, args, kwargs)
    if name == "compile":
        return call_fit(run, frame, module, args, kwargs, node)
    return module if name in _SAME_MODULE else _of_parts(run, module, name, args, kwargs)


def _of_parts(
    run: Run, module: Value, name: str, args: list[Value], kwargs: dict[str, Value]
) -> Value:
    """Return what a method gives that lists or changes what a module holds."""
    if name == "add_module" and len(args) > 1 and isinstance(args[0], Const):
        _add_module(run, module, str(args[0].value), args[1])
    elif name in ("append", "add") and isinstance(module, Chain) and args:
        run.heap.write(module).items.append(args[0])
    elif name in ("children", "modules"):
        return _children(module)
    elif name in ("_replace", "_asdict") and isinstance(module, Instance):
        fields = module.attrs | kwargs
        return Instance(module.cls, fields) if name == "_replace" else Mapping(fields)
    return UNKNOWN


def set_mode(run: Run, module: Value, training: bool | None) -> None:
    """Switch a module and those in it to train or eval mode."""
    if not isinstance(module, (Instance, Chain, Backbone)):
        return
    if module.training is not training:
        run.heap.write(module).training = training
    if isinstance(module, Instance):
        children = list(module.attrs.values())
    else:
        children = module.items if isinstance(module, Chain) else []
    for child in children:
        if isinstance(child, (Instance, Chain, Backbone)) and child.training is not training:
            set_mode(run, child, training)


def _add_module(run: Run, module: Value, name: str, child: Value) -> None:
    if isinstance(module, Instance):
        run.heap.write(module).attrs[name] = child
        if isinstance(module.base, Chain):
            run.heap.write(module.base).items.append(child)
    elif isinstance(module, Chain):
        run.heap.write(module).items.append(child)
        module.names.append(name)
    elif isinstance(module, Backbone):
        run.heap.write(module).head = Chain([*module.head.items, child])


def _children(module: Value) -> Value:
    if isinstance(module, Chain):
        return Sequence(list(module.items))
    if isinstance(module, Instance):
        modules = (Instance, Layer, Chain, Backbone)
        return Sequence([v for v in module.attrs.values() if isinstance(v, modules)])
    return UNKNOWN


def _of_super(
    run: Run,
    frame: Frame,
    receiver: Super,
    name: str,
    args: list[Value],
    kwargs: dict[str, Value],
    node: ast.expr,
) -> Value:
    """Run a method of a base outside of the project: the constructor makes the base's own part."""
    instance = receiver.instance
    if name == "__init__":
        for base in instance.cls.external_bases():
            made = run.call_external(frame, base, args, kwargs, node)
            if isinstance(made, (Layer, Chain, Sequence, Mapping, Backbone)):
                run.heap.write(instance).base = made
        return Const(None)
    if name in ("forward", "__call__") and instance.base is not None:
        return run.call(frame, instance.base, args, kwargs, node)
    return _of_module(run, frame, instance, name, args, kwargs, node)


def _of_sequence(run: Run, receiver: Sequence, name: str, args: list[Value]) -> Value:
    if name in ("append", "insert", "add") and args:
        items = run.heap.write(receiver).items
        items.append(args[-1]) if name != "insert" else items.insert(0, args[-1])
    elif name == "extend" and args and isinstance(args[0], Sequence):
        run.heap.write(receiver).items.extend(args[0].items)
        receiver.exact = receiver.exact and args[0].exact
    elif name == "pop":
        known = receiver.exact and receiver.items
        return run.heap.write(receiver).items.pop() if known else UNKNOWN
    elif name in ("copy", "to_tuple"):
        return Sequence(list(receiver.items), receiver.exact)
    elif name in ("to", "cuda", "cpu"):
        return receiver
    return UNKNOWN


def _of_mapping(run: Run, receiver: Mapping, name: str, args: list[Value]) -> Value:
    if name in ("get", "pop"):
        return _taken(run, receiver, name, args)
    values = list(receiver.items.values())
    if name == "values":
        return Sequence(values, receiver.exact)
    if name == "items":
        pairs = [Sequence([Const(k), v]) for k, v in receiver.items.items()]
        return Sequence(list(pairs), receiver.exact)
    if name == "keys":
        return Sequence([Const(k) for k in receiver.items], receiver.exact)
    if name == "update" and args and isinstance(args[0], Mapping):
        run.heap.write(receiver).items.update(args[0].items)
        receiver.exact = receiver.exact and args[0].exact
    elif name == "to":
        return receiver
    elif name in ("copy", "deepcopy"):
        return Mapping(dict(receiver.items), receiver.exact)
    elif name == "to_tuple":
        return Sequence(values, receiver.exact)
    return UNKNOWN


def _taken(run: Run, receiver: Mapping, name: str, args: list[Value]) -> Value:
    """Return what `get` or `pop` finds; under an unknown key that is any entry, or the default."""
    key = args[0] if args else UNKNOWN
    if isinstance(key, Const) and key.value in receiver.items:
        held = receiver.items[key.value]
        if name == "pop":
            del run.heap.write(receiver).items[key.value]
        return held
    default = [Const(None)] if name == "get" and len(args) < 2 else args[1:]
    return choice([*receiver.items.values(), *default]) if receiver.items else UNKNOWN
