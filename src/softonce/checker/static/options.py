"""Options of a program (argparse, click, configurations), as they are if nobody sets them.

A string or a flag by default is what the program runs with. Numbers are sizes, which every
data set brings anew: they stay unknown.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from softonce.checker.static.values import UNKNOWN, Const, Options, Sequence, Value

if TYPE_CHECKING:
    from softonce.checker.static.context import Run

Args = list[Value]
Kwargs = dict[str, Value]

_MAKERS = frozenset(
    {
        "ArgumentParser", "ArgParser", "HfArgumentParser", "Namespace", "SimpleNamespace",
        "CfgNode", "CN", "AttrDict", "DotMap", "Box", "edict", "EasyDict",
    }
)  # fmt: skip
_GROUPS = frozenset({"add_argument_group", "add_mutually_exclusive_group", "clone", "parse_args"})
_FLAGS = {"store_true": False, "store_false": True}


def is_maker(name: str) -> bool:
    """Return whether a call of this dotted name makes a collection of options."""
    return name.rpartition(".")[2] in _MAKERS


def make(args: Args, kwargs: Kwargs) -> Value:
    """Return a parser without options yet, or a namespace of what it is given."""
    given = args[0] if args else None
    known = dict(given.items) if isinstance(given, Options) else {}
    return Options(known | {k: v for k, v in kwargs.items() if k != "**"}, exact=False)


def read(run: Run, options: Options, name: str) -> Value | None:
    """Return an option's default; unknown if other choices are looked at, None if none."""
    value = options.items.get(name)
    if not isinstance(value, Const):
        return value
    run.read_option()
    return value if run.assumes_defaults else UNKNOWN


def call(run: Run, options: Options, name: str, args: Args, kwargs: Kwargs) -> Value:
    """Run a method of a parser or of what it gives."""
    if name in ("add_argument", "set_defaults"):
        run.heap.write(options)
    if name == "add_argument":
        names = [arg.value for arg in args if isinstance(arg, Const) and isinstance(arg.value, str)]
        _add(options, names, kwargs)
    elif name == "set_defaults":
        options.items |= {key: _kept(value) for key, value in kwargs.items()}
    elif name == "parse_known_args":
        return Sequence([options, UNKNOWN])
    elif name in _GROUPS:
        return options
    return UNKNOWN


def _add(options: Options, names: list[str], kwargs: Kwargs) -> None:
    long = next((name for name in names if name.startswith("--")), names[0] if names else "")
    given = kwargs.get("dest")
    is_named = isinstance(given, Const) and isinstance(given.value, str)
    key = (
        given.value if is_named and isinstance(given, Const) else long.lstrip("-").replace("-", "_")
    )
    options.items[key] = _default(kwargs)


def _default(kwargs: Kwargs) -> Value:
    action, default = kwargs.get("action"), kwargs.get("default")
    if default is None and isinstance(action, Const) and action.value in _FLAGS:
        return Const(_FLAGS[action.value])
    return _kept(default)


def _kept(value: Value | None) -> Value:
    known: Any = value.value if isinstance(value, Const) else None
    return Const(known) if isinstance(known, (str, bool)) else UNKNOWN


def of_decorator(function: ast.AST, name: str) -> Value | None:
    """Return the default that `@click.option("--name", default=...)` gives a parameter."""
    for decorator in getattr(function, "decorator_list", ()):
        if not isinstance(decorator, ast.Call) or _last_name(decorator.func) != "option":
            continue
        options = Options({}, exact=False)
        texts = [str(arg.value) for arg in decorator.args if isinstance(arg, ast.Constant)]
        kwargs: Kwargs = {
            k.arg: Const(k.value.value)
            for k in decorator.keywords
            if k.arg and isinstance(k.value, ast.Constant)
        }
        if "is_flag" in kwargs:
            kwargs.setdefault("default", Const(value=False))
        _add(options, texts, kwargs)
        if name in options.items:
            return options.items[name]
    return None


def _last_name(node: ast.expr) -> str:
    return str(getattr(node, "attr", getattr(node, "id", "")))
