"""A torch network as an engine."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from softonce.data.loader import normalize
from softonce.engines.engine import noise
from softonce.engines.networks import as_evaluated, fold_batch_norm, load
from softonce.hardware import has_native_bfloat16
from softonce.models import Network
from softonce.precision import bfloat16_pays

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from softonce.artefact import Metadata
    from softonce.config.fields import AskedPrecision


_AT_A_TIME = 8
"""Most images at a time when precisions are compared, as few clients of a service send together."""


@dataclass(frozen=True)
class TorchEngine:
    """A network in evaluation mode, on whatever device its parameters are.

    Args:
        model: gives logits; its images come in the dtype of its parameters.
        metadata: of the artefact that it came from, or will become.
        forward: what is called in the place of the model, if it was compiled.
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
        threads: int | None = None,
        trust: bool = False,
        model: str | None = None,
    ) -> TorchEngine:
        """Open an artefact in float32: layer by layer as it was trained, or folded."""
        set_threads(threads)
        network, metadata = load(path, device=device, trust=trust, model=model)
        if not exact:
            network = as_evaluated(fold_batch_norm(network), next(network.parameters()).device)
        return cls(network, metadata)

    def in_precision(self, precision: AskedPrecision) -> TorchEngine:
        """Return the engine in float32, in bfloat16, or, with `auto`, in what is faster here."""
        where = next(self.model.parameters()).device
        if precision == "float32" or (precision == "auto" and not has_native_bfloat16(where)):
            return self
        half = replace(self, model=copy.deepcopy(self.model).bfloat16())
        return half if precision == "bfloat16" or self._is_slower_than(half) else self

    def _is_slower_than(self, half: TorchEngine) -> bool:
        seen = self.metadata.preprocessing
        pixels = noise((_AT_A_TIME, seen.in_channels, seen.size, seen.size))
        return bfloat16_pays(
            {
                "float32": lambda num: self.logits(pixels[:num]),
                "bfloat16": lambda num: half.logits(pixels[:num]),
            },
            _AT_A_TIME,
            what="a prediction",
        )

    def compiled(self) -> TorchEngine:
        """Return the engine with its network compiled, which happens at the first call."""
        return replace(self, forward=compiled_for(self.model))

    @property
    def name(self) -> str:
        """`torch` or `torch-compiled`."""
        return "torch" if self.forward is None else "torch-compiled"

    @torch.inference_mode()
    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the logits of uint8 pixels, float32."""
        logits = (self.forward or self.model)(self._images(pixels))
        return logits.float().cpu().numpy()

    @torch.inference_mode()
    def features(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the head takes of uint8 pixels, (N, D) float32.

        The network must be as it was trained: one whose layers were folded has no head any more.
        """
        assert isinstance(self.model, Network)  # noqa: S101 - the caller has opened it so
        return self.model.forward_features(self._images(pixels)).float().cpu().numpy()

    def _images(self, pixels: NDArray[np.uint8]) -> Tensor:
        parameter = next(self.model.parameters())
        images = normalize(
            torch.from_numpy(pixels).to(parameter.device), self.metadata.preprocessing
        )
        return images.to(parameter.dtype, memory_format=torch.channels_last)


def compiled_for(model: nn.Module) -> Any:
    """Compile a network whose weights will not change again; it happens at the first call."""
    return torch.compile(model, options={"freezing": True})


def set_threads(threads: int | None) -> None:
    """Say how many threads torch computes with; None leaves it."""
    if threads is not None:
        torch.set_num_threads(threads)
