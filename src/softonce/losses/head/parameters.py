"""The parameters of a linear head: logits of a block, and the sums of its gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import torch

from softonce.losses.kernels.memory import Scratch, in_huge_pages
from softonce.losses.kernels.products import (
    add_product_,
    replace_by_product_,
    wide_product,
)
from softonce.losses.row_maths import accumulation_dtype
from softonce.losses.rows.autograd import is_one
from softonce.losses.tuning import tuning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from softonce.losses.kernels.interface import Factor

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

    @property
    def room(self) -> int:
        """The columns behind each row of the logits that are there to fill whole words."""
        chosen, multiple = tuning().is_row_padded, tuning().gpu_row_multiple
        is_padded = not self.features.is_cpu if chosen is None else chosen
        num_classes = len(self.weight)
        return -num_classes % multiple if is_padded and num_classes > multiple else 0

    def narrow(self, classes: slice) -> Head:
        """Return the head of some classes, all in the precision to multiply in, until the next."""
        weight = self.weight[classes]
        if weight.dtype != self.dtype:
            weight = self.scratch.place("weight", weight.shape, self.features).copy_(weight)
        bias = None if self.bias is None else self.bias[classes].to(self.dtype)
        return replace(self, weight=weight, bias=bias)

    def logits(self, rows: slice, place: Tensor | None = None) -> Tensor:
        """Return the logits of some rows in the precision to sum in, until the next.

        Where there is a `place` of their shape, it may be there. The parameters have the precision
        to multiply in.
        """
        features = self.features[rows]
        if place is None:
            like = features.new_empty((), dtype=accumulation_dtype(self.dtype))
            place = self._rows("logits", len(features), len(self.weight), like)
        return wide_product(features, self.weight, self.bias, place, self.scratch)

    def places(self, needs: Sequence[bool]) -> Gradients:
        """Return where the gradients go that are needed."""
        return Gradients.empty(self, needs)

    def narrow_place(self, logits: Tensor) -> Tensor:
        """Return where the gradient of the logits goes, in the precision to multiply in."""
        if logits.dtype == self.dtype:
            return logits
        return self._rows("narrow", len(logits), logits.shape[1], self.features)

    def _rows(self, name: str, num_rows: int, num_classes: int, like: Tensor) -> Tensor:
        """Return a place for rows of logits; those of all classes have room behind each."""
        room = self.room if num_classes == len(self.weight) else 0
        whole = self.scratch.place(name, (num_rows, num_classes + room), like)
        return whole[:, :num_classes]


class Gradients(NamedTuple):
    """Sums over chunks, in the accumulation precision; None if no gradient is needed.

    Args:
        features: (N, D).
        weight: (C, D).
        bias: (C,).
        scale: what the sums have yet to be multiplied with; None is 1.
    """

    features: Tensor | None
    weight: Tensor | None
    bias: Tensor | None
    scale: Factor | None = None

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

    def scale_(self, upstream: Tensor | None = None) -> list[Tensor | None]:
        """Return the sums times what is upstream, nearly always 1: on a CPU that costs nothing."""
        factors = [f for f in (self.scale, upstream) if f is not None and not is_one(f)]
        sums: list[Tensor | None] = [self.features, self.weight, self.bias]
        if factors:
            factor = math.prod(factors[1:], start=factors[0])
            sums = [part if part is None else part.mul_(factor) for part in sums]
        return sums


def find_largest_factor(of_rows: Tensor) -> Tensor:
    """Return the largest factor, by which half precision has them divided; 1 if there is none.

    So the largest is 1, which rounds nowhere, and none is above what half precision can hold.
    """
    if len(of_rows) == 0:
        return of_rows.new_ones(())
    largest = of_rows.abs().amax()
    return largest.where(largest > 0, 1)
