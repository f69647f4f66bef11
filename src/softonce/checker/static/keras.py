"""Keras: the last layer's activation beside the loss of `compile`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softonce.checker.catalog import floor_sentence
from softonce.checker.kinds import ROWS, Kind
from softonce.checker.static.lattice import as_scores, int_of
from softonce.checker.static.objects import Function
from softonce.checker.static.operations import apply, maker_of
from softonce.checker.static.values import (
    UNKNOWN,
    Backbone,
    Chain,
    Const,
    External,
    Layer,
    Sequence,
    Value,
)

if TYPE_CHECKING:
    import ast

    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame

Args = list[Value]
Kwargs = dict[str, Value]

_PREFIX = "keras:"
# Loss -> whether it is the binary one; each is known under its class's name, too.
_LOSSES = {
    "categorical_crossentropy": False,
    "sparse_categorical_crossentropy": False,
    "binary_crossentropy": True,
}
_CLASSES = {
    "CategoricalCrossentropy": "categorical_crossentropy",
    "SparseCategoricalCrossentropy": "sparse_categorical_crossentropy",
    "BinaryCrossentropy": "binary_crossentropy",
}
_LOGIT_LOSSES = {
    "softmax_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits_v2",
    "sparse_softmax_cross_entropy_with_logits",
    "sigmoid_cross_entropy_with_logits",
}
_ACTIVATIONS = frozenset({"softmax", "sigmoid", "relu", "tanh", "softplus", "log_softmax"})
_UNITS = frozenset({"Dense", "Conv1D", "Conv2D", "Conv3D"})


def is_keras(name: str) -> bool:
    """Return whether a dotted name belongs to Keras or TensorFlow."""
    return name.partition(".")[0] in ("keras", "tensorflow", "tf_keras")


def call_keras(
    run: Run, frame: Frame, name: str, args: Args, kwargs: Kwargs, node: ast.expr
) -> Value:
    """Return what a call of Keras gives: layers, models and losses; unknown for the rest."""
    last = name.rpartition(".")[2]
    if last in _UNITS:
        return _units(run, frame, args, kwargs, node)
    if last == "Activation" or (last == "Softmax" and ".layers" in name):
        op = _activation_name(args[0] if args and last == "Activation" else Const("softmax"))
        return Layer(op, {"dim": Const(-1)}, maker_of(frame, node, op)) if op in ROWS else UNKNOWN
    if last == "Sequential":
        layers = args[0] if args else kwargs.get("layers")
        return Chain(list(layers.items) if isinstance(layers, Sequence) else [])
    if last == "Model":
        output = kwargs.get("outputs", kwargs.get("output", args[1] if len(args) > 1 else UNKNOWN))
        maker = maker_of(frame, node, "keras")
        return Backbone(maker, Chain([]), "fixed", attrs={"value": output})
    if last in _CLASSES:
        return Layer(_PREFIX + _CLASSES[last], dict(kwargs), maker_of(frame, node, last))
    if last in _LOSSES or last in _LOGIT_LOSSES:
        _check_call(run, frame, last, args, kwargs, node)
        return UNKNOWN
    if last in _ACTIVATIONS and args:
        return apply(run, frame, last, args[:1], {"axis": Const(-1)}, node)
    return UNKNOWN


def _units(run: Run, frame: Frame, args: Args, kwargs: Kwargs, node: ast.expr) -> Value:
    """Return an affine layer with its activation."""
    units = int_of(args[0] if args else kwargs.get("units", kwargs.get("filters")))
    dense = not (isinstance(node_name(node), str) and node_name(node).startswith("Conv"))
    activation = kwargs.get("activation", args[1] if dense and len(args) > 1 else Const(None))
    size: dict[str, Value] = {} if units is None else {"out_features": Const(units)}
    linear = Layer("linear", size, maker_of(frame, node, "linear"))
    op = _activation_name(activation)
    if op == "softmax" and units == 1 and dense:
        run.reporter.add("SO403", frame.place(node))
    if op in ("", "linear"):
        return linear
    if op not in ROWS:
        return UNKNOWN
    return Chain([linear, Layer(op, {"dim": Const(-1)}, maker_of(frame, node, op))])


def node_name(node: ast.expr) -> str:
    """Return the last name of the function that is called."""
    function = getattr(node, "func", None)
    return getattr(function, "attr", getattr(function, "id", ""))


def _activation_name(value: Value) -> str:
    if isinstance(value, Const):
        return str(value.value or "")
    return value.name.rpartition(".")[2] if isinstance(value, External) else "unknown"


def is_loss(layer: Value) -> bool:
    """Return whether a layer is a loss of Keras."""
    return isinstance(layer, Layer) and layer.op.startswith(_PREFIX)


def call_loss(
    run: Run, frame: Frame, loss: Layer, args: Args, kwargs: Kwargs, node: ast.expr
) -> Value:
    """Look at `loss(target, output)`."""
    output = args[1] if len(args) > 1 else kwargs.get("y_pred", UNKNOWN)
    check(run, frame, loss.op.removeprefix(_PREFIX), loss.settings, output, node)
    return UNKNOWN


def _check_call(
    run: Run, frame: Frame, last: str, args: Args, kwargs: Kwargs, node: ast.expr
) -> None:
    if last in _LOGIT_LOSSES:
        output = kwargs.get("logits", args[1] if len(args) > 1 else UNKNOWN)
        check(run, frame, last, {"from_logits": Const(True)}, output, node)
    else:
        output = kwargs.get("y_pred", args[1] if len(args) > 1 else UNKNOWN)
        check(run, frame, last, kwargs, output, node)


def compile_model(run: Run, frame: Frame, model: Value, loss: Value, node: ast.expr) -> None:
    """Look at the loss that a model is compiled with."""
    output = run.call(frame, model, [UNKNOWN], {}, node)
    if isinstance(loss, Const) and loss.value in _LOSSES:
        check(run, frame, str(loss.value), {}, output, node)
    elif isinstance(loss, External) and loss.name.rpartition(".")[2] in _LOSSES:
        check(run, frame, loss.name.rpartition(".")[2], {}, output, node)
    elif isinstance(loss, Layer) and is_loss(loss):
        check(run, frame, loss.op.removeprefix(_PREFIX), loss.settings, output, node)
    elif isinstance(loss, Function):
        run.rules.in_keras_loss = True
        run.call(frame, loss, [UNKNOWN, output], {}, node)
        run.rules.in_keras_loss = False


def check(
    run: Run,
    frame: Frame,
    loss: str,
    settings: dict[str, Value],
    output: Value,
    node: ast.expr,
) -> None:
    """Compare the kind of an output with what the loss expects."""
    tensor = as_scores(output)
    flag = settings.get("from_logits", Const(False))
    if not isinstance(flag, Const) or "**" in settings or not tensor.known:
        return
    place = frame.place(node)
    if flag.value and not tensor.kind & ~(Kind.P | Kind.BP):
        floor = floor_sentence(tensor.num_classes)
        told = loss if loss in _LOGIT_LOSSES else f"{loss} with from_logits=True"
        run.reporter.add("SO401", place, tensor.maker(tensor.kind), loss=told, floor=floor)
    elif not flag.value and tensor.kind == Kind.LOGITS:
        run.reporter.add("SO402", place, tensor.maker(tensor.kind), loss=loss)
