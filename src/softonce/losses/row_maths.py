"""The row maths of every loss: target, class weights and reduction, decided once, here.

Scores are logits or log-probabilities; their classes lie on dimension 1, or on 0 without a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

HALF_DTYPES = (torch.float16, torch.bfloat16)


class IndexTarget:
    """An index target, (N, 1, ...): `safe` may be gathered with, the masks name the other rows.

    On an accelerator nobody has looked whether there are others (`is_seen`): a kernel finds them
    itself, from `wanted`, and only what else asks for the masks has them made.

    Args:
        safe: class indices in range.
        ignored: which rows count nothing; None if there are none.
        outside: which rows have a class that does not exist; None if there are none.
    """

    def __init__(
        self, safe: Tensor, ignored: Tensor | None = None, outside: Tensor | None = None
    ) -> None:
        self.wanted, self.num_classes, self.ignore_index = safe, 0, 0
        self._parts: tuple[Tensor, Tensor | None, Tensor | None] | None = (safe, ignored, outside)

    @classmethod
    def unseen(cls, wanted: Tensor, num_classes: int, ignore_index: int) -> IndexTarget:
        """Return a target that holds any number."""
        target = cls(wanted)
        target.num_classes, target.ignore_index, target._parts = num_classes, ignore_index, None
        return target

    @property
    def is_seen(self) -> bool:
        """Whether the masks are there."""
        return self._parts is not None

    @property
    def parts(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """`safe`, `ignored` and `outside`."""
        if self._parts is None:
            ignored = self.wanted == self.ignore_index
            counted = self.wanted.masked_fill(ignored, 0)
            safe = counted.clamp(0, self.num_classes - 1)
            self._parts = (safe, ignored, counted != safe)
        return self._parts

    @property
    def safe(self) -> Tensor:
        """Class indices in range."""
        return self.parts[0]

    @property
    def ignored(self) -> Tensor | None:
        """Which rows count nothing."""
        if self._parts is None:
            return self.wanted == self.ignore_index
        return self._parts[1]

    @property
    def outside(self) -> Tensor | None:
        """Which rows have a class that does not exist."""
        return self.parts[2]

    def position(self, place: int) -> IndexTarget:
        """Return the target of one position of (N, 1, L)."""
        if not self.is_seen:
            wanted = self.wanted[..., place]
            return IndexTarget.unseen(wanted, self.num_classes, self.ignore_index)
        return IndexTarget(*(None if part is None else part[..., place] for part in self.parts))  # type: ignore[arg-type] # `safe` is never None

    def blank(self, scores: Tensor) -> Tensor:
        """Write 0 into the scores of ignored rows, which may hold anything."""
        ignored = self.ignored
        return scores if ignored is None else scores.masked_fill(ignored, 0)

    def write(self, rows: Tensor) -> Tensor:
        """Write 0 into ignored rows; make NaN, the gradient too, of rows whose class is outside."""
        if self.outside is not None:
            rows = rows * torch.ones_like(rows).masked_fill(self.outside, torch.nan)
        return self.blank(rows)

    def total(self, row_weight: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        """Sum the weights of the rows that count; None if each row counts 1."""
        if row_weight is not None:
            return self.blank(row_weight).sum(dtype=dtype)
        if not self.is_seen:
            return (self.wanted != self.ignore_index).sum(dtype=dtype)
        ignored = self.ignored
        return None if ignored is None else (~ignored).sum(dtype=dtype)


def per_class(values: Tensor | None, scores: Tensor) -> Tensor | None:
    """Return one value for each class, (C,), in a shape that broadcasts to batched scores."""
    if values is None:
        return None
    return values.to(scores.dtype).view(1, -1, *[1] * (scores.dim() - 2))


def weight_of_rows(weight: Tensor | None, index: Tensor) -> Tensor | None:
    """Return the weight of each row's class, (N, 1, ...), from weights (1, C, ...)."""
    if weight is None:
        return None
    return weight.expand(index.shape[0], -1, *index.shape[2:]).gather(1, index)


def reduce_rows(rows: Tensor, total: Tensor | None, reduction: str, shape: torch.Size) -> Tensor:
    """Return the rows in the `shape` of their target, summed, or averaged over their `total`."""
    if reduction == "none":
        return rows.reshape(shape)
    if reduction == "sum":
        return rows.sum()
    if total is None:
        return rows.mean()
    is_nothing = total == 0  # its mean is NaN, and its gradient 0
    return torch.where(is_nothing, torch.nan, rows.sum() / total.masked_fill(is_nothing, 1))


def times(mass: Tensor | float | None, differences: Tensor) -> Tensor:
    """Return `mass * differences`, where no mass on an impossible class counts 0, not NaN."""
    if mass is None:
        return differences
    if isinstance(mass, float) and mass != 0:
        return mass * differences
    nothing = differences.isinf()
    nothing = nothing if isinstance(mass, float) else nothing & (mass == 0)
    return mass * differences.masked_fill(nothing, 0)


def row_shape(shape: torch.Size) -> torch.Size:
    """Return the shape of one loss for each row: that of the scores without their classes."""
    return shape[:1] + shape[2:] if len(shape) > 1 else torch.Size()


def as_batch(scores: Tensor) -> Tensor:
    """Return scores, or probabilities, as (N, C) or (N, C, L)."""
    if scores.dim() == 1:
        return scores.unsqueeze(0)
    return scores if scores.dim() < 4 else scores.flatten(2)


def as_batch_of_indices(target: Tensor) -> Tensor:
    """Return an index target as (N,) or (N, L)."""
    if target.dim() == 0:
        return target.unsqueeze(0)
    return target if target.dim() < 3 else target.flatten(1)


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to compute in: half precision is summed in single precision."""
    return torch.float32 if dtype in HALF_DTYPES else dtype


def result_dtype(scores: Tensor, target: Tensor) -> torch.dtype:
    """Return the loss's dtype, which is torch's: the scores' own, single precision in autocast."""
    dtype = scores.dtype
    if target.is_floating_point():
        dtype = torch.promote_types(dtype, target.dtype)
    if dtype not in HALF_DTYPES:
        return dtype
    return torch.float32 if is_in_autocast(scores.device.type) else dtype


def is_in_autocast(device: str) -> bool:
    """Return whether autocast is on for a device, some of which have none.

    Those that everybody has are not asked for: torch 2.6 cannot compile the question.
    """
    has_autocast = device in ("cpu", "cuda") or torch.amp.is_autocast_available(device)
    return has_autocast and torch.is_autocast_enabled(device)
