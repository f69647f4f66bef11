"""Tensor types by name: N images, C classes, D features, H x W pixels mean the same everywhere."""

from __future__ import annotations

from typing import Literal, TypeAlias

from jaxtyping import Float, Float32, Int, UInt8
from torch import Tensor

Images: TypeAlias = Float[Tensor, "N channels H W"]
Pixels: TypeAlias = UInt8[Tensor, "N channels H W"]
Features: TypeAlias = Float[Tensor, "N D"]
Logits: TypeAlias = Float[Tensor, "N C"]
LogProbs: TypeAlias = Float[Tensor, "N C"]
Probs: TypeAlias = Float[Tensor, "N C"]
Pred: TypeAlias = Int[Tensor, " N"]
ClassIndex: TypeAlias = Int[Tensor, " N"]
Row: TypeAlias = Float32[Tensor, " N"]

Reduction: TypeAlias = Literal["mean", "sum", "none"]
