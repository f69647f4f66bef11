"""linear_cross_entropy: the head and its loss in one, from features and the head's weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

import torch

from softonce.errors import ArgumentError
from softonce.losses.head import compiled
from softonce.losses.head.problem import HeadProblem
from softonce.losses.overrides import overridable
from softonce.losses.row_maths import accumulation_dtype, is_in_autocast
from softonce.losses.rows import fast_path
from softonce.losses.rows.autograd import can_fuse, fused, loss_of_logits
from softonce.losses.rows.checks import check_device, check_floating, check_tensors
from softonce.losses.rows.objective import objective_of
from softonce.losses.rows.options import LossOptions
from softonce.losses.sharding.dtensor import (
    check_not_distributed,
    distributed_linear_cross_entropy,
    is_distributed,
)
from softonce.losses.tuning import tuning

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import LinearCrossEntropyOptions

    from softonce.losses.rows.objective import Loss, Objective
    from softonce.shapes import ClassIndex, Features, Probs, Reduction


@overload
def linear_cross_entropy(
    features: Features,
    linear_weight: Tensor,
    target: ClassIndex | Probs,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
    softcap: float | None = None,
    return_lse: Literal[False] = False,
    return_pred: Literal[False] = False,
) -> Tensor: ...


@overload
def linear_cross_entropy(
    features: Features,
    linear_weight: Tensor,
    target: ClassIndex | Probs,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
    softcap: float | None = None,
    return_lse: Literal[True],
    return_pred: Literal[False] = False,
) -> tuple[Tensor, Tensor]: ...


@overload
def linear_cross_entropy(
    features: Features,
    linear_weight: Tensor,
    target: ClassIndex | Probs,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
    softcap: float | None = None,
    return_lse: bool = False,
    return_pred: Literal[True],
) -> tuple[Tensor, ...]: ...


@overridable
def linear_cross_entropy(
    features: Features,
    linear_weight: Tensor,
    target: ClassIndex | Probs,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
    softcap: float | None = None,
    return_lse: bool = False,
    return_pred: bool = False,
) -> Tensor | tuple[Tensor, ...]:
    """Return the cross-entropy of the logits that a linear head makes of the features.

    Equals `cross_entropy(features @ linear_weight.T + linear_bias, target)`.

    Args:
        features: what the head takes, (D,) or (N, D).
        linear_weight: the head's weight, (C, D), or (C, ..., D) for one target per position. A
            DTensor sharded over its classes takes the way of `sharded_linear_cross_entropy`.
        target: class indices, (), (N,) or (N, ...); or class probabilities, (C,), (N, C) or
            (N, C, ...).
        linear_bias: the head's bias, of the shape of its weight without D.
        weight: a factor for each class, as in `cross_entropy`.
        reduction: `mean` over the rows that are not ignored, `sum`, or `none`.
        ignore_index: rows with this class index have loss 0 and gradient 0, whatever their
            features hold; None is -100.
        label_smoothing: the share of the target that is spread evenly over all classes.
        options: taken so that calls of torch's function need no change; the settings trade memory
            for time and never change what is computed here.
        softcap: the bound of the logits, as in `cross_entropy`.
        return_lse: return the log-sum-exp of each row's logits as well; it carries a gradient.
        return_pred: return the class of each row's largest logit as well, -1 of ignored rows: for
            the accuracy, which needs no second product that way.

    Returns:
        The loss in nats; in single precision if the features have half.

    Raises:
        ArgumentError: if shapes or options do not fit, or, on the CPU, if a class index is
            out of range; on an accelerator that row becomes NaN.

    Example:
        >>> features, head = torch.tensor([[1.0, 2.0]]), torch.eye(2)
        >>> linear_cross_entropy(features, head, torch.tensor([1]))
        tensor(0.3133)
        >>> from softonce.losses import cross_entropy
        >>> cross_entropy(features @ head.T, torch.tensor([1]))
        tensor(0.3133)
    """
    ignored = -100 if ignore_index is None else ignore_index
    is_plain = weight is None and label_smoothing == 0 and softcap is None and options is None
    if is_plain and not (return_lse or return_pred):
        loss = fast_path.loss_of_head(
            features, linear_weight, linear_bias, target, reduction, ignored
        )
        if loss is not None:
            return loss
    check_tensors(features=features, linear_weight=linear_weight, target=target)
    _check_torch_options(options)
    asked = LossOptions(reduction, ignored, label_smoothing, softcap, return_lse, return_pred)
    if is_distributed(linear_weight):  # its classes lie on several devices
        return distributed_linear_cross_entropy(
            features, linear_weight, target, linear_bias, weight, asked
        )
    check_not_distributed(
        "linear_weight", features=features, target=target, linear_bias=linear_bias, weight=weight
    )
    _check_head(features, linear_weight, linear_bias)
    num_classes, *positions, _ = linear_weight.shape
    dtype = _multiply_in(features, linear_weight)
    if torch.compiler.is_compiling() and _is_operator(features, linear_weight, target, asked):
        return compiled.linear_cross_entropy(
            features, linear_weight, linear_bias, target, weight, asked, dtype
        )
    objective = objective_of(
        torch.Size((*features.shape[:-1], num_classes, *positions)),
        target,
        weight,
        asked,
        like=_of_dtype(features, accumulation_dtype(dtype)),
    )
    features = features if features.dim() == 2 else features.unsqueeze(0)
    how = _loss_of_positions if positions else _loss_of_head
    return how(features, linear_weight, linear_bias, objective, dtype)


def _loss_of_positions(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    objective: Objective,
    dtype: torch.dtype,
) -> Loss:
    """Return the loss of (N, D) features and a (C, ..., D) weight, a position at a time."""
    weights = weight.flatten(1, -2).unbind(1)
    biases = (None,) * len(weights) if bias is None else bias.flatten(1).unbind(1)
    losses = [
        _loss_of_head(features, own, own_bias, objective.position(place), dtype)
        for place, (own, own_bias) in enumerate(zip(weights, biases, strict=True))
    ]
    return objective.gather(losses)


def _loss_of_head(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    objective: Objective,
    dtype: torch.dtype,
) -> Loss:
    """Return the loss of (N, D) features and a (C, D) weight; ignored rows cost nothing."""
    kept = objective.kept_rows()
    if kept is not None and len(kept) and can_fuse(objective, features, weight, bias):
        part = objective.rows(kept)
        return objective.widen(
            _loss_of_head(features.index_select(0, kept), weight, bias, part, dtype), kept
        )
    problem = HeadProblem(objective, dtype)
    if features.numel() * len(weight) <= tuning().small_head and objective.is_ordinary:
        return loss_of_logits(problem.logits(features, weight, bias), objective)
    has_rows = features.numel() > 0 and (kept is None or len(kept) > 0)
    if not has_rows or not can_fuse(objective, features, weight, bias):
        return problem.readable(features, weight, bias)
    return fused(problem, features, weight, bias)


def _of_dtype(features: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor of this dtype that is where the features are."""
    return features if features.dtype == dtype else features.new_empty((), dtype=dtype)


