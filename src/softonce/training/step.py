"""One step, without a branch on hardware or precision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from softonce.shapes import ClassIndex, Images

LossFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(logits, target) -> mean loss in nats."""


@dataclass(frozen=True)
class TrainStep:
    """Forward, loss, backward, update.

    Args:
        model: gives logits.
        optimizer: over the model's parameters.
        loss_fn: (logits, target) -> mean loss in nats; it sees float32 logits.
        autocast: a factory of the precision that the forward pass runs in.
        clip_grad_norm: the largest norm of the gradient, or None.
    """

    model: nn.Module
    optimizer: Optimizer
    loss_fn: LossFunction
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext
    clip_grad_norm: float | None = None

    def __call__(self, images: Images, target: ClassIndex, *, lr: float) -> Tensor:
        """Make one step.

        Returns:
            A float64 tensor of three sums: loss in nats, correct predictions, images.
        """
        with self.autocast():
            logits = self.model(images)
        logits = logits.float()
        loss = self.loss_fn(logits, target)
        loss.backward()  # type: ignore[no-untyped-call] # torch's own
        if self.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        num = len(target)
        correct = (logits.detach().argmax(dim=1) == target).sum()
        return torch.stack(
            [loss.detach().double() * num, correct.double(), correct.new_tensor(num).double()]
        )
