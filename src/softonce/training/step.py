"""One step, without a branch on hardware or precision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from softonce.distributed import sum_over_processes_

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from softonce.shapes import ClassIndex, Images, Logits

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
        denominator: target -> what `loss_fn` divides its sum by; None is the number of rows.
        world_size: the number of processes, over whom the gradients are averaged.
    """

    model: nn.Module
    optimizer: Optimizer
    loss_fn: LossFunction
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext
    clip_grad_norm: float | None = None
    denominator: Callable[[Tensor], Tensor] | None = None
    world_size: int = 1

    def __call__(self, images: Images, target: ClassIndex, *, lr: float) -> Tensor:
        """Make one step.

        The loss of this process counts for its share of the global denominator, so that the step
        is the one of a single process with all rows, however unevenly they are spread.

        Returns:
            A float64 tensor of three sums over all processes: loss in nats, correct predictions,
            images.
        """
        with self.autocast():
            logits = self.model(images)
        logits = logits.float()
        loss = self.loss_fn(logits, target)
        sums = self._sums(logits.detach(), target, loss.detach())
        own, total = sums[3].clone(), sum_over_processes_(sums)[3]
        share = (self.world_size * own / total).to(loss.dtype)
        (loss * share).backward()  # type: ignore[no-untyped-call] # torch's own
        if self.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return torch.stack([sums[0] / total * sums[2], sums[1], sums[2]])

    def _sums(self, logits: Logits, target: ClassIndex, loss: Tensor) -> Tensor:
        """Return this process's own: loss, correct predictions, rows, denominator."""
        correct = (logits.argmax(dim=1) == target).sum().double()
        num = correct.new_tensor(len(target))
        denominator = num if self.denominator is None else self.denominator(target).double()
        return torch.stack([loss.double() * denominator, correct, num, denominator])
