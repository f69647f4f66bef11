"""ONNX files as OpenVINO's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softonce.engines.openvino_engine import read_graph

if TYPE_CHECKING:
    from pathlib import Path

    from softonce.exporting.job import ExportJob


def write(job: ExportJob, path: Path) -> None:
    """Write a classifier as `path` (.xml) and its weights beside it (.bin)."""
    from softonce.exporting import onnx_file

    graph = path.with_suffix(".onnx")
    onnx_file.write(job, graph, in_float32=True)  # save_model halves the weights, a hint the sums
    write_openvino(graph, path, job.record, half=job.precision == "fp16")


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
