"""OpenVINO's files and ONNX files, run by OpenVINO."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from softonce.artefact import Metadata
from softonce.engines.graph_engine import GraphEngine, in_batches
from softonce.engines.openvino_pixels import rebuild_resize_
from softonce.errors import ArtefactError, import_extra

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from softonce.engines.graph_engine import Outputs

_PILLOW = {"linear_onnx": "bilinear_pillow", "cubic": "bicubic_pillow"}
_HINTS = {"bf16": "bf16", "fp16": "f32", "fp32": "f32", "int8": "f32"}
"""What is not quantised computes in this, set explicitly: OpenVINO's own choice is bfloat16 if the
processor has it. With fp16 the weights are stored so, and computed with in float32."""


def open_openvino(path: Path, *, threads: int | None = None) -> GraphEngine:
    """Open a file that `softonce export` wrote, OpenVINO's or ONNX.

    Raises:
        ArtefactError: if it is damaged, or carries no record of softonce.
        MissingExtraError: if OpenVINO is not installed.
    """
    model, core = read_graph(path)
    precision = _said(model, "softonce_precision") or "fp32"
    metadata = Metadata.from_json(_said(model, "softonce"), path)
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _HINTS.get(precision, "f32"),
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    with _damage_named(path):
        batch = model.inputs[0].get_partial_shape()[0]
        compiled = core.compile_model(model, "CPU", settings)
    names = [output.any_name for output in compiled.outputs]

    def run(images: NDArray[np.uint8]) -> Outputs:
        request = compiled.create_infer_request()  # one a call: calls of several threads
        found = request.infer({"images": images}, share_inputs=True)
        return {name: found[name] for name in names}

    size = batch.get_length() if batch.is_static else None
    return GraphEngine("openvino", metadata, precision, in_batches(run, size))


def read_graph(path: Path) -> tuple[Any, Any]:
    """Read a graph, with a resize that antialiases, which OpenVINO's reader of ONNX leaves out.

    The preprocessing of a file of ours is built anew, from its record, so that pictures of any size
    compile nothing; in another file Pillow's filter takes the place of the resize.

    Returns:
        (model, core) of OpenVINO.
    """
    openvino = import_extra("openvino", "openvino")
    core = openvino.Core()
    core.set_property({"ENABLE_MMAP": False})  # mapped weights would change with their file
    with _damage_named(path):
        model = read_file(core, path)
        if (record := _said(model, "softonce")) is not None:
            rebuild_resize_(model, Metadata.from_json(record, path).preprocessing)
        for node in model.get_ops():
            if node.get_type_name() == "Interpolate" and node.get_attributes()["antialias"]:
                _antialias_(node)
        model.validate_nodes_and_infer_types()
    return model, core


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Raise an `ArtefactError` for what OpenVINO cannot read, rebuild or compile."""
    try:
        yield
    except (RuntimeError, IndexError) as error:  # a graph may lack its input
        raise ArtefactError(
            f"expected a graph that OpenVINO reads at {path}, found: {_in_one_line(error)}; "
            "export it again"
        ) from error


def read_file(core: Any, path: Path) -> Any:
    """Read a graph with the reader that its suffix names, and no other.

    OpenVINO would try every reader that it has, and one of them prints lines of its own.

    Args:
        core: of OpenVINO, which keeps what is set.
        path: an .xml of OpenVINO, or an .onnx.

    Returns:
        The model.

    Raises:
        RuntimeError: if it cannot be read; the message is one line.
    """
    from openvino.frontend import FrontEndManager

    form = "onnx" if path.suffix.lower() == ".onnx" else "ir"
    try:
        if FrontEndManager().load_by_framework(form).supported(str(path)):
            return core.read_model(path)
    except (RuntimeError, UnicodeDecodeError) as error:
        raise RuntimeError(_in_one_line(error)) from error
    raise RuntimeError("it does not begin as such a file does")


def _in_one_line(error: Exception) -> str:
    """Return what OpenVINO says, without where in its own source it says so."""
    lines = (line.strip() for line in str(error).splitlines())
    said = [line for line in lines if line and not line.startswith(("Exception from ", "Check '"))]
    return " ".join(said)[:200] or "a damaged file"


def _antialias_(node: Any) -> None:
    """Put Pillow's own filter, over the last two axes, in the place of an antialiased resize."""
    from openvino import opset13

    resized = opset13.interpolate(
        image=node.input_value(0),
        scales_or_sizes=opset13.gather(node.input_value(1), [2, 3], 0),
        mode=_PILLOW[node.get_attributes()["mode"]],
        shape_calculation_mode="sizes",
        cube_coeff=-0.5,
        axes=[2, 3],
    )
    node.output(0).replace(resized.output(0))


def _said(model: Any, key: str) -> str | None:
    """Return what the file says under this key, as OpenVINO or ONNX wrote it."""
    for place in ([key], ["framework", key]):
        if model.has_rt_info(place):
            return str(model.get_rt_info(place).astype(str))
    return None
