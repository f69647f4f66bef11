"""One step, without a branch on hardware or precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from softonce.distributed import sum_over_processes_
from softonce.losses import ShardedLinear
from softonce.training.profiling import section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch.optim import Optimizer

    from softonce.shapes import ClassIndex, Images, Probs
    from softonce.training.objective import Objective


@dataclass(frozen=True)
class TrainStep:
    """Forward, loss, backward, update.

    Args:
        model: gives logits; or, if `has_loss`, takes the target and the mass of the step too,
            and gives its share of the mean loss, and how many images are correct.
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
        parts = _parts(images, target, self.num_parts)
        for number, part in enumerate(parts, start=1):
            with self._skip_sync() if number < len(parts) else nullcontext():
                sums += self._accumulate(*part, mass)
        sum_over_processes_(sums)
        if self.clip_grad_norm is not None:
            _clip_(self.model, self.clip_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        with section("optimizer"):
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return torch.stack([sums[0] * num, sums[1], num])

    def _accumulate(self, images: Images, target: ClassIndex | Probs, mass: Tensor) -> Tensor:
        """Add a part's gradient; return its share of the mean loss, and its correct predictions."""
        loss, correct = self._forward(images, target, mass)
        with section("backward"):
            (loss * self.world_size).backward()  # type: ignore[no-untyped-call] # torch's own
        return torch.stack([loss.detach().double(), correct.double()])

    def _forward(
        self, images: Images, target: ClassIndex | Probs, mass: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return a part's share of the mean loss, and its correct predictions."""
        if self.has_loss:
            with self.autocast():
                loss, correct = self.model(images, target, mass)
            return loss, correct
        share = self.objective.mass(target) / mass
        with section("forward"), self.autocast():
            logits = self.model(images)
        with section("loss"):
            logits = logits.float()
            loss = self.objective(logits, target) * share.float()
            return loss, num_correct(logits.detach().argmax(dim=1), target)

    def _skip_sync(self) -> AbstractContextManager[object]:
        """Return a block in which gradients stay in their process."""
        no_sync = getattr(self.model, "no_sync", nullcontext)
        block: AbstractContextManager[object] = no_sync()
        return block


def num_correct(pred: ClassIndex, target: ClassIndex | Probs) -> Tensor:
    """Return how many predictions are the target's class, or its most probable one."""
    return (pred == (target if target.ndim == 1 else target.argmax(dim=1))).sum()


def _parts(
    images: Images, target: ClassIndex | Probs, num: int
) -> list[tuple[Images, ClassIndex | Probs]]:
    """Cut a batch into so many parts, or fewer if it has not as many images."""
    pairs = zip(images.tensor_split(num), target.tensor_split(num), strict=True)
    return [(some, their) for some, their in pairs if len(some)]


def _clip_(model: nn.Module, largest: float) -> None:
    """Scale the gradient down to a largest norm, in which the parts of all processes count."""
    heads = [module for module in model.modules() if isinstance(module, ShardedLinear)]
    if not heads:
        nn.utils.clip_grad_norm_(model.parameters(), largest)
        return
    sharded = [parameter for head in heads for parameter in head.parameters()]
    shared = {id(p): p for p in model.parameters()}
    for parameter in sharded:
        del shared[id(parameter)]
    parts = sum_over_processes_(_norm(sharded).square())
    norm = (parts + _norm(shared.values()).square()).sqrt()
    nn.utils.clip_grads_with_norm_(model.parameters(), largest, norm)


def _norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    return nn.utils.get_total_norm(p.grad for p in parameters if p.grad is not None)
