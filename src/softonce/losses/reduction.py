"""What every loss decides about options, target, class weights and reduction: decided once, here.

Scores are logits or log-probabilities; their classes lie on dimension 1, or on 0 without a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, NoReturn, get_args

import torch

from softonce.errors import ArgumentError
from softonce.shapes import Reduction

if TYPE_CHECKING:
    from torch import Tensor

HALF_DTYPES = (torch.float16, torch.bfloat16)


class IndexTarget(NamedTuple):
    """An index target, (N, 1, ...): `safe` may be gathered with, the masks name the other rows."""

    safe: Tensor
    ignored: Tensor | None = None
    outside: Tensor | None = None

    def blank(self, scores: Tensor) -> Tensor:
        """Write 0 into the scores of ignored rows, which may hold anything."""
        return scores if self.ignored is None else scores.masked_fill(self.ignored, 0)

    def write(self, rows: Tensor) -> Tensor:
        """Write 0 into ignored rows; make NaN, the gradient too, of rows whose class is outside."""
        if self.outside is not None:
            rows = rows * torch.ones_like(rows).masked_fill(self.outside, torch.nan)
        return self.blank(rows)

    def total(self, row_weight: Tensor | None) -> Tensor | None:
        """Sum the weights of the rows that count; None where each row counts 1."""
        if row_weight is None:
            return None if self.ignored is None else (~self.ignored).sum()
        return self.blank(row_weight).sum()


def check_options(reduction: str, label_smoothing: float = 0.0) -> None:
    """Raise where an option has a value that no loss knows."""
    if reduction not in get_args(Reduction):
        raise ArgumentError(
            f"expected reduction to be one of {', '.join(get_args(Reduction))}; found {reduction!r}"
        )
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(
            f"expected label_smoothing in [0, 1], found {label_smoothing}: "
            "pass the share of the target that is spread over all classes, 0 for none"
        )


def check_scores(name: str, scores: Tensor) -> None:
    """Raise unless `scores` are floats with a dimension of at least one class."""
    if not scores.is_floating_point():
        raise ArgumentError(
            f"expected floating point {name}, found {scores.dtype}: "
            f"pass the scores themselves, or convert them with {name}.float()"
        )
    if scores.dim() == 0 or scores.shape[:2][-1] == 0:
        raise ArgumentError(
            f"expected {name} of shape (C,) or (N, C, ...) with at least one class, "
            f"found {tuple(scores.shape)}: pass one score per class"
        )


def check_index_target(name: str, shape: torch.Size, target: Tensor) -> None:
    """Raise unless `target` holds one class index for each row of scores of this `shape`."""
    expected = row_shape(shape)
    if target.shape != expected:
        raise ArgumentError(
            f"expected a target of shape {tuple(expected)} for {name} of shape {tuple(shape)}, "
            f"found {tuple(target.shape)}: pass one class index for each row"
        )
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise ArgumentError(
            f"expected integer class indices in a target of shape {tuple(expected)}, "
            f"found {target.dtype}: convert them with target.long()"
        )


def check_probs_target(target: Tensor, ignore_index: int) -> None:
    """Raise unless `target`, which has the shape of the logits, may be class probabilities."""
    if not target.is_floating_point():
        raise ArgumentError(
            f"expected floating point class probabilities in a target of the logits' shape "
            f"{tuple(target.shape)}, found {target.dtype}: pass one class index for each row, "
            "or convert the probabilities with target.float()"
        )
    if ignore_index >= 0:
        raise ArgumentError(
            f"expected no ignore_index with a target of class probabilities, found {ignore_index}: "
            "leave it out; a row of zero probabilities contributes nothing"
        )


def index_target(target: Tensor, num_classes: int, ignore_index: int) -> IndexTarget:
    """Widen, check and mask a checked target of shape (N, ...)."""
    target = target.long().unsqueeze(1)
    index = target.clamp(0, num_classes - 1)
    if _is_equal(index, target) and not 0 <= ignore_index < num_classes:
        return IndexTarget(index)
    ignored = target == ignore_index
    wanted = target.masked_fill(ignored, 0)
    index = wanted.clamp(0, num_classes - 1)
    in_range = _is_equal(index, wanted)
    if in_range is False:
        _raise_out_of_range(target, wanted != index, num_classes, ignore_index)
    return IndexTarget(index, ignored, None if in_range else wanted != index)


def class_weight(weight: Tensor | None, scores: Tensor) -> Tensor | None:
    """Check one weight for each class, and shape them to broadcast over batched `scores`."""
    if weight is None:
        return None
    num_classes = scores.shape[1]
    if tuple(weight.shape) != (num_classes,) or not weight.is_floating_point():
        raise ArgumentError(
            f"expected a floating point weight of shape ({num_classes},), "
            f"found {weight.dtype} of shape {tuple(weight.shape)}: pass one weight for each class"
        )
    return weight.to(scores.dtype).view(1, num_classes, *[1] * (scores.dim() - 2))


def reduce_rows(rows: Tensor, total: Tensor | None, reduction: str, shape: torch.Size) -> Tensor:
    """Return the rows in the `shape` of their target, summed, or averaged over their `total`."""
    if reduction == "none":
        return rows.reshape(shape)
    if reduction == "sum":
        return rows.sum()
    return rows.mean() if total is None else rows.sum() / total


def row_shape(shape: torch.Size) -> torch.Size:
    """Return the shape of one loss for each row: that of the scores without their classes."""
    return shape[:1] + shape[2:] if len(shape) > 1 else torch.Size()


def as_batch(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return both with a batch dimension: a single row becomes a batch of one."""
    return (scores, target) if scores.dim() > 1 else (scores.unsqueeze(0), target.unsqueeze(0))


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to compute in: half precision is summed in single precision."""
    return torch.float32 if dtype in HALF_DTYPES else dtype


def result_dtype(scores: Tensor, target: Tensor) -> torch.dtype:
    """Return the loss's dtype, which is torch's: the scores' own, single precision in autocast."""
    dtype = scores.dtype
    if target.is_floating_point():
        dtype = torch.promote_types(dtype, target.dtype)
    device = scores.device.type
    if dtype not in HALF_DTYPES or not torch.amp.is_autocast_available(device):
        return dtype
    return torch.float32 if torch.is_autocast_enabled(device) else dtype


def _is_equal(index: Tensor, wanted: Tensor) -> bool | None:
    """Compare values where that costs no device sync and is possible at all, else return None."""
    if torch.compiler.is_compiling() or wanted.device.type != "cpu":
        return None
    try:
        return torch.equal(index, wanted)
    except RuntimeError:  # vmap and fake tensors hold no value that Python could read
        return None


def _raise_out_of_range(
    target: Tensor, wrong: Tensor, num_classes: int, ignore_index: int
) -> NoReturn:
    target, wrong = target.squeeze(1), wrong.squeeze(1)
    position = tuple(wrong.nonzero()[0].tolist())
    row = position[0] if len(position) == 1 else position
    raise ArgumentError(
        f"expected class indices in [0, {num_classes}) or ignore_index {ignore_index}, "
        f"found {int(target[position])} in row {row} of the target "
        f"(the first of {int(wrong.sum())} such rows): "
        "check the labels against the number of classes"
    )
