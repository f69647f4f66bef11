"""ONNX: the protobuf parsed, its nodes named as in the transfer table."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from softonce.checker.graph.nodes import Graph, ModelFile, Node, unreadable, walk
from softonce.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from softonce.checker.flow import Shape

MAX_BYTES = 2**31
MAX_BYTES_INFERRED = 2**28
_SOFTMAX_ON_LAST = 13
"""From this opset on softmax is over the last axis where none is given."""

OPERATIONS = {
    **dict.fromkeys(("Identity", "Dropout", "QuantizeLinear", "DequantizeLinear"), "identity"),
    **dict.fromkeys(("Cast", "CastLike"), "to"),
    **{op: op.lower() for op in ("Softmax", "Sigmoid", "Tanh", "Relu", "Elu", "Selu", "Celu")},
    **{op: op.lower() for op in ("Gelu", "Softplus", "Softsign", "Mish", "PRelu", "HardSwish")},
    **{op: op.lower() for op in ("Exp", "Log", "Neg", "Abs", "Round", "Add", "Sub", "Mul", "Div")},
    **{op: op.lower() for op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "MatMul")},
    **{op: op.lower() for op in ("Where", "Split", "ArgMax", "ArgMin", "TopK", "HardSigmoid")},
    "LogSoftmax": "log_softmax",
    "LeakyRelu": "leaky_relu",
    "Clip": "clamp",
    "Transpose": "permute",
    "Gather": "select",
    "GatherElements": "gather",
    "Slice": "narrow",
    "Concat": "cat",
    "Gemm": "linear",
    "Conv": "conv2d",
    "ConvTranspose": "conv_transpose2d",
    "BatchNormalization": "batch_norm",
    "LayerNormalization": "layer_norm",
    "GroupNormalization": "group_norm",
    "InstanceNormalization": "instance_norm",
    **dict.fromkeys(("AveragePool", "GlobalAveragePool"), "avg_pool2d"),
    **dict.fromkeys(("MaxPool", "GlobalMaxPool"), "max_pool2d"),
    "Resize": "interpolate",
    "ReduceMean": "mean",
    "ReduceSum": "sum",
    "ReduceMax": "amax",
    "ReduceMin": "amin",
    "ReduceLogSumExp": "logsumexp",
    "Max": "maximum",
    "Min": "minimum",
    **dict.fromkeys(("OneHot", "Hardmax"), "one_hot"),
    "Greater": "gt",
    "GreaterOrEqual": "ge",
    "Less": "lt",
    "LessOrEqual": "le",
    "Equal": "eq",
}
_ALL_INPUTS = frozenset({"Add", "Sub", "Mul", "Div", "MatMul", "Concat", "Max", "Min"})
_DEFAULT_AXIS = {"ArgMax": 0, "ArgMin": 0, "TopK": -1, "Gather": 0, "GatherElements": 0}


def read(path: Path) -> ModelFile:
    """Read the kinds of the outputs of an ONNX file.

    Raises:
        ArtefactError: where it is no ONNX model.
        MissingExtraError: where the package `onnx` is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError.of("onnx", "export") from error
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # has no stubs

    if path.stat().st_size > MAX_BYTES:
        raise unreadable(path, f"an ONNX model of at most {MAX_BYTES} bytes", "a larger one")
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise unreadable(path, "an ONNX model", "bytes that are none") from error
    if not model.graph.output:
        raise unreadable(path, "an ONNX model with outputs", "none")
    model = _prepared(model, path.stat().st_size)
    outputs, findings = walk(_graph(model))
    return ModelFile("onnx", outputs, _record(model), findings)


def _prepared(model: Any, num_bytes: int) -> Any:
    """Inline the model's own functions, and infer the shapes; do without where that fails."""
    from onnx import inliner, shape_inference

    if num_bytes > MAX_BYTES_INFERRED:
        return model
    try:
        if model.functions:
            model = inliner.inline_local_functions(model)
        return shape_inference.infer_shapes(model)
    except Exception:  # noqa: BLE001 - shapes are a help, and the library raises anything
        return model


def _graph(model: Any) -> Graph:
    graph = model.graph
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    constants = {tensor.name: _number(tensor) for tensor in graph.initializer}
    constants |= {tensor.values.name: math.nan for tensor in graph.sparse_initializer}
    nodes = []
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = _constant(node)
        else:
            nodes.append(_node(node, opsets.get("", 1), constants))
    known = (*graph.input, *graph.value_info, *graph.output)
    shapes = {value.name: _shape(value) for value in known}
    names = {value.name: value.name for value in graph.output}
    return Graph(tuple(nodes), names, constants, shapes)


def _node(node: Any, opset: int, constants: Mapping[str, float]) -> Node:
    attributes = {entry.name: entry for entry in node.attribute}
    standard = node.domain in ("", "ai.onnx")
    order = tuple(attributes["perm"].ints) if "perm" in attributes else ()
    return Node(
        op=node.op_type,
        name=node.name or (node.output[0] if node.output else ""),
        canonical=OPERATIONS.get(node.op_type, "unknown") if standard else "unknown",
        inputs=_scored(node),
        outputs=tuple(node.output),
        dim=_dim(node, attributes, opset, constants),
        order=order,
    )


def _scored(node: Any) -> tuple[str, ...]:
    """Return the inputs that are scores; the others say how."""
    if node.op_type == "Where":
        return tuple(node.input[1:])
    return tuple(node.input if node.op_type in _ALL_INPUTS else node.input[:1])


def _dim(
    node: Any, attributes: Mapping[str, Any], opset: int, constants: Mapping[str, float]
) -> tuple[int, ...]:
    """Return the axes: an attribute, an input, or the standard's default."""
    if "axis" in attributes:
        return (attributes["axis"].i,)
    if "axes" in attributes:
        return tuple(attributes["axes"].ints)
    if node.op_type in ("Softmax", "LogSoftmax", "Hardmax"):
        return (-1 if opset >= _SOFTMAX_ON_LAST else 1,)
    if node.op_type in _DEFAULT_AXIS:
        return (_DEFAULT_AXIS[node.op_type],)
    if node.op_type.startswith("Reduce") and len(node.input) > 1:
        axis = constants.get(node.input[1], math.nan)
        return () if math.isnan(axis) else (int(axis),)
    return ()


def _number(tensor: Any) -> float:
    """Return the number that a tensor of one entry holds, or nan."""
    from onnx import numpy_helper

    if math.prod(tensor.dims) != 1 or tensor.external_data:
        return math.nan
    try:
        return float(numpy_helper.to_array(tensor).item())
    except (TypeError, ValueError):
        return math.nan


def _constant(node: Any) -> float:
    for entry in node.attribute:
        if entry.name == "value":
            return _number(entry.t)
        if entry.name in ("value_float", "value_int"):
            return float(entry.f if entry.name == "value_float" else entry.i)
    return math.nan


def _shape(value: Any) -> Shape:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)


def _record(model: Any) -> dict[str, Any] | None:
    """Return the metadata that softonce writes into what it exports."""
    text = next((entry.value for entry in model.metadata_props if entry.key == "softonce"), None)
    try:
        record = json.loads(text) if text else None
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
