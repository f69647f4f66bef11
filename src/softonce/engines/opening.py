"""From the name of a file to the engine that answers for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from softonce.errors import ArtefactError

if TYPE_CHECKING:
    from softonce.engines.engine import Engine


def open_engine(path: str | Path, *, device: str = "auto") -> Engine:
    """Open a model file.

    Args:
        path: a .safetensors artefact that `softonce train` wrote.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        ArtefactError: where the file is missing, damaged, or of another kind.

    Example:
        >>> open_engine("nothing.safetensors")
        Traceback (most recent call last):
        softonce.errors.ArtefactError: expected a .safetensors file at nothing.safetensors, ...
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        from softonce.engines.torch_engine import TorchEngine

        return TorchEngine.open(path, device=device)
    raise ArtefactError(f"expected a file of .safetensors at {path}, found {path.suffix!r}")
