"""Attributes, items and entries: reading and storing them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from softonce.checker.kinds import Kind
from softonce.checker.static import options
from softonce.checker.static.lattice import (
    choice,
    int_of,
    join,
    join_all,
    join_present,
    mark_optional,
    options_of,
)
from softonce.checker.static.objects import (
    Class,
    Function,
    FunctionNode,
    Instance,
    Module,
    Super,
    decorator_names,
)
from softonce.checker.static.operations import apply, index_scores
from softonce.checker.static.values import (
    UNKNOWN,
    Backbone,
    Chain,
    Choice,
    Const,
    External,
    Later,
    Layer,
    Maker,
    Mapping,
    Method,
    Options,
    Partial,
    Scores,
    Sequence,
    Value,
)

if TYPE_CHECKING:
    import ast

    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame

_MODULES = (Instance, Layer, Chain, Backbone)
_PROPERTIES = frozenset({"data", "T", "mT"})
_HEAD_NAMES = frozenset(
    {"fc", "classifier", "head", "heads", "last_linear", "_fc", "output", "linear", "out"}
)
_DECORATED = frozenset({"property", "cached_property"})


def attribute(
    run: Run, frame: Frame, value: Value, name: str, node: ast.expr | None = None
) -> Value:
    """Return `value.name`."""
    if isinstance(value, External):
        return _external(run, frame, value, name)
    if isinstance(value, Module):
        return _of_module(run, value, name)
    if isinstance(value, Instance):
        return _of_instance(run, frame, value, name)
    if isinstance(value, Scores):
        if name not in _PROPERTIES or node is None:
            return Method(value, name)
        return apply(run, frame, name, [value], {}, node)
    if isinstance(value, Choice):
        return choice([attribute(run, frame, option, name, node) for option in options_of(value)])
    if isinstance(value, Class):
        return _of_class(value, name)
    if isinstance(value, Super):
        return _of_super(value, name)
    if isinstance(value, Options):
        known = options.read(run, value, name)
        return Method(value, name) if known is None else known
    return _of_object(value, name)


def _of_object(value: Value, name: str) -> Value:
    """Return an attribute of a container or of a module of torch."""
    if isinstance(value, Mapping) and name in value.items:
        return value.items[name]
    if isinstance(value, Sequence) and name in ("values", "indices", "logits", "data"):
        return value.items[name == "indices"] if len(value.items) > 1 else UNKNOWN
    if isinstance(value, Backbone) and name in _HEAD_NAMES:
        return value.attrs.get(name, value.head)
    if isinstance(value, (Chain, Backbone)) and name == "training":
        return UNKNOWN if value.training is None else Const(value.training)
    if isinstance(value, Layer) and name in value.settings:
        return value.settings[name]
    if isinstance(value, (Chain, Layer, Backbone)) and name in ("module", "_orig_mod"):
        return value
    return Method(value, name)


def _of_super(value: Super, name: str) -> Value:
    found = value.instance.cls.find(name, after=value.owner)
    if found is None:
        return Method(value, name)
    return Function(found[1], found[0].module, (), found[0], value.instance)


def _external(run: Run, frame: Frame, value: External, name: str) -> Value:
    dotted = f"{value.name}.{name}"
    if value.name.split(".")[0] not in run.libraries:
        found = run.project.resolve(dotted, frame.module)
        if found is not None:
            run.start(found)
            return found
    return External(dotted)


def _of_module(run: Run, module: Module, name: str) -> Value:
    run.start(module)
    if module.reads_options:
        run.read_option()
    if name in module.scope:
        value = module.scope[name]
        return value.now() if isinstance(value, Later) else value
    if name == "__dict__":
        known = {k: v for k, v in module.scope.items() if not isinstance(v, Later)}
        return Mapping(known, exact=False)
    if module.is_package:
        found = run.project.resolve(name, module, level=1)
        if found is not None:
            run.start(found)
            return found
    return UNKNOWN


def any_network(module: Module) -> Value:
    """Return a network of the module, unknown which: `getattr(module, name)`."""
    networks: list[Value] = [
        value
        for value in module.scope.values()
        if isinstance(value, Class) and value.module is module and value.find("forward")
    ]
    return choice(networks) if networks else UNKNOWN


def _of_class(cls: Class, name: str) -> Value:
    found = cls.find(name)
    if found is not None:
        bound = cls if decorator_names(found[1]) & {"classmethod"} else None
        return Function(found[1], found[0].module, (), found[0], bound)
    for each in cls.order():
        if name in each.scope:
            return each.scope[name]
    return Const(cls.name) if name == "__name__" else UNKNOWN


def _of_instance(run: Run, frame: Frame, value: Instance, name: str) -> Value:
    if name in value.attrs:
        return value.attrs[name]
    if name == "training":
        return UNKNOWN if value.training is None else Const(value.training)
    if name == "_modules":
        return Mapping({k: v for k, v in value.attrs.items() if isinstance(v, _MODULES)})
    wrapped = value.cls.find_wrapped(name)
    if wrapped is not None:
        return Partial(wrapped, [value], {})
    found = value.cls.find(name)
    if found is not None:
        return _method(run, frame, value, *found)
    for cls in value.cls.order():
        if name in cls.scope:
            return cls.scope[name]
    return _filled_in(run, frame, value, name)


def _filled_in(run: Run, frame: Frame, value: Instance, name: str) -> Value:
    """Return an attribute that a method sets which has not run yet, or that a base has."""
    if name not in value.filled:
        run.heap.note(value)
        value.filled.add(name)
        for cls, node in value.cls.stores(name):
            run.enter(Function(node, cls.module, (), cls, value))
            if name in value.attrs:
                return value.attrs[name]
    if value.base is not None:
        return attribute(run, frame, value.base, name)
    if name in _HEAD_NAMES and _is_torchvision(value.cls):
        maker = Maker(value.cls.module.source.place(value.cls.node.lineno, 1), "backbone")
        return Backbone(maker, Chain([]))
    return value if name in ("module", "_orig_mod") else Method(value, name)


def _is_torchvision(cls: Class) -> bool:
    return any(base.startswith("torchvision.models.") for base in cls.external_bases())


def _method(run: Run, frame: Frame, value: Instance, cls: Class, node: FunctionNode) -> Value:
    decorators = decorator_names(node)
    if "staticmethod" in decorators:
        return Function(node, cls.module, (), cls)
    function = Function(node, cls.module, (), cls, value)
    if decorators & _DECORATED:
        return run.call_function(frame, function, [], {})
    return function


def store(run: Run, frame: Frame, receiver: Value, name: str, value: Value) -> None:
    """Run `receiver.name = value`; of several receivers each may have kept what it had."""
    targets = options_of(receiver)
    for target in targets:
        setter = target.cls.find_setter(name) if isinstance(target, Instance) else None
        if setter is not None:
            cls, node = setter
            function = Function(node, cls.module, (), cls, target)
            run.call_function(frame, function, [value], {})
        elif isinstance(target, (Instance, Backbone)):
            old = target.attrs.get(name)
            new = value if len(targets) == 1 else join_present(old, value)
            if old is None or old != new:
                run.heap.write(target).attrs[name] = new
            if isinstance(target, Backbone) and name in _HEAD_NAMES:
                target.head = Chain([new])
        elif isinstance(target, Mapping):
            run.heap.write(target).items[name] = value
        elif isinstance(target, Chain) and name in target.names:
            run.heap.write(target).items[target.names.index(name)] = value


def store_item(run: Run, frame: Frame, receiver: Value, key: Value, value: Value) -> None:
    """Run `receiver[key] = value`."""
    if isinstance(receiver, Mapping):
        run.heap.write(receiver)
        name: Any = key.value if isinstance(key, Const) else ("any", "unknown")
        old = receiver.items.get(name) if not isinstance(key, Const) else None
        receiver.items[name] = value if old is None else join(old, value)
        receiver.exact = receiver.exact and isinstance(key, Const)
    elif isinstance(receiver, (Sequence, Chain)):
        run.heap.write(receiver)
        index = int_of(key)
        last = index in (-1, len(receiver.items) - 1)
        if isinstance(receiver, Sequence) and (index is None or not receiver.exact):
            receiver.items[:] = [join_all([*receiver.items, value])]
            receiver.exact = False
        elif index is not None and -len(receiver.items) <= index < len(receiver.items):
            receiver.items[index] = value
        elif index is not None and isinstance(receiver, Chain) and not last:
            # The head of a known backbone has more layers than are listed: this is its last.
            receiver.items[-1:] = [value]


def item(run: Run, frame: Frame, receiver: Value, key: Value, node: ast.expr) -> Value:
    """Return `receiver[key]`."""
    if isinstance(receiver, Scores):
        return index_scores(run, frame, receiver, key, node)
    if isinstance(receiver, Choice):
        return join_all([item(run, frame, o, key, node) for o in options_of(receiver)])
    if isinstance(receiver, Mapping):
        return _of_mapping(run, receiver, key)
    if isinstance(receiver, (Sequence, Chain)):
        return _of_sequence(receiver, key)
    if isinstance(receiver, Instance) and receiver.cls.is_named_tuple:
        return _of_sequence(Sequence(tuple_items(receiver)), key)
    if isinstance(receiver, Instance) and receiver.base is not None:
        return item(run, frame, receiver.base, key, node)
    if isinstance(receiver, External) and receiver.name.endswith(".models.__dict__"):
        return External("torchvision.models.any")
    return _of_text(receiver, key)


def _of_mapping(run: Run, receiver: Mapping, key: Value) -> Value:
    if isinstance(key, Const) and isinstance(receiver, Options):
        return options.read(run, receiver, str(key.value)) or UNKNOWN
    if not isinstance(key, Const) or not isinstance(key.value, Hashable):
        return _any_of(receiver)
    is_known = receiver.exact or key.value in receiver.items
    return receiver.items.get(key.value, UNKNOWN) if is_known else _any_of(receiver)


def _any_of(receiver: Mapping) -> Value:
    values = list(receiver.items.values())
    return mark_optional(join_all(values)) if values else UNKNOWN


def _of_text(receiver: Value, key: Value) -> Value:
    if not (isinstance(receiver, Const) and isinstance(key, Const)):
        return UNKNOWN
    if not isinstance(receiver.value, str):
        return UNKNOWN
    try:
        return Const(receiver.value[key.value])
    except (TypeError, IndexError, ValueError):
        return UNKNOWN


def _of_sequence(receiver: Sequence | Chain, key: Value) -> Value:
    exact = receiver.exact if isinstance(receiver, Sequence) else True
    if isinstance(key, Const) and isinstance(key.value, slice) and exact:
        items = receiver.items[key.value]
        return Chain(items) if isinstance(receiver, Chain) else Sequence(items)
    index = int_of(key)
    if index is not None and exact:
        in_range = -len(receiver.items) <= index < len(receiver.items)
        return receiver.items[index] if in_range else UNKNOWN
    if isinstance(key, (External, Const)):
        return Sequence(list(receiver.items), exact=False) if index is None else _any(receiver)
    return _any(receiver)


def _any(receiver: Sequence | Chain) -> Value:
    # Which entry it is, is no matter of a branch.
    return mark_optional(join_all(receiver.items))


def tuple_items(value: Instance) -> list[Value]:
    """Return the entries of a named tuple, in order."""
    defaults = value.cls.scope
    return [value.attrs.get(f, defaults.get(f, UNKNOWN)) for f in value.cls.fields()]


def entries(run: Run, value: Value) -> list[Value] | None:
    """Return the entries of an iterable if all are known, in order, else None."""
    if isinstance(value, Sequence) and value.exact:
        return list(value.items)
    if isinstance(value, Chain):
        return list(value.items)
    if isinstance(value, Mapping) and value.exact:
        return [Const(key) for key in value.items]
    if isinstance(value, Instance) and value.cls.is_named_tuple:
        return tuple_items(value)
    if isinstance(value, Instance) and value.base is not None:
        return entries(run, value.base)
    return None


def entry(run: Run, frame: Frame, value: Value) -> Value:
    """Return any entry of an iterable."""
    known = value.items if isinstance(value, Sequence) else entries(run, value)
    if known is not None:
        return mark_optional(join_all(known))
    if isinstance(value, Scores) and value.kind != Kind.OTHER:
        return value
    return UNKNOWN


def parts(run: Run, frame: Frame, value: Value, count: int, *, starred: bool) -> list[Value]:
    """Return what `a, b = value` binds."""
    known = entries(run, value)
    if known is not None and len(known) == count and not starred:
        return known
    if isinstance(value, Choice):
        columns = [
            parts(run, frame, option, count, starred=starred) for option in options_of(value)
        ]
        return [join_all(list(column)) for column in zip(*columns, strict=True)]
    if isinstance(value, Instance) and "__iter__" not in value.cls.methods:
        fields = list(value.attrs.values())
        return fields if len(fields) == count else [UNKNOWN] * count
    if known is not None and starred:
        return [*known[: count - 1], *[UNKNOWN] * count][:count]
    return [entry(run, frame, value)] * count


def entered(run: Run, frame: Frame, value: Value, node: ast.expr) -> Value:
    """Return what `with` gives to its name: what `__enter__` returns, or else the value."""
    if isinstance(value, Instance) and value.cls.find("__enter__"):
        method = attribute(run, frame, value, "__enter__", node)
        return run.call(frame, method, [], {}, node)
    return value
