"""The call that nearly all small calls are, looked for before anything else, as it has least time.

Class indices of (N, C) logits on a CPU, without an option. The checks and the records of the
general way take as long as the loss of 64 x 10 logits itself. Whatever is not as expected, wrong
arguments too, is left to that way, or to what torch's operators refuse.

Torch's own two operators are fastest, and exact unless a row is sure: what is added to a
probability near 1 is rounded away, and the loss with it. So the losses are looked at, and if one is
too small for the precision the next of three ways is taken: torch's operators in single precision;
the same in double, for few logits; and the kernel, for rows of any kind.

Of very few classes a row is shorter than a vector of the processor, and torch computes it an
element at a time. So those are handed over by columns, which it computes many rows at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from softonce.losses.kernels.blocked import plain_block
from softonce.losses.kernels.products import is_for_onednn
from softonce.losses.row_maths import HALF_DTYPES
from softonce.losses.rows.autograd import (
    LogitsProblem,
    is_one,
    is_transformed,
    needs_gradient,
    readable_gradient,
)
from softonce.losses.rows.checks import is_recorded
from softonce.losses.rows.objective import objective_of
from softonce.losses.rows.options import LossOptions
from softonce.losses.tuning import tuning

if TYPE_CHECKING:
    from torch import Tensor

    from softonce.shapes import Reduction

_SURE = 1 / 8
"""The loss down to which single precision is exact: it rounds what is near 1 at 6e-8, which is 5e-7
of such a loss."""
_SURE_IN_DOUBLE = 1e-8
"""The same for double precision, which rounds at 1e-16: single does not show it."""
_SINGLE = ((torch.float32, _SURE), (torch.float64, _SURE_IN_DOUBLE))
_PRECISIONS = {
    torch.float32: _SINGLE,
    torch.bfloat16: _SINGLE,
    torch.float16: _SINGLE,
    torch.float64: ((torch.float64, _SURE),),
}
"""What to try torch's operators in, and down to which loss, by the dtype of the logits."""
_KINDS = (torch.Tensor, torch.nn.Parameter)
_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}
"""How torch's operators number them."""
_NAMES = tuple(_REDUCTIONS)
_VECTOR = {"AVX512": 16, "AVX2": 8}.get(torch.backends.cpu.get_cpu_capability(), 0)
"""The numbers in a vector of the processor; with others than these nothing was measured."""
_nll_loss: Any = torch._C._nn.nll_loss_nd  # noqa: SLF001 - torch.nn.functional checks it all again


def loss_of_logits(
    logits: Tensor, target: Tensor, reduction: Reduction, ignore_index: int
) -> Tensor | None:
    """Return the loss; None if the call is of another kind."""
    if not (
        not is_recorded()
        and type(logits) in _KINDS
        and logits.dtype in _PRECISIONS
        and logits.dim() == 2
        and logits.numel() <= tuning().small_logits
        and logits.is_cpu
        and type(target) is torch.Tensor
        and target.dtype is torch.int64
        and reduction in _NAMES
    ):
        return None
    if logits.dtype in HALF_DTYPES and torch.is_autocast_enabled("cpu"):
        return None  # which has the loss in single precision
    return _loss(logits, target, reduction, ignore_index)


def loss_of_head(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    reduction: Reduction,
    ignore_index: int,
) -> Tensor | None:
    """Return the loss of a head with few logits; None if the call is of another kind."""
    if not (
        not is_recorded()  # a compiler reads on as far as this holds
        and type(features) in _KINDS
        and type(weight) in _KINDS
        and features.dim() == weight.dim() == 2
        and features.dtype is weight.dtype
        and weight.dtype in _PRECISIONS
        and weight.is_cpu
        and features.shape[1] == weight.shape[1]
        and (bias is None or _fits(bias, weight))
        and 0 < features.shape[0] * weight.shape[0] <= tuning().small_logits
        and features.is_cpu
        and type(target) is torch.Tensor
        and target.dtype is torch.int64
        and target.is_cpu
        and target.dim() == 1
        and target.shape[0] == features.shape[0]
        and reduction in _NAMES
        and not is_for_onednn(features, weight)
        and not torch.is_autocast_enabled("cpu")
    ):
        return None
    if features.dtype in HALF_DTYPES:
        if features.numel() * weight.shape[0] > tuning().small_head:
            return None
        features, weight = features.float(), weight.float()
        bias = None if bias is None else bias.float()
    # Without a gradient nothing is spoilt by the product of an ignored row, whose loss is 0 all the
    # same; looking for one takes 8 % of torch's time for a head of 64 x 512 x 10.
    if not torch.is_grad_enabled() or target.amin().item() >= 0:
        return _loss(_logits(features, weight, bias), target, reduction, ignore_index)
    rows = _kept_rows(target, ignore_index)  # no other is multiplied
    logits = _logits(features.index_select(0, rows), weight, bias)
    loss = _loss(logits, target.index_select(0, rows), reduction, ignore_index)
    return _widen(loss, rows, target)


