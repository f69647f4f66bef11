"""A torch network as an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from softonce.data.loader import normalize
from softonce.engines.networks import load

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from softonce.artefact import Metadata


@dataclass(frozen=True)
class TorchEngine:
    """A network in evaluation mode, on whatever device its parameters are.

    Args:
        model: gives logits.
        metadata: of the artefact that it came from, or will become.
    """

    model: nn.Module
    metadata: Metadata
    name: str = "torch"

    @classmethod
    def open(cls, path: Path, *, device: str = "auto") -> TorchEngine:
        """Open an artefact, in float32."""
        return cls(*load(path, device=device))

    @torch.inference_mode()
    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the logits of uint8 pixels, float32."""
        device = next(self.model.parameters()).device
        images = normalize(torch.from_numpy(pixels).to(device), self.metadata.preprocessing)
        logits = self.model(images.contiguous(memory_format=torch.channels_last))
        return logits.float().cpu().numpy()  # type: ignore[no-any-return] # a network is untyped
