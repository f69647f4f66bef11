"""What the writer of a format is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from softonce.exporting.network import Deployed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn

    from softonce.artefact import Metadata
    from softonce.exporting.pictures import Sample
    from softonce.formats import Precision

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class ExportJob:
    """A classifier that is to be written, and how.

    Args:
        model: normalised images -> logits, in float32, batch normalisation folded.
        metadata: of the artefact.
        outputs: `logits`, `probs`, or both: what the file gives, in this order.
        precision: in which the file computes.
        opset: the ONNX operator set version.
        calibration: gives the pictures that int8 is calibrated on, if there are any.
    """

    model: nn.Module
    metadata: Metadata
    outputs: tuple[str, ...]
    precision: Precision
    opset: int
    calibration: Callable[[], Iterable[Sample]] | None = None

    @property
    def record(self) -> dict[str, str]:
        """What the file says of itself, by the keys that readers look for."""
        return {"softonce": self.metadata.to_json(), "softonce_precision": self.precision}

    def network(self, *, in_float32: bool = False) -> Deployed:
        """Return the whole network, its weights in the precision or in float32."""
        dtype = torch.float32 if in_float32 else _DTYPES.get(self.precision, torch.float32)
        return Deployed(self.model.to(dtype), self.metadata, self.outputs).eval()
