"""Python's own functions: builtins, `partial`, `import_module`, parsers of options."""

from __future__ import annotations

import ast
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

from softonce.checker.kinds import Kind
from softonce.checker.static import attributes, options, processes
from softonce.checker.static.lattice import as_scores, int_of, join_all, truth
from softonce.checker.static.objects import Class, Module, Super
from softonce.checker.static.operations import apply
from softonce.checker.static.values import (
    UNKNOWN,
    Const,
    External,
    Mapping,
    Partial,
    Scores,
    Sequence,
    Total,
    Value,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame

Args = list[Value]
Kwargs = dict[str, Value]

MAX_ITEMS = 16
"""Entries of a list that are made one by one; longer ones are a list of unknown length."""
_DICTS = frozenset({"OrderedDict", "defaultdict", "Munch"})


def call_standard(
    run: Run, frame: Frame, name: str, args: Args, kwargs: Kwargs, node: ast.expr
) -> Value | None:
    """Return what a function of Python itself gives; None if the name is no such function."""
    home, _, last = name.rpartition(".")
    if home == "builtins":
        handler = _BUILTINS.get(last)
        return UNKNOWN if handler is None else handler(run, frame, args, kwargs, node)
    if name == "importlib.import_module" and args:
        return _import_module(run, frame, [getattr(arg, "value", None) for arg in args])
    if name == "functools.partial" and args:
        return Partial(args[0], args[1:], kwargs)
    if name == "functools.reduce" and len(args) > 1:
        return _reduce(run, frame, args, node)
    if name in ("collections.namedtuple", "typing.NamedTuple") and args:
        return _named_tuple(run, frame, args)
    if last in processes.STARTERS:
        return processes.start(run, frame, name, args, kwargs, node)
    if home and options.is_maker(name):
        return options.make(args, kwargs)
    if home and last in _DICTS:
        return _dict(run, frame, args, kwargs, node)
    return None


def _named_tuple(run: Run, frame: Frame, args: Args) -> Value:
    """Return the class that `namedtuple("Name", "field other")` makes."""
    given = args[1] if len(args) > 1 else UNKNOWN
    if isinstance(given, Const) and isinstance(given.value, str):
        fields: list[object] = [*given.value.replace(",", " ").split()]
    else:
        pairs = [
            attributes.entries(run, item) or [item] for item in attributes.entries(run, given) or ()
        ]
        fields = [getattr(pair[0], "value", None) for pair in pairs]
    name = getattr(args[0], "value", None)
    names = [str(field) for field in (name, *fields)]
    if len(names) < 2 or not all(n.isidentifier() and not iskeyword(n) for n in names):
        return UNKNOWN
    text = f"class {names[0]}:\n" + "".join(f"    {field}: object\n" for field in names[1:])
    definition = ast.parse(text).body[0]
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 - the text is ours
    return Class(names[0], frame.module, definition, [External("typing.NamedTuple")])


def _reduce(run: Run, frame: Frame, args: Args, node: ast.expr) -> Value:
    if isinstance(args[0], External) and args[0].name in ("torch.add", "operator.add"):
        total = _sum(run, frame, args[1:], {}, node)
        if isinstance(total, Total):
            return total
    known = attributes.entries(run, args[1])
    items = known if known is not None else [attributes.entry(run, frame, args[1])]
    if len(args) < 3 and not items:
        return UNKNOWN
    result, *rest = items if len(args) < 3 else [args[2], *items]
    for item in rest[:MAX_ITEMS]:
        result = run.call(frame, args[0], [result, item], {}, node)
    return result if len(rest) <= MAX_ITEMS else UNKNOWN


def _import_module(run: Run, frame: Frame, names: list[object]) -> Value:
    """Return the module of a name that is written there, with its package if it is relative."""
    name, package = names[0], names[1] if len(names) > 1 else None
    if not isinstance(name, str):
        return UNKNOWN
    dotted = name.lstrip(".")
    level = len(name) - len(dotted)
    if level == 1 and isinstance(package, str):
        dotted, level = f"{package}.{dotted}", 0
    found = run.project.resolve(dotted, frame.module, level)
    if found is None:
        return External(dotted)
    run.start(found)
    return found


def _super(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    if frame.self_value is None or frame.owner is None:
        return UNKNOWN
    return Super(frame.self_value, frame.owner)


def _list(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    if not args:
        return Sequence([])
    known = attributes.entries(run, args[0])
    if known is not None:
        return Sequence(known)
    return Sequence([attributes.entry(run, frame, args[0])], exact=False)


def _reversed(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    known = attributes.entries(run, args[0]) if args else None
    return Sequence(known[::-1]) if known is not None else _list(run, frame, args, kwargs, node)


def _dict(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    if args and isinstance(args[0], Mapping):
        return Mapping({**args[0].items, **kwargs}, args[0].exact)
    pairs = attributes.entries(run, args[0]) if args else []
    items: dict[Any, Value] = {}
    for pair in pairs or ():
        if isinstance(pair, Sequence) and len(pair.items) == 2 and isinstance(pair.items[0], Const):
            items[pair.items[0].value] = pair.items[1]
    exact = pairs is not None and len(items) == len(pairs)
    return Mapping(items | kwargs, exact)


def _zip(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    known = [attributes.entries(run, arg) for arg in args]
    if args and all(items is not None for items in known):
        rows = zip(*[items or [] for items in known], strict=False)
        return Sequence([Sequence(list(row)) for row in rows])
    return Sequence([Sequence([attributes.entry(run, frame, a) for a in args])], exact=False)


def _enumerate(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    known = attributes.entries(run, args[0]) if args else None
    if known is not None:
        return Sequence([Sequence([Const(i), item]) for i, item in enumerate(known)])
    item = attributes.entry(run, frame, args[0]) if args else UNKNOWN
    return Sequence([Sequence([UNKNOWN, item])], exact=False)


def _map(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:

    if len(args) < 2:
        return UNKNOWN
    known = attributes.entries(run, args[1])
    items = known if known is not None else [attributes.entry(run, frame, args[1])]
    results = [run.call(frame, args[0], [item], {}, node) for item in items[:16]]
    return Sequence(results, exact=known is not None and len(known) <= 16)


def _getattr(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    if len(args) > 1 and isinstance(args[1], Const) and isinstance(args[1].value, str):
        return attributes.attribute(run, frame, args[0], args[1].value, node)
    if args and isinstance(args[0], External) and args[0].name == "torchvision.models":
        return External("torchvision.models.any")
    if args and isinstance(args[0], Module):
        return attributes.any_network(args[0])
    return UNKNOWN


def _setattr(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    if len(args) > 2 and isinstance(args[1], Const) and isinstance(args[1].value, str):
        attributes.store(run, frame, args[0], args[1].value, args[2])
    return Const(None)


def _len(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    known = attributes.entries(run, args[0]) if args else None
    return UNKNOWN if known is None else Const(len(known))


def _range(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    bounds = [int_of(arg) for arg in args]
    if bounds and None not in bounds and bounds[-1] != 0:
        numbers = range(*[b for b in bounds if b is not None])
        if len(numbers) <= 16:
            return Sequence([Const(i) for i in numbers])
    return Sequence([UNKNOWN], exact=False)


def _sum(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    """Return the sum of a list of scores; the rows of a tensor are another matter."""
    listed = args[0] if len(args) == 1 and not kwargs else None
    item = as_scores(join_all(listed.items)) if isinstance(listed, Sequence) else UNKNOWN
    if not isinstance(listed, Sequence) or item.kind not in (Kind.P, Kind.BP, Kind.LOGITS):
        return UNKNOWN
    return Total(item, len(listed.items) if listed.exact else None)


def _number(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    return args[0] if args and int_of(args[0]) is not None else UNKNOWN


def _globals(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    return attributes.attribute(run, frame, frame.module, "__dict__", node)


def _eval(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    """Return what a dotted name means; other texts are not followed."""
    text = args[0].value if args and isinstance(args[0], Const) else None
    if not isinstance(text, str) or not all(map(str.isidentifier, text.split("."))):
        return UNKNOWN
    first, *rest = text.split(".")
    value = frame.lookup(first)
    for name in rest:
        value = attributes.attribute(run, frame, value, name, node)
    return value


def _vars(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    return args[0] if args and isinstance(args[0], Mapping) else UNKNOWN


def _bool(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    known = truth(args[0]) if args else False
    return UNKNOWN if known is None else Const(known)


def _round(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    tensor = isinstance(args[0], Scores) and args[0].kind != Kind.OTHER if args else False
    return apply(run, frame, "round", args, kwargs, node) if tensor else UNKNOWN


_BUILTINS: dict[str, Callable[..., Value]] = {
    "super": _super,
    "list": _list,
    "tuple": _list,
    "set": _list,
    "sorted": _list,
    "reversed": _reversed,
    "dict": _dict,
    "zip": _zip,
    "enumerate": _enumerate,
    "map": _map,
    "getattr": _getattr,
    "setattr": _setattr,
    "len": _len,
    "range": _range,
    "sum": _sum,
    "int": _number,
    "float": _number,
    "bool": _bool,
    "vars": _vars,
    "globals": _globals,
    "eval": _eval,
    "round": _round,
}
