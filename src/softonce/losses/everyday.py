"""The call that nearly all small calls are, looked for before anything else, as it has least time.

Class indices of (N, C) logits on a CPU, in single or double precision, summed or averaged, without
an option. The checks and the records of the general way take as long as the loss of 64 x 10 logits
itself. Whatever is not as expected, ignored rows and wrong arguments too, is left to that way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from softonce.losses.fused import LogitsProblem, is_eager, is_one, readable_gradient
from softonce.losses.kernels.blocked import plain_block
from softonce.losses.objective import objective_of
from softonce.losses.products import is_for_onednn

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
        and type(target) is torch.Tensor
        and logits.dim() == 2
        and logits.dtype in _DTYPES
        and logits.is_cpu
        and 0 < logits.numel() <= _SMALL
        and target.dtype == torch.int64
        and target.is_cpu
        and target.shape == logits.shape[:1]
        and reduction in ("mean", "sum")
        and not 0 <= ignore_index < logits.shape[1]
        and is_eager()
    ):
        return None
    try:
        loss: Tensor = _Loss.apply(logits, target, reduction)  # type: ignore[no-untyped-call] # torch's
    except RuntimeError:  # a class that is not there: ignored, or wrong
        return None
    return loss


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
        and len(features) * len(weight) <= _SMALL
        and not is_for_onednn(features, weight)
        and (bias is None or _fits(bias, weight))
        and not torch.is_autocast_enabled("cpu")
        and is_eager()
    ):
        return None
    return loss_of_logits(F.linear(features, weight, bias), target, reduction, ignore_index)


def _fits(bias: Tensor, weight: Tensor) -> bool:
    is_plain = type(bias) in _KINDS and bias.is_cpu and bias.dtype == weight.dtype
    return is_plain and bias.shape == weight.shape[:1]


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
        ctx.save_for_backward(logits, target)
        ctx.reduction = reduction
        rows, ctx.dlogits = _rows_and_gradient(logits, target, reduction)
        return rows.mean() if reduction == "mean" else rows.sum()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        logits, target = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient shall have one itself
            objective = objective_of(
                logits.shape,
                target,
                None,
                like=logits,
                ignore_index=-100,
                reduction=ctx.reduction,
                label_smoothing=0.0,
            )
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