def _is_operator(
    features: Tensor, linear_weight: Tensor, target: Tensor, options: LossOptions
) -> bool:
    """Return whether the operator for compiled programs covers the call, else compiled as maths.

    A compiler makes of a small head's maths what it makes of torch's own, which an operator that it
    cannot look into would only slow down.
    """
    if torch._C._are_functorch_transforms_active():  # noqa: SLF001 - an operator has no rules for them
        return False
    has_more = options.return_lse or options.return_pred or target.requires_grad
    is_covered = features.dim() == linear_weight.dim() == 2 and not has_more
    return (
        is_covered
        and len(features) > 0
        and len(features) * len(linear_weight) > tuning().small_compiled
    )


def _multiply_in(features: Tensor, linear_weight: Tensor) -> torch.dtype:
    """Return the precision of the factors: autocast's, or that of features and weight."""
    device, dtype = features.device.type, features.dtype
    if is_in_autocast(device):
        is_double = torch.float64 in (features.dtype, linear_weight.dtype)
        dtype = torch.float64 if is_double else torch.get_autocast_dtype(device)
    elif features.dtype != linear_weight.dtype:
        raise ArgumentError(
            f"expected features and linear_weight of one dtype, found {features.dtype} and "
            f"{linear_weight.dtype}: convert one of them, or use torch.autocast"
        )
    return dtype


def _check_torch_options(options: object) -> None:
    kind = getattr(torch.nn, "LinearCrossEntropyOptions", None)  # torch has it from 2.13 on
    if options is not None and (kind is None or not isinstance(options, kind)):
        raise ArgumentError(
            "expected options to be None or torch.nn.LinearCrossEntropyOptions, "
            f"found {options!r}: leave it out"
        )


def _check_head(features: Tensor, linear_weight: Tensor, linear_bias: Tensor | None) -> None:
    if features.dim() not in (1, 2) or linear_weight.dim() < 2:
        raise ArgumentError(
            f"expected features of shape (D,) or (N, D) and a linear_weight of shape (C, D) or "
            f"(C, ..., D), {_describe_shapes(features, linear_weight)}: "
            "put the features of each image into one row"
        )
    if features.shape[-1] != linear_weight.shape[-1]:
        raise ArgumentError(
            "expected features and linear_weight to end in the same number of features, "
            f"{_describe_shapes(features, linear_weight)}: "
            "pass the weight as a Linear layer holds it, one row for each class"
        )
    if features.dim() == 1 and linear_weight.dim() > 2:
        raise ArgumentError(
            "expected a batch of features (N, D) for a linear_weight with positions, "
            f"{_describe_shapes(features, linear_weight)}: pass features.unsqueeze(0)"
        )
    check_floating("features", features)
    check_floating("linear_weight", linear_weight)
    check_device("linear_weight", linear_weight, features)
    if linear_bias is None:
        return
    check_device("linear_bias", linear_bias, features)
    check_floating("linear_bias", linear_bias)
    if linear_bias.shape != linear_weight.shape[:-1]:
        raise ArgumentError(
            f"expected a linear_bias of shape {tuple(linear_weight.shape[:-1])}, "
            f"found {tuple(linear_bias.shape)}: pass one bias for each row of linear_weight"
        )


def _describe_shapes(features: Tensor, linear_weight: Tensor) -> str:
    return f"found features {tuple(features.shape)} and linear_weight {tuple(linear_weight.shape)}"
