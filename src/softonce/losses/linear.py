"""linear_cross_entropy: the head and its loss in one, from features and the head's weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch.nn import LinearCrossEntropyOptions

from softonce.errors import ArgumentError
from softonce.losses.functional import cross_entropy
from softonce.losses.overrides import overridable
from softonce.losses.reduction import accumulation_dtype, check_index_target, check_options

if TYPE_CHECKING:
    from torch import Tensor

    from softonce.shapes import ClassIndex, Features, Probs, Reduction


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
) -> Tensor:
    """Return the cross-entropy of the logits that a linear head makes of the features.

    Equals `cross_entropy(features @ linear_weight.T + linear_bias, target)`.

    Args:
        features: what the head takes, (D,) or (N, D).
        linear_weight: the head's weight, (C, D), or (C, ..., D) for one target per position.
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

    Returns:
        The loss in nats; in single precision where the features have half.

    Raises:
        ArgumentError: where shapes or options do not fit, or, on the CPU, where a class index is
            out of range; on an accelerator that row becomes NaN.

    Example:
        >>> features, head = torch.tensor([[1.0, 2.0]]), torch.eye(2)
        >>> linear_cross_entropy(features, head, torch.tensor([1]))
        tensor(0.3133)
        >>> cross_entropy(features @ head.T, torch.tensor([1]))
        tensor(0.3133)
    """
    check_options(reduction, label_smoothing)
    _check_head(features, linear_weight, linear_bias)
    if not isinstance(options, LinearCrossEntropyOptions | None):
        raise ArgumentError(
            "expected options to be None or torch.nn.LinearCrossEntropyOptions, "
            f"found {options!r}: leave it out"
        )
    num_classes, *positions, in_features = linear_weight.shape
    logits_shape = torch.Size((*features.shape[:-1], num_classes, *positions))
    ignore_index = -100 if ignore_index is None else ignore_index
    if target.shape != logits_shape:
        check_index_target("logits", logits_shape, target)
        features = _blank_ignored(features, target == ignore_index)
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = F.linear(features, linear_weight.reshape(-1, in_features), bias).reshape(logits_shape)
    return cross_entropy(
        logits.to(accumulation_dtype(logits.dtype)),
        target,
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def _blank_ignored(features: Tensor, ignored: Tensor) -> Tensor:
    """Write 0 into the rows whose every target is ignored: they would meet 0 as 0 * inf."""
    rows = ignored.flatten(1).all(1) if ignored.dim() > 1 else ignored
    return features.masked_fill(rows.unsqueeze(-1), 0)


def _check_head(features: Tensor, linear_weight: Tensor, linear_bias: Tensor | None) -> None:
    found = f"found features {tuple(features.shape)} and linear_weight {tuple(linear_weight.shape)}"
    if features.dim() not in (1, 2) or linear_weight.dim() < 2:
        raise ArgumentError(
            f"expected features of shape (D,) or (N, D) and a linear_weight of shape (C, D) or "
            f"(C, ..., D), {found}: put the features of each image into one row"
        )
    if features.shape[-1] != linear_weight.shape[-1]:
        raise ArgumentError(
            f"expected features and linear_weight to end in the same number of features, {found}: "
            "pass the weight as a Linear layer holds it, one row for each class"
        )
    if features.dim() == 1 and linear_weight.dim() > 2:
        raise ArgumentError(
            f"expected a batch of features (N, D) for a linear_weight with positions, {found}: "
            "pass features.unsqueeze(0)"
        )
    if linear_bias is not None and linear_bias.shape != linear_weight.shape[:-1]:
        raise ArgumentError(
            f"expected a linear_bias of shape {tuple(linear_weight.shape[:-1])}, "
            f"found {tuple(linear_bias.shape)}: pass one bias for each row of linear_weight"
        )
