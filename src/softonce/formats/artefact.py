"""Our own artefact: weights and the record of what they are, as `softonce train` writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from softonce.formats.record import Format
from softonce.formats.torch_export import TORCH, TORCH_COMPILED

if TYPE_CHECKING:
    from pathlib import Path

    from softonce.checker.graph.nodes import ModelFile
    from softonce.engines.engine import Engine


def _open(
    path: Path, runtime: str, *, exact: bool = False, precision: Any = "auto", **options: Any
) -> Engine:
    from softonce.engines.torch_engine import TorchEngine

    engine = TorchEngine.open(path, exact=exact, **options)
    engine = engine.in_precision("float32" if exact else precision)
    return engine.compiled() if runtime == TORCH_COMPILED.name else engine


def _read_graph(path: Path) -> ModelFile:
    from softonce.checker.graph.artefact_file import read

    return read(path)


FORMAT = Format(
    name="artefact",
    title="softonce's own",
    suffix=".safetensors",
    runtimes=(TORCH, TORCH_COMPILED),
    open=_open,
    read_graph=_read_graph,
)
