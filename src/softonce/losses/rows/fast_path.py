"""The call that nearly all small calls are, looked for before anything else, as it has least time.

Class indices of (N, C) logits on a CPU, in single or double precision, summed or averaged, without
an option. The checks and the records of the general way take as long as the loss of 64 x 10 logits
itself. Whatever is not as expected, wrong arguments too, is left to that way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from softonce.losses.kernels.blocked import plain_block
from softonce.losses.kernels.products import is_for_onednn
from softonce.losses.rows.autograd import (
    LogitsProblem,
    is_eager,
    is_one,
    needs_gradient,
    readable_gradient,
)
from softonce.losses.rows.objective import objective_of
from softonce.losses.rows.options import LossOptions

if TYPE_CHECKING:
    from torch import Tensor

    from softonce.shapes import Reduction

_SMALL = 2**18
"""Logits up to which the checks of the general way are a noticeable part of its time."""
_DTYPES = (torch.float32, torch.float64)
_KINDS = (torch.Tensor, torch.nn.Parameter)


def loss_of_logits(
    logits: Tensor, target: Tensor, reduction: Reduction, ignore_index: int
) -> Tensor | None:
    """Return the loss; None where the call is of another kind."""
    if not (
        type(logits) in _KINDS
        and logits.dim() == 2
        and _are_rows(logits, target, logits.shape[1], ignore_index)
        and reduction in ("mean", "sum")
    ):
        return None
    logits, target = _counted(logits, target, ignore_index)
    return _loss(logits, target, reduction)


def loss_of_head(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    reduction: Reduction,
    ignore_index: int,
) -> Tensor | None:
    """Return the loss of a head with few logits; None where the call is of another kind."""
    if not (
        type(features) in _KINDS
        and type(weight) in _KINDS
        and features.dim() == weight.dim() == 2
        and features.dtype == weight.dtype
        and weight.is_cpu
        and features.shape[1] == weight.shape[1]
        and (bias is None or _fits(bias, weight))
        and _are_rows(features, target, len(weight), ignore_index)
        and reduction in ("mean", "sum")
        and not is_for_onednn(features, weight)
        and not torch.is_autocast_enabled("cpu")
    ):
        return None
    features, target = _counted(features, target, ignore_index)
    return _loss(F.linear(features, weight, bias), target, reduction)


def _are_rows(rows: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> bool:
    """Whether these are a few rows with a class index each, and nobody looks on."""
    return (
        type(target) is torch.Tensor
        and rows.dtype in _DTYPES
        and rows.is_cpu
        and 0 < len(rows) * num_classes <= _SMALL
        and target.dtype == torch.int64
        and target.is_cpu
        and target.shape == rows.shape[:1]
        and not 0 <= ignore_index < num_classes
        and is_eager()
    )


def _counted(rows: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Return the rows that are not ignored, and their targets."""
    if target.amin().item() >= 0:
        return rows, target
    kept = (target != ignore_index).nonzero().squeeze(1)
    return rows.index_select(0, kept), target.index_select(0, kept)


def _loss(logits: Tensor, target: Tensor, reduction: Reduction) -> Tensor | None:
    """Return the loss; None where there is no row, or a class is not there."""
    if logits.numel() == 0:
        return None
    try:
        if needs_gradient(logits):
            loss: Tensor = _Loss.apply(logits, target, reduction)  # type: ignore[no-untyped-call] # torch's
        else:
            loss = _reduce(plain_block(logits, target.unsqueeze(1)), reduction)
    except RuntimeError:
        return None
    return loss


def _reduce(rows: Tensor, reduction: Reduction) -> Tensor:
    return rows.mean() if reduction == "mean" else rows.sum()


def _fits(bias: Tensor, weight: Tensor) -> bool:
    is_plain = type(bias) in _KINDS and bias.is_cpu and bias.dtype == weight.dtype
    return is_plain and bias.shape == weight.shape[:1]


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
        ctx.save_for_backward(logits, target)
        ctx.reduction = reduction
        rows, ctx.dlogits = _rows_and_gradient(logits, target, reduction)
        return _reduce(rows, reduction)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        logits, target = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient shall have one itself
            options = LossOptions(reduction=ctx.reduction)
            objective = objective_of(logits.shape, target, None, options, like=logits)
            problem = LogitsProblem(objective)
            return *readable_gradient(problem, (logits,), (True,), (upstream,)), None, None
        dlogits, ctx.dlogits = ctx.dlogits, None
        if dlogits is None:  # it was given away
            dlogits = _rows_and_gradient(logits, target, ctx.reduction)[1]
        return dlogits if is_one(upstream) else dlogits.mul_(upstream), None, None


def _rows_and_gradient(
    logits: Tensor, target: Tensor, reduction: Reduction
) -> tuple[Tensor, Tensor]:
    dlogits = torch.empty_like(logits, memory_format=torch.contiguous_format)
    scale = 1 / len(logits) if reduction == "mean" else 1.0
    return plain_block(logits, target.unsqueeze(1), dlogits, scale), dlogits
