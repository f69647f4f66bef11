"""OpenVINO's intermediate representation: an .xml, and its weights in a .bin beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from softonce.formats.record import Format, Runtime

if TYPE_CHECKING:
    from pathlib import Path

    from softonce.checker.graph.nodes import ModelFile
    from softonce.engines.engine import Engine
    from softonce.exporting.job import ExportJob

OPENVINO = Runtime("openvino", "openvino", "openvino")


def _write(job: ExportJob, path: Path) -> None:
    from softonce.exporting.openvino_file import write

    write(job, path)


def _open(path: Path, runtime: str, *, threads: int | None = None, **_: Any) -> Engine:  # noqa: ARG001 - it has one
    from softonce.engines.openvino_engine import open_openvino

    return open_openvino(path, threads=threads)


def _read_graph(path: Path) -> ModelFile:
    from softonce.checker.graph.openvino_file import read

    return read(path)


FORMAT = Format(
    name="openvino",
    title="the fastest on most CPUs",
    suffix=".xml",
    runtimes=(OPENVINO,),
    open=_open,
    read_graph=_read_graph,
    precisions=("fp32", "fp16", "bf16", "int8"),
    write=_write,
    beside=(".bin",),
    extra="openvino",
)
