"""A torch network as an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from softonce.data.loader import normalize
from softonce.engines.networks import as_evaluated, folded, load
from softonce.hardware import has_native_bfloat16

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from softonce.artefact import Metadata


@dataclass(frozen=True)
class TorchEngine:
    """A network in evaluation mode, on whatever device its parameters are.

    Args:
        model: gives logits; its images come in the dtype of its parameters.
        metadata: of the artefact that it came from, or will become.
        forward: what is called in the place of the model, where it was compiled.
    """

    model: nn.Module
    metadata: Metadata
    forward: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        device: str = "auto",
        exact: bool = True,
        compiled: bool = False,
        threads: int | None = None,
    ) -> TorchEngine:
        """Open an artefact: exactly as it was trained, or made fast."""
        set_threads(threads)
        model, metadata = load(path, device=device)
        if not exact:
            where = next(model.parameters()).device
            model = as_evaluated(folded(model), where)
            model = model.bfloat16() if has_native_bfloat16(where) else model
        return cls(model, metadata, compiled_for(model) if compiled else None)

    @property
    def name(self) -> str:
        """`torch` or `torch-compiled`."""
        return "torch" if self.forward is None else "torch-compiled"

    @torch.inference_mode()
    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the logits of uint8 pixels, float32."""
        parameter = next(self.model.parameters())
        images = normalize(
            torch.from_numpy(pixels).to(parameter.device), self.metadata.preprocessing
        )
        images = images.to(parameter.dtype, memory_format=torch.channels_last)
        logits = (self.forward or self.model)(images)
        return logits.float().cpu().numpy()


def compiled_for(model: nn.Module) -> Any:
    """Compile a network whose weights will not change again; it happens at the first call."""
    return torch.compile(model, options={"freezing": True})


def set_threads(threads: int | None) -> None:
    """Say how many threads torch computes with; None leaves it."""
    if threads is not None:
        torch.set_num_threads(threads)
