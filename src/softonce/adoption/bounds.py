"""What a foreign ONNX file may ask of this machine: looked at before anything is allocated.

The file is data of somebody else's. Its graph has no code of its own (operators of other libraries
are refused, and no library is loaded), but it can declare sizes, name files and repeat itself.
"""

from __future__ import annotations

import math
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softonce.checker.graph.onnx_file import MAX_NODES, num_nodes
from softonce.errors import ArtefactError

if TYPE_CHECKING:
    from collections.abc import Iterator

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Whose operators ONNX Runtime brings along: the standard, the classical models, and its own."""

UNBOUNDED = frozenset({"Loop", "Scan"})
"""They repeat a graph as often as a number says that the file computes."""

MAX_BYTES = 2**31 - 1
"""Of a file with its tensors: protobuf's own limit, and so that of what is written."""

MAX_ELEMENTS = 2**29
"""Of one value that the graph makes of one picture: 2 GiB of float32. The largest in a classifier,
at 1024 pixels with 64 channels, has 2**26."""

MAX_MEMORY = 6 * 2**30
"""Bytes by which the process may grow while a foreign graph is loaded and run, beyond five times
its weights: they are parsed, copied, and packed for the processor."""


def check_bounds(model: Any, path: Path) -> None:
    """Look at what a parsed model declares.

    Args:
        model: the parsed file, whose external tensors are not loaded.
        path: where it is.

    Raises:
        ArtefactError: if it needs operators of another library, repeats itself without an end, or
            declares tensors that are not there, lie outside its folder, or are too large.
    """
    if num_nodes(model) > MAX_NODES:
        raise _refusal(path, f"functions of at most {MAX_NODES:,} nodes in all", "more")
    own = {(f.domain, f.name) for f in model.functions}
    for node in _nodes(model.graph, *model.functions):
        name = f"{node.op_type} {node.name or next(iter(node.output), '')!r}"
        if node.domain not in DOMAINS and (node.domain, node.op_type) not in own:
            library = f"{name} of the library {node.domain!r}"
            raise _refusal(path, "operators of the ONNX standard", library)
        if node.op_type in UNBOUNDED:
            raise _refusal(path, "a graph whose number of steps is known", name)
    total = sum(_num_bytes(tensor, path) for tensor in _tensors(model.graph, *model.functions))
    if total > MAX_BYTES:
        raise _refusal(path, f"weights of at most {MAX_BYTES:,} bytes", f"{total:,}")


def check_shapes(model: Any, path: Path) -> None:
    """Raise an `ArtefactError` if a value whose shape can be inferred is too large."""
    from onnx import shape_inference

    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # noqa: BLE001 - the library raises anything; `bounded_memory` is behind it
        return
    for value in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input):
        sizes = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        if math.prod(sizes) > MAX_ELEMENTS:
            shape = " x ".join(map(str, sizes))
            raise _refusal(
                path, f"values of at most {MAX_ELEMENTS:,} numbers", f"{value.name!r} of {shape}"
            )


@contextmanager
def bounded_memory(num_bytes: int) -> Iterator[None]:
    """Let the process grow by so much at most, where the system can hold it to that.

    What asks for more gets an error of the runtime, and not the machine's last memory.
    """
    try:
        import resource
    except ImportError:  # Windows
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform != "linux" or before[0] != resource.RLIM_INFINITY:
        yield  # macOS holds nobody to it, and a limit that is set already is the caller's wish
        return
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _address_space() -> int:
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def _refusal(path: Path, expected: str, found: str) -> ArtefactError:
    return ArtefactError(
        f"expected {expected} in {path}, found {found}: export the network again, with its "
        "weights in the file and by operators of the standard only"
    )


def _nodes(*graphs: Any) -> Iterator[Any]:
    """Yield the nodes of graphs, of functions, and of the graphs inside them."""
    for graph in graphs:
        for node in graph.node:
            yield node
            for attribute in node.attribute:
                yield from _nodes(*((attribute.g,) if attribute.HasField("g") else ()))
                yield from _nodes(*attribute.graphs)


def _tensors(*graphs: Any) -> Iterator[Any]:
    """Yield every tensor that a file holds: weights, constants, those of inner graphs."""
    inner = [
        graph
        for node in _nodes(*graphs)
        for attribute in node.attribute
        for graph in ((attribute.g,) if attribute.HasField("g") else tuple(attribute.graphs))
    ]
    for graph in (*graphs, *inner):
        yield from getattr(graph, "initializer", ())
        for sparse in getattr(graph, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
    for node in _nodes(*graphs):
        for attribute in node.attribute:
            yield from (attribute.t,) if attribute.HasField("t") else ()
            yield from attribute.tensors


def _num_bytes(tensor: Any, path: Path) -> int:
    """Return how many bytes a tensor takes, if they are there."""
    from onnx import TensorProto, helper

    number = int(math.prod(tensor.dims))
    if tensor.data_type == TensorProto.STRING:
        return number
    try:
        width = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, TypeError, ValueError) as error:
        kind = f"{tensor.name!r} of kind {tensor.data_type}"
        raise _refusal(path, "tensors of the standard's kinds", kind) from error
    declared = number * width
    if min(tensor.dims, default=0) < 0 or declared > MAX_BYTES:
        shape = " x ".join(map(str, tensor.dims))
        raise _refusal(path, f"tensors of at most {MAX_BYTES:,} bytes", f"{tensor.name!r}, {shape}")
    if tensor.data_location == TensorProto.EXTERNAL:
        _check_external(tensor, path, declared)
    elif tensor.HasField("raw_data") and len(tensor.raw_data) not in (declared, _packed(tensor)):
        held = f"{len(tensor.raw_data):,} of the {declared:,} bytes of {tensor.name!r}"
        raise _refusal(path, "whole tensors", held)
    elif not tensor.HasField("raw_data") and number > _num_typed(tensor):
        raise _refusal(path, "whole tensors", f"a part of {tensor.name!r}")
    return declared


def _packed(tensor: Any) -> int:
    """Return the bytes of numbers of four bits, two in a byte."""
    return int(math.prod(tensor.dims) + 1) // 2


def _num_typed(tensor: Any) -> int:
    """Return how many numbers at most the typed fields of a tensor stand for."""
    fields = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
    return 8 * max(len(getattr(tensor, name)) for name in fields)


def _check_external(tensor: Any, path: Path, declared: int) -> None:
    """Raise an `ArtefactError` unless the bytes lie in a file of the model's own folder."""
    given: dict[str, str] = {entry.key: entry.value for entry in tensor.external_data}
    folder = path.resolve().parent
    try:
        file = (folder / given.get("location", "")).resolve()
        start, length = int(given.get("offset", 0)), int(given.get("length", declared))
        is_inside = file.is_relative_to(folder) and file.is_file()
        size = file.stat().st_size if is_inside else 0
    except (OSError, ValueError) as error:
        raise _refusal(path, "weights in files beside it", f"{given!r:.80}") from error
    if not is_inside:
        raise _refusal(path, "weights in its own folder", f"{given.get('location')!r:.80}")
    if start < 0 or length != declared or start + length > size:
        name = f"{tensor.name!r} beyond the end of {file.name}"
        raise _refusal(path, "whole tensors", name)
