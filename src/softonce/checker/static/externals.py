"""Names of other libraries: torch's operations, modules and containers, and what wraps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softonce.checker.kinds import JOINS, ROWS, SINKS
from softonce.checker.names import MODULES, canonical
from softonce.checker.static import attributes, distributions, einops
from softonce.checker.static.lattice import int_of
from softonce.checker.static.libraries import PREPARERS, call_library, prepared
from softonce.checker.static.operations import apply, maker_of, normalized
from softonce.checker.static.standard import call_standard
from softonce.checker.static.values import (
    BLANK,
    EMPTY,
    UNKNOWN,
    Chain,
    Const,
    Layer,
    Mapping,
    Sequence,
    Value,
)

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable

    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame

Args = list[Value]
Kwargs = dict[str, Value]

FUNCTION_HOMES = frozenset(
    {
        "torch", "torch.nn.functional", "torch.special", "torch.Tensor", "torch.nn",
        "torch.functional", "softonce.losses", "softonce.losses.functional", "softonce",
        "torchvision.ops", "torchvision.ops.focal_loss", "torch._C._nn",
    }
)  # fmt: skip
OPERATIONS = frozenset([*ROWS, *SINKS, *JOINS, "add", "sub", "mul", "div", "matmul"])
# Other spellings of an operation, by full name.
ALIASES = {
    "scipy.special.softmax": "softmax",
    "scipy.special.expit": "sigmoid",
    "scipy.special.log_softmax": "log_softmax",
    "numpy.argmax": "argmax",
    "torch.autograd.Variable": "identity",
    "torch.sigmoid_": "sigmoid",
}
# Position of the arguments that matter, for each torch class.
_SETTINGS = {
    "softmax": ("dim",),
    "softmin": ("dim",),
    "log_softmax": ("dim",),
    "linear": ("in_features", "out_features"),
    "nll_loss": ("weight", "size_average", "ignore_index", "reduce", "reduction"),
    "kl_div": ("size_average", "reduce", "reduction", "log_target"),
    "flatten": ("start_dim",),
}
# Calls that give back their first argument, or what is as good.
_WRAPPERS = frozenset(
    {
        "DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "compile",
        "deepcopy", "copy", "script", "trace", "optimize",
        "DistributedDataParallelCPU", "SyncBatchNorm", "convert_sync_batchnorm",
        "vmap", "weight_norm", "spectral_norm", "skip_init", "fully_shard",
        "freeze", "prepare_model", "torch_distributed_zero_first", "summary_model",
    }
)  # fmt: skip
# Calls that are `cat` along a fixed axis.
_STACKS = {"vstack": 0, "row_stack": 0, "hstack": 1, "column_stack": 1}
# Calls that call their first argument -> where its own arguments begin.
_CALLERS = {"data_parallel": 1, "checkpoint": 1, "checkpoint_sequential": 2}
BLANKS = frozenset({"zeros", "empty", "zeros_like", "empty_like", "new_zeros", "new_empty"})
_WRAPPER_HOMES = ("torch", "copy", "apex", "ray", "horovod", "fairscale", "deepspeed")


def call_external(
    run: Run, frame: Frame, name: str, args: Args, kwargs: Kwargs, node: ast.expr
) -> Value:
    """Return what a call of another library's function or class gives."""
    home, _, last = name.rpartition(".")
    made = call_standard(run, frame, name, args, kwargs, node)
    if made is None and home.startswith("torch.distributions"):
        made = distributions.call(run, frame, last, args, kwargs, node)
    if made is None and home.startswith("torch"):
        made = _call_torch(run, frame, home, last, args, kwargs, node)
    if made is None and home in ("einops", "einops.layers.torch"):
        made = einops.call(run, frame, last, args, kwargs, node)
    if made is None and name in ALIASES:
        # Without an axis scipy normalises over all entries, as its users know.
        whole: Kwargs = {"axis": Const(None)} if home.startswith("scipy") and len(args) < 2 else {}
        made = apply(run, frame, ALIASES[name], args, {**whole, **kwargs}, node)
    if made is None:
        made = _passed_on(run, frame, name, args, kwargs, node)
    return call_library(run, frame, name, args, kwargs, node) if made is None else made


