"""softmax, log_softmax, nll_loss and cross_entropy: checked arguments, then the maths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

import torch

from softonce.losses.overrides import overridable, takes_input
from softonce.losses.row_maths import (
    accumulation_dtype,
    as_batch,
    per_class,
    reduce_rows,
    result_dtype,
    row_shape,
    times,
    weight_of_rows,
)
from softonce.losses.rows import fast_path
from softonce.losses.rows.autograd import loss_of_logits
from softonce.losses.rows.checks import (
    check_device,
    check_index_target,
    check_old_names,
    check_options,
    check_scores,
    check_tensors,
    check_weight,
    index_target,
)
from softonce.losses.rows.objective import objective_of
from softonce.losses.rows.options import LossOptions
from softonce.losses.sharding.dtensor import (
    check_not_distributed,
    distributed_cross_entropy,
    is_distributed,
)

if TYPE_CHECKING:
    from torch import Tensor

    from softonce.shapes import ClassIndex, Logits, LogProbs, Probs, Reduction


@takes_input
def softmax(logits: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """Return the probabilities along `dim`.

    Equals `exp(logits) / exp(logits).sum(dim, keepdim=True)`.

    Args:
        logits: unnormalised scores.
        dim: the dimension whose entries sum to 1.
        dtype: convert the logits to it first.

    Example:
        >>> softmax(torch.tensor([0.0, 0.0, 0.0, 0.0]), dim=0)
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    return torch.softmax(logits, dim, dtype=dtype)


@takes_input
def log_softmax(logits: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """Return the log-probabilities along `dim`, in nats.

    Equals `log(softmax(logits, dim))`, and stays finite if that would underflow.

    Args:
        logits: unnormalised scores.
        dim: the dimension whose probabilities sum to 1.
        dtype: convert the logits to it first.

    Example:
        >>> log_softmax(torch.tensor([0.0, 1000.0]), dim=0)
        tensor([-1000.,     0.])
    """
    return torch.log_softmax(logits, dim, dtype=dtype)


@overridable
def nll_loss(
    log_probs: LogProbs,
    target: ClassIndex,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the negative log-likelihood of the target classes.

    Equals `-log_probs[n, target[n]]`, averaged over the rows.

    Args:
        log_probs: what `log_softmax` returns, (C,), (N, C) or (N, C, ...); never probabilities.
        target: class indices of any integer dtype, of shape (), (N,) or (N, ...).
        weight: a factor for each class; the mean divides by the sum of the rows' factors.
        size_average: torch's old name of a reduction; refused with what to write instead.
        ignore_index: rows with this target have loss 0 and gradient 0, whatever they hold.
        reduce: as `size_average`.
        reduction: `mean` over the rows that are not ignored, `sum`, or `none`.

    Returns:
        The loss in nats, in the dtype of `log_probs`; half precision is summed in single precision.

    Raises:
        ArgumentError: if shapes, dtypes or options do not fit, or, on the CPU, if a class
            index is out of range; on an accelerator that row becomes NaN.

    Example:
        >>> log_probs = torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log()
        >>> nll_loss(log_probs, torch.tensor([1, 0]), reduction="none")
        tensor([0.2877, 0.6931])
    """
    check_tensors(log_probs=log_probs, target=target)
    check_old_names(size_average, reduce)
    check_options(reduction)
    check_scores("log_probs", log_probs)
    check_index_target("log_probs", log_probs.shape, target)
    check_device("target", target, log_probs)
    shape, dtype = row_shape(log_probs.shape), result_dtype(log_probs, target)
    log_probs = as_batch(log_probs).to(accumulation_dtype(dtype))
    check_weight(weight, log_probs.shape[1], log_probs)
    classes = index_target(target, log_probs.shape[1], ignore_index)
    row_weight = weight_of_rows(per_class(weight, log_probs), classes.safe)
    rows = classes.write(-times(row_weight, log_probs.gather(1, classes.safe)))
    return reduce_rows(rows, classes.total(row_weight, log_probs.dtype), reduction, shape).to(dtype)


@overload
def cross_entropy(
    logits: Logits,
    target: ClassIndex | Probs,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    *,
    softcap: float | None = None,
    return_lse: Literal[False] = False,
    dtype: torch.dtype | None = None,
) -> Tensor: ...


@overload
def cross_entropy(
    logits: Logits,
    target: ClassIndex | Probs,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    *,
    softcap: float | None = None,
    return_lse: Literal[True],
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]: ...


@overridable
def cross_entropy(
    logits: Logits,
    target: ClassIndex | Probs,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    *,
    softcap: float | None = None,
    return_lse: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """Return the cross-entropy between the target and the softmax of the logits.

    Equals `nll_loss(log_softmax(logits, dim=1), target)`; the softmax happens here, and once.

    Args:
        logits: unnormalised scores, (C,), (N, C) or (N, C, ...); the output of a `Linear` layer.
        target: class indices of any integer dtype, of shape (), (N,) or (N, ...); or class
            probabilities in the shape of the logits, which may carry a gradient.
        weight: a factor for each class; with class indices the mean divides by the sum of the
            target classes' factors, with probabilities by the number of rows.
        size_average: torch's old name of a reduction; refused with what to write instead.
        ignore_index: rows with this class index have loss 0 and gradient 0, whatever they hold.
        reduce: as `size_average`.
        reduction: `mean` over the rows that are not ignored, `sum`, or `none`.
        label_smoothing: the share of the target that is spread evenly over all classes.
        softcap: the bound of the logits, which become `softcap tanh(logits / softcap)` first.
        return_lse: return the log-sum-exp of each row as well; it carries a gradient.
        dtype: of the loss, and to compute in; None is that of the logits. With float32 the rows of
            half-precision logits keep what half precision would round away.

    Returns:
        The loss in nats, in the dtype of the logits; half precision is summed in single precision.

    Raises:
        ArgumentError: if shapes, dtypes or options do not fit, or, on the CPU, if a class
            index is out of range; on an accelerator that row becomes NaN.

    Example:
        >>> logits = torch.tensor([[20.0, 0.0], [0.0, 0.0]])
        >>> cross_entropy(logits, torch.tensor([0, 1]), reduction="none")
        tensor([2.0612e-09, 6.9315e-01])

    Source:
        Label smoothing: Szegedy et al., "Rethinking the Inception Architecture", section 7. The
        bound: Gemma Team, "Gemma 2", section 2 (https://arxiv.org/abs/2408.00118).
    """
    is_plain = weight is None and label_smoothing == 0 and softcap is None
    if is_plain and not return_lse and dtype is None and size_average is reduce is None:
        loss = fast_path.loss_of_logits(logits, target, reduction, ignore_index)
        if loss is not None:
            return loss
    check_tensors(logits=logits, target=target)
    check_old_names(size_average, reduce)
    options = LossOptions(
        reduction, ignore_index, label_smoothing, softcap, return_lse=return_lse, dtype=dtype
    )
    if is_distributed(logits):
        return distributed_cross_entropy(logits, target, weight, options)
    check_not_distributed("tensor of logits", target=target, weight=weight)
    objective = objective_of(logits.shape, target, weight, options, like=logits)
    return loss_of_logits(as_batch(logits), objective)
