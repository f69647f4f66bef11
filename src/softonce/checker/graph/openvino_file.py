"""OpenVINO's `.xml`: read as a stream, without entities; of the weights only small constants."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from softonce.checker.graph.nodes import Graph, ModelFile, Node, unreadable, walk
from softonce.checker.graph.openvino_weights import read_constants

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from softonce.checker.tags import Shape

MAX_BYTES = 2**28
"""The XML holds no weights: 256 MiB is a thousand times that of a large network."""
MAX_DEPTH = 32
"""Bodies of loops within bodies of loops; real networks have two."""

OPERATIONS = {
    **dict.fromkeys(("Result", "Identity", "FakeQuantize", "FakeConvert"), "identity"),
    **dict.fromkeys(("Convert", "ConvertLike"), "to"),
    **{op: op.lower() for op in ("SoftMax", "Softmax", "Sigmoid", "Tanh", "ReLU", "Elu", "Selu")},
    **{op: op.lower() for op in ("Gelu", "SoftPlus", "SoftSign", "Mish", "PReLU", "Exp", "Log")},
    **{op: op.lower() for op in ("Abs", "Round", "Add", "MatMul", "Reshape", "Squeeze", "Clamp")},
    **{op: op.lower() for op in ("Unsqueeze", "Split", "Maximum", "Minimum", "TopK", "Transpose")},
    "LogSoftmax": "log_softmax",
    "HSigmoid": "hardsigmoid",
    "HSwish": "hardswish",
    "Swish": "silu",
    "Negative": "neg",
    "Subtract": "sub",
    "Multiply": "mul",
    "Divide": "div",
    **dict.fromkeys(("Convolution", "GroupConvolution"), "conv2d"),
    "ConvolutionBackpropData": "conv_transpose2d",
    "BatchNormInference": "batch_norm",
    "MVN": "layer_norm",
    "AvgPool": "avg_pool2d",
    "MaxPool": "max_pool2d",
    "Interpolate": "interpolate",
    "Broadcast": "expand",
    "Gather": "select",
    "GatherElements": "gather",
    **dict.fromkeys(("Slice", "StridedSlice"), "narrow"),
    "VariadicSplit": "split",
    "Concat": "cat",
    "Select": "where",
    "ReduceMean": "mean",
    "ReduceSum": "sum",
    "ReduceMax": "amax",
    "ReduceMin": "amin",
    "OneHot": "one_hot",
    "Greater": "gt",
    "GreaterEqual": "ge",
    "Less": "lt",
    "LessEqual": "le",
    "Equal": "eq",
}
_AXES_AT = {
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), 1),
    **dict.fromkeys(("Split", "VariadicSplit"), 1),
    "Gather": 2,
    "Slice": 4,
}
"""Which input of an operation holds its axes."""
_INNER = frozenset({"body", "then_body", "else_body", "back_edges", "port_map"})
_ALL_INPUTS = frozenset({"add", "sub", "mul", "div", "matmul", "cat", "maximum", "minimum"})


class _RefusedError(Exception):
    """The file has what no IR has; the message is what was found."""


@dataclass(slots=True)
class _Layer:
    """One `<layer>`."""

    kind: str
    name: str
    output_names: str = ""
    data: dict[str, str] = field(default_factory=dict)
    ports: list[str] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)


class _Reader:
    """The handlers of the parser: they keep layers, edges, shapes and our own record."""

    def __init__(self) -> None:
        self.tags: list[str] = []
        self.layers: dict[str, _Layer] = {}
        self.edges: dict[tuple[str, str], tuple[str, str]] = {}
        self.sizes: dict[tuple[str, str], list[int]] = {}
        self.names: dict[tuple[str, str], str] = {}
        self.record: str | None = None
        self.layer, self.port, self.text = "", "", ""

    def refuse(self, *_: object) -> None:
        raise _RefusedError("a document type or an entity")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.tags.append(tag)
        if len(self.tags) == 1 and tag != "net":
            raise _RefusedError(f"the element <{tag[:40]}>")
        if len(self.tags) > MAX_DEPTH:
            raise _RefusedError(f"more than {MAX_DEPTH} levels")
        self.text = ""
        handler = getattr(self, f"start_{tag}", None)
        # What is inside of a layer (a loop's body and its edges) is left alone.
        if handler is not None and (self.tags[1:2] != ["layers"] or not _INNER & {*self.tags}):
            handler(attributes)

    def end(self, tag: str) -> None:
        if tag == "dim" and self.port and not _INNER & {*self.tags}:
            self.sizes.setdefault((self.layer, self.port), []).append(_size(self.text))
        self.tags.pop()

    def start_layer(self, attributes: dict[str, str]) -> None:
        self.layer, self.port = attributes["id"], ""
        names = attributes.get("output_names", "")
        self.layers[self.layer] = _Layer(attributes["type"], attributes.get("name", ""), names)

    def start_data(self, attributes: dict[str, str]) -> None:
        if self.layer in self.layers:
            self.layers[self.layer].data = attributes

    def start_port(self, attributes: dict[str, str]) -> None:
        self.port = attributes["id"]
        layer = self.layers[self.layer]
        if self.tags[-2] == "output":
            layer.ports.append(self.port)
            self.names[self.layer, self.port] = attributes.get("names", "")
        else:
            layer.inputs.append(self.port)
        self.sizes.setdefault((self.layer, self.port), [])

    def start_edge(self, attributes: dict[str, str]) -> None:
        source = attributes["from-layer"], attributes["from-port"]
        self.edges[attributes["to-layer"], attributes["to-port"]] = source

    def start_softonce(self, attributes: dict[str, str]) -> None:
        self.record = attributes.get("value")


def read(path: Path) -> ModelFile:
    """Read the kinds of the outputs of an OpenVINO IR.

    Raises:
        ArtefactError: if it is no such file.
    """
    graph, record = parse(path)
    outputs, findings = walk(graph)
    return ModelFile("openvino", outputs, record, findings)


def parse(path: Path) -> tuple[Graph, dict[str, Any] | None]:
    """Return the graph of an OpenVINO IR, and the record that softonce wrote into it, if it did.

    Raises:
        ArtefactError: if it is no such file.
    """
    if path.stat().st_size > MAX_BYTES:
        raise unreadable(path, f"an OpenVINO .xml of at most {MAX_BYTES} bytes", "a larger one")
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = reader.refuse
    parser.CharacterDataHandler = lambda text: setattr(reader, "text", reader.text + text[:20])
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
        graph = _graph(reader, path)
    except _RefusedError as error:
        raise unreadable(path, "an OpenVINO .xml", str(error)) from error
    except expat.ExpatError as error:
        raise unreadable(path, "an OpenVINO .xml", f"no XML ({error})") from error
    except (KeyError, ValueError, IndexError) as error:
        raise unreadable(path, "an OpenVINO .xml", "layers of another shape") from error
    if not graph.outputs:
        raise unreadable(path, "an OpenVINO .xml with outputs", "none")
    return graph, _parsed(reader.record)


def _graph(reader: _Reader, path: Path) -> Graph:
    layers = reader.layers
    data = {number: layer.data for number, layer in layers.items() if layer.kind == "Const"}
    entries = read_constants(path.with_suffix(".bin"), data)
    shapes: dict[str, Shape] = {_value(port): tuple(s) for port, s in reader.sizes.items()}
    nodes = [_node(reader, number, entries) for number in _ordered(reader)]
    numbers = {
        _value((number, port)): _single(entries.get(number, ()))
        for number in data
        for port in layers[number].ports
    }
    results = {number: layer for number, layer in layers.items() if layer.kind == "Result"}
    sources = {number: _sources(reader, number)[0] for number in results}
    outputs = {
        _shown(reader, number, sources[number]): _value(sources[number]) for number in results
    }
    small = {
        _value((number, port)): entries[number]
        for number in data
        for port in layers[number].ports
        if number in entries
    }
    inputs = {
        layer.name: _value((number, port))
        for number, layer in layers.items()
        for port in layer.ports
        if layer.kind == "Parameter"
    }
    return Graph(tuple(nodes), outputs, numbers, shapes, inputs, small)


def _single(entries: tuple[float, ...]) -> float:
    return entries[0] if len(entries) == 1 else math.nan


def _node(
    reader: _Reader,
    number: str,
    entries: Mapping[str, tuple[float, ...]],
) -> Node:
    layer = reader.layers[number]
    canonical = OPERATIONS.get(layer.kind, "unknown")
    if canonical == "to" and layer.data.get("destination_type", "f32")[:1] in "iub":
        canonical = "long"
    sources = _sources(reader, number)
    values = [_value(source) for source in sources]
    inputs: list[str | float] = list(values if canonical in _ALL_INPUTS else values[:1])
    if canonical == "where":
        inputs = list(values[1:])
    elif canonical == "clamp":
        inputs += [float(layer.data[bound]) for bound in ("min", "max")]
    axes = _axes(reader, number, entries)
    return Node(
        op=layer.kind,
        name=layer.name,
        canonical="permute" if canonical == "transpose" else canonical,
        inputs=tuple(inputs),
        outputs=tuple(_value((number, port)) for port in layer.ports),
        dim=() if canonical == "transpose" else axes,
        order=axes if canonical == "transpose" else (),
        mask=values[0] if canonical == "where" else "",
    )


def _axes(
    reader: _Reader, number: str, entries: Mapping[str, tuple[float, ...]]
) -> tuple[int, ...]:
    """Return the axes of a layer: an attribute, or a constant among its inputs."""
    layer, sources = reader.layers[number], _sources(reader, number)
    if "axis" in layer.data:
        return (int(layer.data["axis"]),)
    place = 1 if layer.kind == "Transpose" else _AXES_AT.get(layer.kind, len(sources))
    given = entries.get(sources[place][0], ()) if place < len(sources) else ()
    return tuple(int(axis) for axis in given if math.isfinite(axis))


def _sources(reader: _Reader, number: str) -> list[tuple[str, str]]:
    ports = reader.layers[number].inputs
    return [reader.edges[number, port] for port in ports if (number, port) in reader.edges]


def _ordered(reader: _Reader) -> list[str]:
    """Return the layers that compute, each after the ones that it reads."""
    order: list[str] = []
    seen: set[str] = set()
    for start in reader.layers:
        stack = [(start, False)]
        while stack:
            number, is_ready = stack.pop()
            if is_ready:
                order.append(number)
            elif number not in seen:
                seen.add(number)
                stack.append((number, True))
                stack += [(source, False) for source, _ in _sources(reader, number)]
    inert = ("Const", "Parameter", "Result")
    return [number for number in order if reader.layers[number].kind not in inert]


def _shown(reader: _Reader, number: str, source: tuple[str, str]) -> str:
    layer = reader.layers[number]
    return layer.output_names or reader.names.get(source) or layer.name


def _value(port: tuple[str, str]) -> str:
    return ":".join(port)


def _size(text: str) -> int:
    return int(text) if text.strip().isdigit() else -1


def _parsed(text: str | None) -> dict[str, Any] | None:
    try:
        record = json.loads(text) if text else None
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
