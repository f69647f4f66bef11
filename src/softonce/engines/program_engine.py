"""Programs of torch.export, run by torch."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import torch

from softonce.artefact import Metadata
from softonce.engines.graph_engine import GraphEngine
from softonce.engines.torch_engine import compiled_for, set_threads
from softonce.errors import ArtefactError, describe_error
from softonce.formats.torch_export import ZIP_ERRORS

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from softonce.engines.graph_engine import Outputs

_MAX_RECORD_BYTES = 2**24


def open_program(
    path: Path, *, compiled: bool = False, threads: int | None = None, trust: bool = False
) -> GraphEngine:
    """Open a file that `softonce export --to torch` wrote.

    Raises:
        ArtefactError: if it is damaged or carries no record of softonce, and without `trust`:
            torch's loader unpickles and evaluates what it finds, and no record proves who wrote it.
    """
    metadata = Metadata.from_json(_said(path, "softonce"), path)
    if not trust:
        raise ArtefactError(
            f"expected --trust for {path}, found none: torch runs what it finds in a .pt2, so "
            "trust only one that you or a friend exported; softonce inspect reads it unrun"
        )
    set_threads(threads)
    try:
        program = torch.export.load(path).module(check_guards=False)
    except Exception as error:  # the loader raises anything
        raise ArtefactError(
            f"expected a program of torch.export at {path}, found: "
            f"{describe_error(error)}; export it again"
        ) from error
    module = compiled_for(program) if compiled else program

    @torch.inference_mode()
    def run(images: NDArray[np.uint8]) -> Outputs:
        outputs = module(torch.from_numpy(images))
        return {name: values.numpy() for name, values in outputs.items()}

    name = "torch-compiled" if compiled else "torch"
    return GraphEngine(name, metadata, _said(path, "softonce_precision") or "fp32", run)


def _said(path: Path, key: str) -> str | None:
    """Return what the archive says under this key; nothing else of it is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(f"/extra/{key}")]
            if not members or members[0].file_size > _MAX_RECORD_BYTES:
                return None
            return archive.read(members[0]).decode()
    except ZIP_ERRORS as error:
        raise ArtefactError(
            f"expected an archive of torch.export at {path}, found no zip that can be read: "
            "copy or make it again"
        ) from error
