"""Programs of torch.export, as `.pt2`."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from softonce.formats.record import Format, Runtime

if TYPE_CHECKING:
    from pathlib import Path

    from softonce.checker.graph.nodes import ModelFile
    from softonce.engines.engine import Engine
    from softonce.exporting.job import ExportJob

ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, OSError
)  # fmt: skip
"""What the reader of zips raises: for another version or method, an encrypted member, a name that
is not UTF-8, and damage."""

TORCH = Runtime("torch", "torch", "train")
TORCH_COMPILED = Runtime("torch-compiled", "torch", "train", is_automatic=False)


def _write(job: ExportJob, path: Path) -> None:
    from softonce.exporting.program_file import write

    write(job, path)


def _open(
    path: Path, runtime: str, *, threads: int | None = None, trust: bool = False, **_: Any
) -> Engine:
    from softonce.engines.program_engine import open_program

    compiled = runtime == TORCH_COMPILED.name
    return open_program(path, compiled=compiled, threads=threads, trust=trust)


def _read_graph(path: Path) -> ModelFile:
    from softonce.checker.graph.pt2_file import read

    return read(path)


FORMAT = Format(
    name="torch",
    title="torch.export",
    suffix=".pt2",
    runtimes=(TORCH, TORCH_COMPILED),
    open=_open,
    read_graph=_read_graph,
    precisions=("fp32", "fp16", "bf16"),
    write=_write,
)
