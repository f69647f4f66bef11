"""ONNX files as OpenVINO's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softonce.engines.openvino_engine import read_graph

if TYPE_CHECKING:
    from pathlib import Path


def write_openvino(onnx_file: Path, path: Path, record: dict[str, str], *, half: bool) -> None:
    """Write an ONNX file of ours as `path` (.xml) and its weights beside it (.bin).

    Args:
        onnx_file: what `write_onnx` wrote.
        path: the .xml.
        record: what the file says of itself.
        half: whether the weights are stored in float16.
    """
    import openvino

    model, _ = read_graph(onnx_file)
    for key, text in record.items():
        model.set_rt_info(text, [key])
    openvino.save_model(model, path, compress_to_fp16=half)
