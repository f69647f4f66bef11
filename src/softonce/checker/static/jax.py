"""JAX: its activations, the layers of Flax, Equinox and Haiku, and the losses of optax."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softonce.checker.static.operations import apply, maker_of
from softonce.checker.static.values import (
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

    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame
    from softonce.checker.static.objects import Class

Args = list[Value]
Kwargs = dict[str, Value]

_HOMES = frozenset({"jax", "flax", "optax", "equinox", "haiku"})
# Loss of optax -> the loss of torch that expects the same, and what its arguments are called.
_LOSSES = {
    "softmax_cross_entropy": ("cross_entropy", "logits"),
    "softmax_cross_entropy_with_integer_labels": ("cross_entropy", "logits"),
    "safe_softmax_cross_entropy": ("cross_entropy", "logits"),
    "sigmoid_binary_cross_entropy": ("binary_cross_entropy_with_logits", "logits"),
    "sigmoid_focal_loss": ("binary_cross_entropy_with_logits", "logits"),
    "kl_divergence": ("kl_div", "log_predictions"),
    "kl_divergence_with_log_targets": ("kl_div", "log_predictions"),
}
# Layer -> where it takes the number of its outputs: Flax's are given no number of inputs.
_OUTPUTS = {"Dense": 0, "DenseGeneral": 0, "Linear": 1}
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
_NORMS = frozenset({"BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm"})
_ACTIVATIONS = {
    **{name: name for name in (
        "softmax", "log_softmax", "sigmoid", "relu", "relu6", "tanh", "softplus", "gelu", "silu",
        "elu", "selu", "celu", "leaky_relu",
    )},
    "swish": "silu", "log_sigmoid": "logsigmoid", "hard_tanh": "hardtanh", "soft_sign": "softsign",
}  # fmt: skip
_WRAPPERS = frozenset(
    {
        "jit", "vmap", "pmap", "checkpoint", "remat", "filter_jit", "filter_vmap",
        "filter_checkpoint", "Lambda", "inference_mode",
    }
)  # fmt: skip


def is_jax(name: str) -> bool:
    """Return whether a dotted name belongs to JAX or to a library of networks in it."""
    return name.partition(".")[0] in _HOMES


def is_network(cls: Class) -> bool:
    """Return whether a class of the project is a network of Flax, Equinox or Haiku."""
    return any(is_jax(base) and base.endswith(".Module") for base in cls.external_bases())


def call_jax(
    run: Run, frame: Frame, name: str, args: Args, kwargs: Kwargs, node: ast.expr
) -> Value:
    """Return what a call of JAX gives: activations, layers and losses; unknown for the rest."""
    home, _, last = name.rpartition(".")
    if home.startswith("optax") and last in _LOSSES:
        return _loss(run, frame, name, args, kwargs, node)
    if last in _ACTIVATIONS and args and home != "jax.lax":
        axis = kwargs.get("axis", args[1] if len(args) > 1 else Const(-1))
        return apply(run, frame, _ACTIVATIONS[last], args[:1], {"axis": axis}, node)
    if last in _WRAPPERS:
        return args[0] if args else UNKNOWN
    if last == "Sequential":
        layers = args[0] if len(args) == 1 else kwargs.get("layers", Sequence(args))
        return Chain(list(layers.items) if isinstance(layers, Sequence) else [layers])
    if last == "create" and home.endswith("TrainState"):
        return Mapping(dict(kwargs), exact=False)
    return _layer(frame, home, last, args, kwargs, node)


def _layer(frame: Frame, home: str, last: str, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    """Return a layer; but for those of Equinox the channels of a convolution are the last axis."""
    if last in _NORMS:
        return Layer("layer_norm", {}, maker_of(frame, node, "layer_norm"))
    if last in ("Dropout", "Identity"):
        return Layer(last.lower(), {}, maker_of(frame, node, last.lower()))
    if last not in _OUTPUTS and (last not in _CONVOLUTIONS or home.startswith("equinox")):
        return UNKNOWN
    place = 0 if home.startswith("haiku") else _OUTPUTS.get(last, 1 if "nnx" in home else 0)
    given = args[place] if len(args) > place else UNKNOWN
    names = ("features", "out_features", "output_size", "output_channels")
    size = next((kwargs[name] for name in names if name in kwargs), given)
    return Layer("linear", {"out_features": size}, maker_of(frame, node, "linear"))


def _loss(run: Run, frame: Frame, name: str, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    """Look at what a loss of optax is given; none of them reduces."""
    last = name.rpartition(".")[2]
    loss, argument = _LOSSES[last]
    given = args[0] if args else kwargs.get(argument, UNKNOWN)
    target = args[1] if len(args) > 1 else kwargs.get("targets", UNKNOWN)
    options: Kwargs = {"reduction": Const("none")}
    if loss == "kl_div":
        options["log_target"] = Const(last.endswith("log_targets"))
    run.losses.check(frame, loss, [given, target], options, node, name=last)
    return UNKNOWN


def call_apply(
    run: Run, frame: Frame, module: Value, args: Args, kwargs: Kwargs, node: ast.expr
) -> Value:
    """Return what `module.apply(variables, x)` of Flax gives, with the changed state if asked."""
    if "method" in kwargs:
        return UNKNOWN
    own = ("mutable", "rngs", "capture_intermediates")
    given = {key: value for key, value in kwargs.items() if key not in own}
    output = run.call(frame, module, args[1:], given, node)
    mutable = kwargs.get("mutable", Const(False))
    is_plain = isinstance(mutable, Const) and not mutable.value
    return output if is_plain else Sequence([output, UNKNOWN])
