"""ONNX: the protobuf parsed, its nodes named as in the transfer table."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from softonce.checker.graph import onnx_ml
from softonce.checker.graph.nodes import Graph, ModelFile, Node, unreadable, walk
from softonce.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from softonce.checker.tags import Shape

MAX_BYTES = 2**31
"""What one protobuf message can hold; larger models keep their tensors outside of it."""
MAX_BYTES_INFERRED = 2**28
"""Above it shapes are not inferred: onnx's own inference copies the model several times."""
MAX_FUNCTIONS = 2_000
"""An exporter writes one for each layer at most."""
MAX_NODES = 1_000_000
"""Ten times the nodes of the largest networks that are exported in one file."""
_SOFTMAX_ON_LAST = 13
"""From this opset on softmax is over the last axis if none is given."""

_NORMALISES = frozenset({"Softmax", "LogSoftmax", "Hardmax"})

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
_ALL_INPUTS = frozenset({"Add", "Sub", "Mul", "Div", "MatMul", "Concat", "Max", "Min", "Clip"})
_DEFAULT_AXIS = {
    **dict.fromkeys(("ArgMax", "ArgMin", "Gather", "GatherElements", "Split"), 0),
    **dict.fromkeys(("TopK", "OneHot"), -1),
}
_WHOLE_NUMBERS = frozenset({2, 3, 4, 5, 6, 7, 9, 12, 13})
"""Of the element types those that a cast cuts to: integers and bool."""
_AXES_AT = {"Slice": 3, "Squeeze": 1, "Unsqueeze": 1}
MAX_AXES = 16
"""A constant is read only if it can be a list of axes or of a shape."""


def read(path: Path) -> ModelFile:
    """Read the kinds of the outputs of an ONNX file.

    Raises:
        ArtefactError: if it is no ONNX model.
        MissingExtraError: if the package `onnx` is not installed.
    """
    model = inlined(parse(path), path.stat().st_size)
    outputs, findings = walk(graph_of(model))
    return ModelFile("onnx", outputs, _record(model), findings)