def _logits(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the logits, which lie in memory by columns if they will be handed over so."""
    if not _is_for_columns(features.shape[0], weight.shape[0]):
        return F.linear(features, weight, bias)
    if bias is None:
        return F.linear(weight, features).t()
    return torch.addmm(bias.unsqueeze(1), weight, features.t()).t()


def _is_for_columns(num_rows: int, num_classes: int) -> bool:
    """Return whether torch computes log_softmax faster by columns: many rows, each a short one."""
    sizes = tuning()
    shortest = _VECTOR if sizes.vector is None else sizes.vector
    least = sizes.column_logits[torch.is_grad_enabled()]
    return num_classes < shortest and num_rows * num_classes >= least


def _log_softmax(logits: Tensor, dtype: torch.dtype) -> Tensor:
    if _is_for_columns(*logits.shape):
        return torch.log_softmax(logits.t(), 0, dtype).t()
    return torch.log_softmax(logits, 1, dtype)


def _kept_rows(target: Tensor, ignored: int) -> Tensor:
    return (target != ignored).nonzero().squeeze(1)


def _widen(loss: Tensor | None, rows: Tensor, target: Tensor) -> Tensor | None:
    """Return one loss for each row, 0 for ignored rows, unless it is reduced."""
    if loss is None or loss.dim() == 0:
        return loss
    return loss.new_zeros(target.shape).index_copy(0, rows, loss)


def _loss(logits: Tensor, target: Tensor, reduction: Reduction, ignored: int) -> Tensor | None:
    """Return the loss in the dtype of the logits; None if there is none: no row, no such class."""
    sizes, num_logits = tuning(), logits.numel()
    try:
        for dtype, limit in _PRECISIONS[logits.dtype]:
            if num_logits > (sizes.single_logits if limit == _SURE else sizes.double_logits):
                break
            log_probs = _log_softmax(logits, dtype)
            known = log_probs.detach() if log_probs.requires_grad else log_probs
            least = _nll_loss(known, target, None, 0, ignored).min().item()
            if least > limit:  # that of a row with NaN is not
                loss: Tensor = _nll_loss(log_probs, target, None, _REDUCTIONS[reduction], ignored)
                return loss if dtype is logits.dtype else loss.to(logits.dtype)
            if least == 0:  # an ignored row, or one that is too sure for double precision, too
                break
        return _loss_of_any(logits, target, reduction, ignored)
    except (IndexError, RuntimeError, ValueError):  # which nll_loss raises for what does not fit
        return None


def _loss_of_any(
    logits: Tensor, target: Tensor, reduction: Reduction, ignored: int
) -> Tensor | None:
    """Return the loss, by the kernel; the gradient of half precision has a way of its own."""
    if 0 <= ignored < logits.shape[1] or target.shape != logits.shape[:1] or is_transformed():
        return None
    if target.amin().item() < 0:
        rows = _kept_rows(target, ignored)
        if len(rows) in (0, len(target)):  # nothing is left, or a class is not there
            return None
        kept = logits.index_select(0, rows), target.index_select(0, rows)
        return _widen(_loss(*kept, reduction, ignored), rows, target)
    if logits.numel() == 0:
        return None
    if not needs_gradient(logits):
        return _reduce(plain_block(logits, target.unsqueeze(1)), reduction).to(logits.dtype)
    if logits.dtype in HALF_DTYPES:
        return None
    loss: Tensor = _Loss.apply(logits, target, reduction)  # type: ignore[no-untyped-call] # torch's
    return loss


def _reduce(rows: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "none":
        return rows.squeeze(1)
    return rows.mean() if reduction == "mean" else rows.sum()


def _fits(bias: Tensor, weight: Tensor) -> bool:
    is_plain = type(bias) in _KINDS and bias.is_cpu and bias.dtype == weight.dtype
    return is_plain and bias.shape == weight.shape[:1]


class _Loss(torch.autograd.Function):
    """The loss; its gradient is made with it if one number is upstream of all rows."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
        ctx.save_for_backward(logits, target)
        ctx.reduction, ctx.dlogits = reduction, None
        if reduction == "none":
            return _reduce(plain_block(logits, target.unsqueeze(1)), reduction)
        rows, ctx.dlogits = _rows_and_gradient(logits, target, _scale(logits, reduction))
        return _reduce(rows, reduction)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        logits, target = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient needs a graph itself
            options = LossOptions(reduction=ctx.reduction)
            objective = objective_of(logits.shape, target, None, options, like=logits)
            problem = LogitsProblem(objective)
            return *readable_gradient(problem, (logits,), (True,), (upstream,)), None, None
        if ctx.reduction == "none":
            return _rows_and_gradient(logits, target, upstream.unsqueeze(1))[1], None, None
        dlogits, ctx.dlogits = ctx.dlogits, None
        if dlogits is None:  # it was given away
            dlogits = _rows_and_gradient(logits, target, _scale(logits, ctx.reduction))[1]
        return dlogits if is_one(upstream) else dlogits.mul_(upstream), None, None


def _scale(logits: Tensor, reduction: Reduction) -> float:
    return 1 / len(logits) if reduction == "mean" else 1.0


def _rows_and_gradient(
    logits: Tensor, target: Tensor, scale: float | Tensor
) -> tuple[Tensor, Tensor]:
    dlogits = torch.empty_like(logits, memory_format=torch.contiguous_format)
    return plain_block(logits, target.unsqueeze(1), dlogits, scale), dlogits
