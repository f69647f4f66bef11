"""torch.export's `.pt2`: a zip, of which the graph's JSON is read and nothing else.

torch's own loader may unpickle; this one needs no torch and opens no other member.
"""

from __future__ import annotations

import json
import math
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

from softonce.checker.flow import ATEN, DIMS
from softonce.checker.graph.nodes import Graph, ModelFile, Node, unreadable, walk
from softonce.checker.moves import ORDERED_BY, order_after
from softonce.checker.names import canonical
from softonce.formats.torch_export import ZIP_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from softonce.checker.tags import Shape

MAX_JSON_BYTES = 2**28
"""A graph of a million nodes is smaller; what is larger is not unpacked."""
MAX_RECORD_BYTES = 2**24
"""Our own record of an artefact with 100,000 class names has 2 MB."""
_OLD_NAME = "serialized_exported_program.json"
_WEIGHTS = ("parameter", "buffer", "tensor_constant")
_BOUNDS = {"clamp": ("min", "max"), "hardtanh": ("min_val", "max_val")}
_WHOLE_NUMBERS = frozenset({1, 2, 3, 4, 5, 12})
"""Of the element types those that a cast cuts to: integers and bool."""
_SETTINGS = frozenset(
    {"dim", "dims", "dim0", "dim1", "dtype", "alpha", "index", "size", "condition"}
)


def read(path: Path) -> ModelFile:
    """Read the kinds of the outputs of an exported program.

    Raises:
        ArtefactError: if it is no such archive, or its JSON is not as torch writes it.
    """
    program, record = _program(path)
    try:
        graph = _graph(program["graph_module"])
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise unreadable(path, "the JSON of torch.export", "JSON of another shape") from error
    outputs, findings = walk(graph)
    return ModelFile("torch.export", outputs, record, findings)


def _program(path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the graph, and the record that softonce wrote beside it."""
    try:
        with zipfile.ZipFile(path) as archive:
            text = _read_json(path, archive)
            record = _read_record(archive)
    except ZIP_ERRORS as error:
        raise unreadable(path, "an archive of torch.export", "no zip that can be read") from error
    try:
        program = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise unreadable(path, "the JSON of torch.export", "text that is none") from error
    if not isinstance(program, dict):
        raise unreadable(path, "the JSON of torch.export", "JSON of another shape")
    return program, record


def _read_record(archive: zipfile.ZipFile) -> dict[str, Any] | None:
    members = [m for m in archive.infolist() if m.filename.endswith("/extra/softonce")]
    if not members or members[0].file_size > MAX_RECORD_BYTES:
        return None
    try:
        record = json.loads(archive.read(members[0]))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _read_json(path: Path, archive: zipfile.ZipFile) -> bytes:
    """Return the graph's JSON; of several models the first."""
    members = [m for m in archive.infolist() if _is_graph(m.filename)]
    if not members:
        found = "pickles" if any(n.endswith(".pkl") for n in archive.namelist()) else "no graph"
        raise unreadable(path, "an archive of torch.export", found)
    if members[0].file_size > MAX_JSON_BYTES:
        expected = f"a graph of at most {MAX_JSON_BYTES} bytes of JSON"
        raise unreadable(path, expected, f"{members[0].file_size}")
    with archive.open(members[0]) as file:
        return file.read(MAX_JSON_BYTES)


def _is_graph(name: str) -> bool:
    folders = name.split("/")
    return folders[-1] == _OLD_NAME or (folders[-2:-1] == ["models"] and name.endswith(".json"))


class _Values(NamedTuple):
    """What the file says of the values: shapes, and numbers that stand for element types."""

    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, int]


def _graph(module: Mapping[str, Any]) -> Graph:
    graph, signature = module["graph"], module["signature"]
    specs = [spec for entry in signature["input_specs"] for spec in entry.items()]
    weights = [spec["arg"] for name, spec in specs if name in _WEIGHTS]
    returned = [entry["user_output"] for entry in signature["output_specs"] if _is_returned(entry)]
    values = [name for spec in returned for name in _tensors(spec["arg"])]
    shapes = {name: _shape(value) for name, value in graph["tensor_values"].items()}
    dtypes = {name: value.get("dtype") for name, value in graph["tensor_values"].items()}
    return Graph(
        nodes=tuple(_node(node, _Values(shapes, dtypes)) for node in graph["nodes"]),
        outputs=dict(zip(_output_names(module, len(values)), values, strict=True)),
        constants={arg["name"]: math.nan for arg in weights},
        shapes=shapes,
    )


