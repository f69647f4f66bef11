"""ONNX: read by most runtimes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from softonce.formats.openvino import OPENVINO
from softonce.formats.record import Format, Runtime

if TYPE_CHECKING:
    from pathlib import Path

    from softonce.checker.graph.nodes import ModelFile
    from softonce.engines.engine import Engine
    from softonce.exporting.job import ExportJob

ONNX_RUNTIME = Runtime("onnxruntime", "onnxruntime", "export")


def _write(job: ExportJob, path: Path) -> None:
    from softonce.exporting.onnx_file import write

    write(job, path)


def _open(path: Path, runtime: str, *, threads: int | None = None, **_: Any) -> Engine:
    if runtime == OPENVINO.name:
        from softonce.engines.openvino_engine import open_openvino

        return open_openvino(path, threads=threads)
    from softonce.engines.onnx_engine import open_onnx

    return open_onnx(path, threads=threads)


def _read_graph(path: Path) -> ModelFile:
    from softonce.checker.graph.onnx_file import read

    return read(path)


FORMAT = Format(
    name="onnx",
    title="ONNX Runtime and others",
    suffix=".onnx",
    runtimes=(ONNX_RUNTIME, OPENVINO),
    open=_open,
    read_graph=_read_graph,
    precisions=("fp32", "fp16", "int8"),  # ONNX Runtime has no bfloat16 convolution on CPUs
    write=_write,
    extra="export",
    packages=("onnx", "onnxscript"),
)
