"""A linear head and its loss as one problem: logits of a chunk, gradients of the whole."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F

from softonce.losses import class_blocks
from softonce.losses.chunks import RowChunks
from softonce.losses.fused import is_one, without_autocast
from softonce.losses.kernels import kernel_for
from softonce.losses.memory import Scratch, in_huge_pages
from softonce.losses.predictions import Predictions
from softonce.losses.products import add_product_, product, replace_by_product_
from softonce.losses.reduction import IndexTarget, accumulation_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from softonce.losses.objective import Loss, Objective

_ALL = slice(None)


@dataclass(frozen=True)
class Head:
    """The features and the parameters of one call.

    Args:
        features: (N, D), in the precision to multiply in.
        weight: (C, D), in a precision of its own.
        bias: (C,), or None.
        scratch: memory for what a block needs for a while.
    """

    features: Tensor
    weight: Tensor
    bias: Tensor | None
    scratch: Scratch = field(default_factory=Scratch)

    @property
    def dtype(self) -> torch.dtype:
        """The precision to multiply in."""
        return self.features.dtype

    def narrow(self, classes: slice) -> Head:
        """Return the head of some classes, all in the precision to multiply in, until the next."""
        weight = self.weight[classes]
        if weight.dtype != self.dtype:
            weight = self.scratch.place("weight", weight.shape, self.features).copy_(weight)
        bias = None if self.bias is None else self.bias[classes].to(self.dtype)
        return replace(self, weight=weight, bias=bias)

    def logits(self, rows: slice, place: Tensor | None = None) -> Tensor:
        """Return the logits of some rows; where there is a `place` of their shape, it may be there.

        The parameters have the precision to multiply in.
        """
        return product(self.features[rows], self.weight, self.bias, place)


class Gradients(NamedTuple):
    """Sums over chunks, in the accumulation precision; None where no gradient is needed.

    Args:
        features: (N, D).
        weight: (C, D).
        bias: (C,).
    """

    features: Tensor | None
    weight: Tensor | None
    bias: Tensor | None

    @classmethod
    def empty(cls, head: Head, needs: Sequence[bool]) -> Gradients:
        """Make the places for what is needed; the first chunk writes them, the others add.

        Where there is no row there is no chunk, and the gradients are 0.
        """
        make = torch.empty_like if len(head.features) else torch.zeros_like
        parts = zip((head.features, head.weight, head.bias), needs, strict=True)
        return cls(
            *(
                in_huge_pages(make(part, dtype=accumulation_dtype(part.dtype)))
                if need and part is not None
                else None
                for part, need in parts
            )
        )

    def add_(self, head: Head, dlogits: Tensor, rows: slice, classes: slice = _ALL) -> None:
        """Add what the gradient of some logits says; the first rows and classes come first.

        Args:
            head: of these classes, in the precision to multiply in.
            dlogits: (rows, classes).
            rows: of the features.
            classes: of the whole weight.
        """
        dlogits, scratch = dlogits.to(head.dtype), head.scratch
        if self.features is not None:
            place, weight = self.features[rows], head.weight.t()
            add_product_(place, dlogits, weight, is_first=not classes.start, scratch=scratch)
        if self.weight is not None:
            features, is_first = head.features[rows].t(), not rows.start
            if is_first and classes == _ALL:
                replace_by_product_(self.weight, dlogits.t(), features, scratch=scratch)
            else:
                place = self.weight[classes]
                add_product_(place, dlogits.t(), features, is_first=is_first, scratch=scratch)
        if self.bias is not None:
            total = dlogits.sum(0, dtype=self.bias.dtype)
            self.bias[classes] = total if not rows.start else self.bias[classes] + total

    def scale_(self, factor: float | Tensor | None) -> None:
        """Multiply by what is upstream, which is nearly always 1: on a CPU that costs nothing."""
        if factor is None or is_one(factor):
            return
        for part in self:
            if part is not None:
                part.mul_(factor)


@dataclass(frozen=True)
class HeadProblem:
    """The loss of features (N, D) through a weight (C, D) and a bias (C,) or None.

    Args:
        objective: target and options, for logits (N, C).
        dtype: to multiply in: autocast's, or the features' own.
    """

    objective: Objective
    dtype: torch.dtype

    def readable(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Loss:
        """Return the loss by plain maths, with all logits in memory."""
        target = self.objective.target
        if isinstance(target, IndexTarget) and target.ignored is not None:
            features = features.masked_fill(target.ignored, 0)  # 0 * inf would be NaN
        return self.objective.readable(self.logits(features, weight, bias))

    def logits(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return all logits."""
        bias = None if bias is None else bias.to(self.dtype)
        with without_autocast(features.device.type):  # it would narrow what `dtype` has widened
            if features.dtype == weight.dtype == self.dtype:
                return F.linear(features, weight, bias)
            return F.linear(features.to(self.dtype), weight.to(self.dtype), bias)

    def value(self, tensors: tuple[Any, ...], needs: Sequence[bool]) -> tuple[Loss, Any]:
        """Make the gradient with the loss where one number is upstream of it."""
        objective, head = self.objective, self._head(*tensors)
        loop, gradients, scale = self._loop(head), None, None
        if any(needs) and objective.is_plain_sum:
            gradients = Gradients.empty(head, needs)
            scale = objective.scale(len(head.features))
        # in float16 the share 1 / N of a row would underflow, so the sums are scaled there
        is_narrow = self.dtype == torch.float16
        seen = Predictions(head.features) if objective.return_pred else None
        rows = loop.run(1.0 if scale is None or is_narrow else scale, gradients, seen)
        if gradients is not None and is_narrow:
            gradients.scale_(scale)
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
            gradients.scale_(upstream[0])
        else:
            head = self._head(*tensors)
            gradients = Gradients.empty(head, needs)
            factors = self.objective.upstream_of_rows(upstream, rows.loss)
            self._loop(head).differentiate(rows, gradients, *factors)
        return [
            None if part is None else part.to(tensor.dtype)
            for part, tensor in zip(gradients, tensors, strict=True)
        ]

    def _head(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Head:
        return Head(features.to(self.dtype), weight, bias)

    def _loop(self, head: Head) -> RowChunks | class_blocks.ClassBlocks:
        mass = self.objective.mass(len(head.weight))
        if class_blocks.is_faster(head, mass):
            return class_blocks.ClassBlocks(head, mass)
        return RowChunks(head.narrow(_ALL), mass, kernel_for(head.features))