def _is_returned(entry: Mapping[str, Any]) -> bool:
    return "user_output" in entry


def _output_names(module: Mapping[str, Any], number: int) -> list[str]:
    """Return the keys of a returned dict, or numbers."""
    try:
        calls = module["module_call_graph"]
        spec = json.loads(next(c for c in calls if c["fqn"] == "")["signature"]["out_spec"])[1]
        keys = json.loads(spec["context"]) if spec["type"] == "builtins.dict" else []
    except (KeyError, TypeError, ValueError, IndexError, StopIteration):
        keys = []
    plain = [f"output {position}" for position in range(number)]
    return [str(key) for key in keys] if len(set(map(str, keys))) == number else plain


def _node(node: Mapping[str, Any], graph: _Values) -> Node:
    op = str(node["target"]).removeprefix("torch.ops.")
    raw = op.split(".")[1] if op.startswith("aten.") else "unknown"
    given = {entry["name"]: entry["arg"] for entry in node["inputs"]}
    outputs = tuple(_outputs(node))
    inputs = _scored(raw, given)
    tensors = [x for x in inputs if isinstance(x, str)]
    name = ATEN.get(canonical(raw), canonical(raw))
    if name in ("max", "min") and len(tensors) == 2:
        name = f"{name}imum"
    if name == "to" and outputs and graph.dtypes.get(outputs[0]) in _WHOLE_NUMBERS:
        name = "long"
    shape = graph.shapes.get(tensors[0]) if tensors else None
    return Node(
        op=op,
        name=str(node.get("name") or next(iter(outputs), "")),
        canonical=name,
        inputs=inputs,
        outputs=outputs,
        dim=_ints(given.get("dim", given.get("dims"))) or _default_dim(name),
        order=_order(name, given, None if shape is None else len(shape)),
        mask=next(_tensors(given.get("condition", {})), ""),
    )


def _scored(op: str, given: Mapping[str, Any]) -> tuple[str | float, ...]:
    """Return the tensors and numbers that the table asks about, in its order."""
    if op in _BOUNDS:
        first = next(_tensors(given["self"]))
        bounds = (next(_operands(given.get(name, {})), None) for name in _BOUNDS[op])
        limits = (-math.inf, math.inf) if op == "clamp" else (-1.0, 1.0)
        return (first, *(x if x is not None else y for x, y in zip(bounds, limits, strict=True)))
    inputs = [x for key, arg in given.items() if key not in _SETTINGS for x in _operands(arg)]
    if next(_operands(given.get("alpha", {})), 1.0) != 1.0:
        inputs = [*inputs[:1], "a multiple"]
    return tuple(inputs[::-1] if op == "rsub" else inputs)


def _order(op: str, given: Mapping[str, Any], rank: int | None) -> tuple[int, ...]:
    """Return the new order of the axes, if the call permutes them."""
    if rank is None:
        return ()
    dims = (_ints(given[name]) for name in ORDERED_BY.get(op, ()))
    return order_after("T" if op == "numpy_T" else op, rank, *dims)


def _default_dim(op: str) -> tuple[int, ...]:
    default = DIMS.get(op, (0, None))[1]
    return () if default is None else (default,)


def _outputs(node: Mapping[str, Any]) -> Iterator[str]:
    for output in node["outputs"]:
        yield from _tensors(output)


def _tensors(arg: Mapping[str, Any]) -> Iterator[str]:
    if "as_tensor" in arg:
        yield arg["as_tensor"]["name"]
    for tensor in arg.get("as_tensors", ()):
        yield tensor["name"]


def _operands(arg: Mapping[str, Any]) -> Iterator[str | float]:
    yield from _tensors(arg)
    for kind in ("as_float", "as_int"):
        if kind in arg:
            yield float(arg[kind])


def _ints(arg: Mapping[str, Any] | None) -> tuple[int, ...]:
    if arg is None:
        return ()
    return (int(arg["as_int"]),) if "as_int" in arg else tuple(map(int, arg.get("as_ints", ())))


def _shape(value: Mapping[str, Any]) -> Shape:
    return tuple(int(size["as_int"]) if "as_int" in size else -1 for size in value["sizes"])