def parse(path: Path) -> Any:
    """Return the model of an ONNX file, as protobuf holds it, without external tensors.

    Raises:
        ArtefactError: if it is no ONNX model with outputs.
        MissingExtraError: if the package `onnx` is not installed.
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
    return model


def inlined(model: Any, num_bytes: int) -> Any:
    """Inline the model's own functions, and infer the shapes; do without if that fails.

    Functions that would become more nodes than any network has stay as they are.
    """
    from onnx import inliner, shape_inference

    if num_bytes > MAX_BYTES_INFERRED or num_nodes(model) > MAX_NODES:
        return model
    try:
        if model.functions:
            model = inliner.inline_local_functions(model)
        return shape_inference.infer_shapes(model)
    except Exception:  # noqa: BLE001 - shapes are a help, and the library raises anything
        return model


def num_nodes(model: Any) -> float:
    """Return how many nodes the graph has with its functions inlined; inf if they call themselves.

    Ten functions, each of which calls the next one ten times, are a hundred lines and 10**10 nodes.
    """
    functions = {(f.domain, f.name): f.node for f in model.functions}
    if len(functions) > MAX_FUNCTIONS:
        return math.inf
    sizes: dict[tuple[str, str], float] = dict.fromkeys(functions, math.inf)
    for _ in functions:  # a chain of calls is as long as there are functions, at most
        before = dict(sizes)
        sizes |= {key: _size_of(nodes, sizes) for key, nodes in functions.items()}
        if sizes == before:
            break
    return _size_of(model.graph.node, sizes)


def _size_of(nodes: Any, sizes: Mapping[tuple[str, str], float]) -> float:
    graphs = (a.g for n in nodes for a in n.attribute if a.HasField("g"))
    calls = sum(sizes.get((n.domain, n.op_type), 1.0) for n in nodes)
    return calls + sum(_size_of(graph.node, sizes) for graph in graphs)


def graph_of(model: Any) -> Graph:
    """Return the graph of a parsed model, whose functions are inlined."""
    graph = model.graph
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    constants = {tensor.name: _entries(tensor) for tensor in graph.initializer}
    constants |= {tensor.values.name: () for tensor in graph.sparse_initializer}
    constants |= {n.output[0]: _constant(n) for n in graph.node if n.op_type == "Constant"}
    known = (*graph.input, *graph.value_info, *graph.output)
    shapes = {value.name: _shape(value) for value in known}
    opset = opsets.get("", 1)
    nodes = [_node(n, opset, constants, shapes) for n in graph.node if n.op_type != "Constant"]
    names = {value.name: value.name for value in graph.output}
    numbers = {name: x[0] if len(x) == 1 else math.nan for name, x in constants.items()}
    given = {value.name: value.name for value in graph.input if value.name not in constants}
    return Graph(tuple(nodes), names, numbers, shapes, given, constants)


def _node(
    node: Any,
    opset: int,
    constants: Mapping[str, tuple[float, ...]],
    shapes: Mapping[str, Shape],
) -> Node:
    attributes = {entry.name: entry for entry in node.attribute}
    canonical = "unknown"
    if node.domain in ("", "ai.onnx"):
        canonical = OPERATIONS.get(node.op_type, "unknown")
    elif node.domain == onnx_ml.DOMAIN:
        canonical = onnx_ml.canonical_of(node)
    dim = _dim(node, attributes, opset, constants)
    if canonical == "to" and "to" in attributes and attributes["to"].i in _WHOLE_NUMBERS:
        canonical = "long"
    if opset < _SOFTMAX_ON_LAST and node.op_type in _NORMALISES:
        canonical = canonical if _is_one_axis(shapes.get(node.input[0]), dim[0]) else "unknown"
    return Node(
        op=node.op_type,
        name=node.name or (node.output[0] if node.output else ""),
        canonical=canonical,
        inputs=_scored(node, attributes),
        outputs=tuple(node.output),
        dim=dim,
        order=tuple(attributes["perm"].ints) if "perm" in attributes else (),
        mask=node.input[0] if node.op_type == "Where" else "",
        kinds=onnx_ml.outputs_of(node, constants) if node.domain == onnx_ml.DOMAIN else (),
    )


def _is_one_axis(shape: Shape, axis: int) -> bool:
    """Return whether an old softmax, which takes all axes from `axis` on as one, has one there."""
    return axis == -1 or shape is None or all(size == 1 for size in shape[axis:][1:])


def _scored(node: Any, attributes: Mapping[str, Any]) -> tuple[str | float, ...]:
    """Return the inputs that are scores, and the bounds of a clip; the others say how."""
    if node.op_type == "Where":
        return tuple(node.input[1:])
    if node.op_type != "Clip":
        return tuple(node.input if node.op_type in _ALL_INPUTS else node.input[:1])
    bounds: list[str | float] = []
    for place, (name, limit) in enumerate((("min", -math.inf), ("max", math.inf)), 1):
        given = node.input[place] if len(node.input) > place else ""
        bounds.append(given or (attributes[name].f if name in attributes else limit))
    return (node.input[0], *bounds)


def _dim(
    node: Any,
    attributes: Mapping[str, Any],
    opset: int,
    constants: Mapping[str, tuple[float, ...]],
) -> tuple[int, ...]:
    """Return the axes: an attribute, an input, or the standard's default."""
    if "axis" in attributes:
        return (attributes["axis"].i,)
    if "axes" in attributes:
        return tuple(attributes["axes"].ints)
    if node.op_type in _NORMALISES:
        return (-1 if opset >= _SOFTMAX_ON_LAST else 1,)
    if node.op_type in _DEFAULT_AXIS:
        return (_DEFAULT_AXIS[node.op_type],)
    place = 1 if node.op_type.startswith("Reduce") else _AXES_AT.get(node.op_type, math.inf)
    given = constants.get(node.input[int(place)], ()) if len(node.input) > place else ()
    return tuple(int(axis) for axis in given if math.isfinite(axis))


def _entries(tensor: Any) -> tuple[float, ...]:
    """Return the numbers of a small tensor, none of a large one."""
    from onnx import numpy_helper

    if math.prod(tensor.dims) > MAX_AXES or tensor.external_data:
        return ()
    try:
        return tuple(float(x) for x in numpy_helper.to_array(tensor).reshape(-1))
    except (TypeError, ValueError):
        return ()


def _constant(node: Any) -> tuple[float, ...]:
    for entry in node.attribute:
        if entry.name == "value":
            return _entries(entry.t)
        if entry.name in ("value_float", "value_int"):
            return (float(entry.f if entry.name == "value_float" else entry.i),)
        if entry.name == "value_ints":
            return tuple(map(float, entry.ints))
    return ()


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