def _call_torch(
    run: Run,
    frame: Frame,
    home: str,
    last: str,
    args: Args,
    kwargs: Kwargs,
    node: ast.expr,
) -> Value | None:
    """Return what an operation, a module or a container of torch gives; None for the rest."""
    if home == "torch" and is_empty(last, args):
        return EMPTY
    if home == "torch" and last in BLANKS:
        return BLANK
    if last in _STACKS:
        return apply(run, frame, "cat", [*args[:1], Const(_STACKS[last])], {}, node)
    if last == "functional_call" and len(args) > 2:
        given = attributes.entries(run, args[2])
        return run.call(frame, args[0], [args[2]] if given is None else given, {}, node)
    if last == "normalize" and args:
        return normalized(frame, args, kwargs, node)
    if home.startswith("torch.nn") and last in _CONTAINERS:
        return _CONTAINERS[last](args, kwargs)
    if home.startswith("torch.nn") and last in MODULES and home != "torch.nn.functional":
        return layer(run, frame, last, args, kwargs, node)
    return None


def is_empty(name: str, args: Args) -> bool:
    """Return whether `torch.tensor([])`, `torch.empty(0, 3)` or the like has no entries."""
    first = args[0] if args else None
    if name in ("tensor", "Tensor", "FloatTensor"):
        return first is None or (isinstance(first, Sequence) and first.exact and not first.items)
    sizes = first.items if isinstance(first, Sequence) else args
    return name in ("empty", "zeros") and any(int_of(size) == 0 for size in sizes)


def _passed_on(
    run: Run, frame: Frame, name: str, args: Args, kwargs: Kwargs, node: ast.expr
) -> Value | None:
    """Return what a wrapper gives: its argument, or what that makes of the others."""
    home, _, last = name.rpartition(".")
    op = canonical(last) if home in FUNCTION_HOMES else ""
    if op in OPERATIONS:
        return apply(run, frame, op, args, kwargs, node)
    if last in _WRAPPERS and name.partition(".")[0] in _WRAPPER_HOMES:
        return args[0] if args else kwargs.get("module", kwargs.get("model", UNKNOWN))
    if last in PREPARERS:
        return prepared(args, kwargs)
    if last == "pack_padded_sequence" and args:
        return Sequence([args[0], *[UNKNOWN] * 3])
    if last in _CALLERS and name.startswith("torch.") and len(args) > 1:
        return run.call(frame, args[0], args[_CALLERS[last] :], {}, node)
    return None


def layer(run: Run, frame: Frame, name: str, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    """Return the module of one torch class."""
    op = MODULES[name]
    positions = _SETTINGS.get(op, ())
    if op.startswith("conv"):
        positions = ("in_channels", "out_channels")
    if name.startswith("Lazy"):
        positions = positions[1:]
    settings = dict(zip(positions, args, strict=False)) | kwargs
    if op in ("softmax", "softmin", "log_softmax"):
        if not settings.keys() & {"dim", "**"} and name != "Softmax2d":
            run.rules.implicit_dim(frame, f"nn.{name}", node)
        settings.setdefault("dim", Const(-3) if name == "Softmax2d" else Const(None))
    if op in ROWS:
        settings = {k: v for k, v in settings.items() if k in ("dim", *positions)}
    return Layer(op, settings, maker_of(frame, node, op))


def _sequential(args: Args, kwargs: Kwargs) -> Value:
    if len(args) == 1 and isinstance(args[0], Mapping):
        names = [str(key) for key in args[0].items]
        return Chain(list(args[0].items.values()), names)
    if len(args) == 1 and isinstance(args[0], Sequence):
        return Chain(list(args[0].items))
    return Chain(list(args), [str(i) for i in range(len(args))])


def _module_list(args: Args, kwargs: Kwargs) -> Value:
    given = args[0] if args else kwargs.get("modules")
    if isinstance(given, Chain):
        return Sequence(list(given.items))
    return given if isinstance(given, Sequence) else Sequence([], exact=given is None)


def _module_dict(args: Args, kwargs: Kwargs) -> Value:
    return args[0] if args and isinstance(args[0], Mapping) else Mapping({}, exact=not args)


_CONTAINERS: dict[str, Callable[[Args, Kwargs], Value]] = {
    "Sequential": _sequential,
    "ModuleList": _module_list,
    "ModuleDict": _module_dict,
}
