"""One step, without a branch on hardware or precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from softonce.distributed import sum_over_processes_
from softonce.training.profiling import section

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.optim import Optimizer

    from softonce.shapes import ClassIndex, Images, Probs
    from softonce.training.objective import Objective


@dataclass(frozen=True)
class TrainStep:
    """Forward, loss, backward, update.

    Args:
        model: gives logits; or, where `has_loss`, takes the target too, and gives the mean loss and
            the predicted classes.
        optimizer: over the model's parameters.
        objective: (logits, target) -> mean loss in nats; it sees float32 logits.
        autocast: a factory of the precision that the forward pass runs in.
        clip_grad_norm: the largest norm of the gradient, or None.
        world_size: the number of processes, over whom the gradients are averaged.
        num_parts: parts that a batch is worked through in; the gradient is the whole batch's.
        has_loss: whether the loss is part of the model, as in `HeadLoss`.
    """

    model: nn.Module
    optimizer: Optimizer
    objective: Objective
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext
    clip_grad_norm: float | None = None
    world_size: int = 1
    num_parts: int = 1
    has_loss: bool = False

    def __call__(self, images: Images, target: ClassIndex | Probs, *, lr: float) -> Tensor:
        """Make one step.

        Each part of each process counts for its share of the global mass, so that the step is the
        one of a single process with all rows at once, however unevenly they are spread.

        Returns:
            A float64 tensor of three sums over all processes: loss in nats, correct predictions,
            images.
        """
        own = self.objective.mass(target).double()
        mass, num = sum_over_processes_(torch.stack([own, own.new_tensor(len(target))]))
        sums = torch.zeros(2, dtype=torch.float64, device=target.device)
        parts = list(zip(images.chunk(self.num_parts), target.chunk(self.num_parts), strict=True))
        for number, part in enumerate(parts, start=1):
            with self._unsynchronised() if number < len(parts) else nullcontext():
                sums += self._accumulate(*part, mass)
        sum_over_processes_(sums)
        if self.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        with section("optimizer"):
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return torch.stack([sums[0] * num, sums[1], num])

    def _accumulate(self, images: Images, target: ClassIndex | Probs, mass: Tensor) -> Tensor:
        """Add a part's gradient; return its share of the mean loss, and its correct predictions."""
        share = self.objective.mass(target) / mass
        loss, pred = self._forward(images, target)
        loss = loss * share.float()
        with section("backward"):
            (loss * self.world_size).backward()  # type: ignore[no-untyped-call] # torch's own
        classes = target if target.ndim == 1 else target.argmax(dim=1)
        correct = (pred == classes).sum()
        return torch.stack([loss.detach().double(), correct.double()])

    def _forward(self, images: Images, target: ClassIndex | Probs) -> tuple[Tensor, Tensor]:
        """Return the mean loss and the predicted classes of a part."""
        if self.has_loss:
            with self.autocast():
                loss, pred = self.model(images, target)
            return loss, pred
        with section("forward"), self.autocast():
            logits = self.model(images)
        with section("loss"):
            logits = logits.float()
            return self.objective(logits, target), logits.detach().argmax(dim=1)

    def _unsynchronised(self) -> AbstractContextManager[object]:
        """Return a block in which gradients stay in their process."""
        no_sync = getattr(self.model, "no_sync", nullcontext)
        block: AbstractContextManager[object] = no_sync()
        return block
