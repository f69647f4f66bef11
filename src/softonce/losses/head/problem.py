"""A linear head and its loss as one problem: logits in blocks, gradients of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from softonce.losses.head import class_blocks
from softonce.losses.head.parameters import Gradients, Head, find_largest_factor
from softonce.losses.head.predictions import Predictions
from softonce.losses.head.row_chunks import RowChunks
from softonce.losses.kernels.products import product_dtype
from softonce.losses.row_maths import HALF_DTYPES, IndexTarget, accumulation_dtype
from softonce.losses.rows.autograd import without_autocast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from softonce.losses.kernels.interface import Rows
    from softonce.losses.rows.objective import Loss, Objective

_ALL = slice(None)


@dataclass(frozen=True)
class HeadProblem:
    """The loss of features (N, D) through a weight (C, D) and a bias (C,) or None.

    Args:
        objective: target and options, for logits (N, C).
        dtype: of the factors: autocast's, or the features' own.
    """

    objective: Objective
    dtype: torch.dtype

    def readable(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Loss:
        """Return the loss by plain maths, with all logits in memory."""
        return self.objective.readable(self.logits(self._blank(features), weight, bias))

    def logits(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return all logits, in the precision to sum in."""
        wide = accumulation_dtype(self.dtype)
        factors = (
            factor if factor is None or factor.dtype == wide else factor.to(self.dtype).to(wide)
            for factor in (features, weight, bias)
        )
        with without_autocast(features.device.type):  # it would narrow what was widened
            return F.linear(*factors)  # type: ignore[arg-type] # only the bias may be None

    def value(self, tensors: tuple[Any, ...], needs: Sequence[bool]) -> tuple[Loss, Any]:
        """Make the gradient with the loss if one number is upstream of it."""
        objective, head = self.objective, self._head(*tensors)
        loss_only = not any(needs) and not objective.options.return_lse
        loop, gradients, scale = self._loop(head, loss_only=loss_only), None, None
        if any(needs) and objective.is_plain_sum:
            gradients = Gradients.empty(head, needs)
            scale = objective.scale(len(head.features))
        if gradients is not None and head.dtype in HALF_DTYPES:
            # the share 1 / N of a row would underflow, or round alike in each; 1 itself is exact
            gradients, scale = gradients._replace(scale=scale), None
        seen = Predictions(head.features) if objective.options.return_pred else None
        rows = loop.run(1.0 if scale is None else scale, gradients, seen)
        pred = None if seen is None else seen.classes
        return objective.reduce(rows, pred), (rows, gradients)

    def gradient(
        self,
        tensors: tuple[Any, ...],
        needs: Sequence[bool],
        kept: Any,
        upstream: Sequence[Tensor | None],
    ) -> list[Tensor | None]:
        """Scale the gradient that is there, or make it."""
        rows, gradients = self.value(tensors, needs)[1] if kept is None else kept
        if gradients is not None:
            sums = gradients.scale_(upstream[0])
        else:
            sums = self._gradients(tensors, needs, rows, upstream).scale_()
        return [
            None if part is None else part.to(tensor.dtype)
            for part, tensor in zip(sums, tensors, strict=True)
        ]

    def _gradients(
        self,
        tensors: tuple[Any, ...],
        needs: Sequence[bool],
        rows: Rows,
        upstream: Sequence[Tensor | None],
    ) -> Gradients:
        """Return the gradients of rows that each have a factor of their own."""
        head = self._head(*tensors)
        gradients = Gradients.empty(head, needs)
        of_loss, of_lse = self.objective.upstream_of_rows(upstream, rows.loss)
        if head.dtype in HALF_DTYPES:
            unit = find_largest_factor(of_loss)
            of_loss, gradients = of_loss / unit, gradients._replace(scale=unit)
            of_lse = None if of_lse is None else of_lse / unit
        self._loop(head).differentiate(rows, gradients, of_loss, of_lse)
        return gradients

    def _head(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Head:
        features, dtype = self._blank(features), product_dtype(self.dtype, features.device)
        if features.dtype != dtype:
            features = features.to(self.dtype).to(dtype)
        return Head(features, weight, bias)

    def _blank(self, features: Tensor) -> Tensor:
        """Write 0 into the features of ignored rows: a gradient of 0 times inf would be NaN."""
        target = self.objective.target
        return target.blank(features) if isinstance(target, IndexTarget) else features

    def _loop(self, head: Head, *, loss_only: bool = False) -> RowChunks | class_blocks.ClassBlocks:
        mass = self.objective.mass
        if self.objective.options.softcap is None and class_blocks.is_faster(head, mass):
            return class_blocks.ClassBlocks(head, mass)
        return RowChunks(head.narrow(_ALL), mass, self.objective.kernel(head.features), loss_only)
