"""What a step minimises, in parts that add up: a loss and how much each part of a batch counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from softonce.errors import ConfigError, UnknownNameError
from softonce.losses import ShardedLinear, cross_entropy, linear_cross_entropy

LossFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(logits, target) -> mean loss in nats."""


@dataclass(frozen=True)
class Objective:
    """A mean loss, and the mass that it is a mean over.

    The mean over a batch is the mean of its parts' means, weighted by their masses. With class
    weights the mass is the sum of the rows' weights, for class indices and for mixed targets alike:
    a target that is mixed with a share of 0 counts as it would unmixed.

    Args:
        loss_fn: (logits, target) -> mean loss in nats; None is `cross_entropy`.
        weight: a factor for each class, or None; for `cross_entropy` only.
        label_smoothing: the share of the target that is spread over all classes; the same.

    Example:
        >>> objective = Objective(weight=torch.tensor([1.0, 3.0]))
        >>> logits = torch.tensor([[2.0, 0.0], [1.0, 0.0]])
        >>> target = torch.tensor([0, 1])
        >>> torch.isclose(
        ...     objective(logits, target),
        ...     torch.nn.functional.cross_entropy(logits, target, objective.weight),
        ... ).item()
        True
    """

    loss_fn: LossFunction | None = None
    weight: Tensor | None = None
    label_smoothing: float = 0.0

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss in nats."""
        if self.loss_fn is not None:
            return self.loss_fn(logits, target)
        total = cross_entropy(
            logits,
            target,
            self.weight,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        return total / self.mass(target)

    def of_head(
        self, features: Tensor, head: nn.Linear | ShardedLinear, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of the losses of the head's logits, and the predicted classes.

        Equals `objective(head(features), target) * mass(target)` and `head(features).argmax(1)`, by
        `linear_cross_entropy`, whole or sharded: for the losses of softonce only.
        """
        options: dict[str, Any] = {
            "weight": self.weight,
            "label_smoothing": self.label_smoothing,
            "reduction": "sum",
        }
        if isinstance(head, ShardedLinear):
            return head.loss_and_pred(features, target, **options)
        total, pred = linear_cross_entropy(
            features, head.weight, target, linear_bias=head.bias, return_pred=True, **options
        )
        return total, pred

    def mass(self, target: Tensor) -> Tensor:
        """Return what the rows weigh together."""
        if self.weight is None:
            return target.new_tensor(len(target), dtype=torch.float32)
        rows = self.weight[target] if target.ndim == 1 else target @ self.weight
        return rows.sum().clamp_min(torch.finfo(rows.dtype).tiny)  # a batch of weight 0 has loss 0


def class_weights(
    asked: tuple[str, ...], target: npt.NDArray[np.int64], classes: tuple[str, ...]
) -> Tensor | None:
    """Turn `--class-weights` into a factor for each class.

    `balanced` weighs a class by N / (C * its count), so that all classes weigh the same together,
    and the mean weight of an image is 1; `name=w` sets one class, the others have 1.

    Raises:
        ConfigError: if an entry is of another form.
        UnknownNameError: if a class does not exist.

    Example:
        >>> class_weights(("balanced",), np.array([0, 0, 0, 1]), ("ants", "bees"))
        tensor([0.6667, 2.0000])
        >>> class_weights(("bees=4",), np.array([0, 1]), ("ants", "bees"))
        tensor([1., 4.])
    """
    if asked in {("none",), ()}:
        return None
    if asked == ("balanced",):
        counts = np.bincount(target, minlength=len(classes))
        return torch.tensor(len(target) / (len(classes) * counts), dtype=torch.float32)
    weight = torch.ones(len(classes))
    for entry in asked:
        name, _, number = entry.rpartition("=")
        if name not in classes and name:
            raise UnknownNameError.of("class in --class-weights", name, classes)
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not name or not 0 <= value < float("inf"):
            raise ConfigError(
                f"expected --class-weights none, balanced or NAME=WEIGHT ..., found {entry!r}"
            )
        weight[classes.index(name)] = value
    if not (weight > 0).any():
        raise ConfigError("expected a class weight above 0, found only zeros")
    return weight
