"""A network whose last layer and loss are one, for when the logits of a step are many.

The logits of a block are there at a time, never those of the step: `linear_cross_entropy`. It is
the same loss, faster on a CPU, and the memory of three N x C matrices is saved.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from softonce.distributed import rank, world_size
from softonce.losses import ShardedLinear, gather_rows
from softonce.models import Network
from softonce.training.profiling import section
from softonce.training.step import num_correct

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor

    from softonce.shapes import ClassIndex, Images, Probs
    from softonce.training.objective import Objective

MANY_LOGITS = 2**20
"""Logits of a process's part of a step from which on they are never all in memory."""
WIDE_HEAD = 2**24
"""Numbers in a head's weight from which on the processes of a run share its classes."""


class HeadLoss(nn.Module):
    """The network, its head and the loss of the head in one; the parameters are the network's.

    It is what DistributedDataParallel wraps, so that the head's gradient is averaged like others.

    Args:
        network: its features go into its head.
        objective: the loss of the head's logits.
        compiled: whether to compile what comes before the head; the loss would hold all logits.
    """

    def __init__(self, network: Network, objective: Objective, *, compiled: bool = False) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        features_of = network.forward_features
        self.features_of = torch.compile(features_of) if compiled else features_of

    def linear_head(self) -> nn.Linear:
        """Return the network's head, which is Linear wherever this class is used."""
        head = self.network.head
        assert isinstance(head, nn.Linear)  # noqa: S101 - see `has_many_logits`
        return head

    def forward(
        self, images: Images, target: ClassIndex | Probs, mass: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return these images' share of the mean loss over a mass, and how many are correct."""
        with section("forward"):
            features = self.features_of(images)
        with section("loss"):
            total, pred = self.objective.of_head(features, self.linear_head(), target)
            return total / mass.to(total.dtype), num_correct(pred, target)


class ShardedHeadLoss(nn.Module):
    """The same, if each process holds some classes of the head.

    Every process computes the features of its own images, and what all images of the step say of
    its own classes. The head's gradient is whole at once; the others' are averaged, by
    DistributedDataParallel around what comes before the head.

    Args:
        network: its head is a `ShardedLinear`.
        objective: the loss of the head's logits.
        compiled: whether to compile what comes before the head.
    """

    def __init__(self, network: Network, objective: Objective, *, compiled: bool = False) -> None:
        super().__init__()
        self.head = sharded_head(network)
        self.body = network.with_head(nn.Identity())
        self.objective = objective
        self.averaged: nn.Module = self.body
        if world_size() > 1 and _learns(self.body):
            self.averaged = DistributedDataParallel(self.body)
        self.features_of = torch.compile(self.averaged) if compiled else self.averaged

    def forward(
        self, images: Images, target: ClassIndex | Probs, mass: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return this process's share of the mean loss over a mass, and of the correct images.

        All images of the step are counted by the first process; of the loss each takes an equal
        part, whose gradient the step multiplies by their number.
        """
        with section("forward"):
            features = (self.features_of if _learns(self.body) else self.body)(images)
        with section("loss"):
            features, target = gather_rows(features, target, averaged=True)
            total, pred = self.objective.of_head(features, self.head, target)
            share = total / (mass.to(total.dtype) * world_size())
            return share, num_correct(pred, target) * (rank() == 0)

    def no_sync(self) -> AbstractContextManager[Any]:
        """Return a block in which gradients stay in their process."""
        if isinstance(self.averaged, DistributedDataParallel):
            return self.averaged.no_sync()
        return nullcontext()


def _learns(module: nn.Module) -> bool:
    """Return whether it learns now: what is frozen has no gradient to average."""
    return any(parameter.requires_grad for parameter in module.parameters())


def has_many_logits(network: Network, objective: Objective, num_images: int) -> bool:
    """Return whether a step of so many images in this process must not hold all its logits.

    A loss of the caller's wants the logits, whatever the head.
    """
    num_logits = num_images * network.num_logits if network.ends_in_head else 0
    return objective.loss_fn is None and num_logits >= MANY_LOGITS


def sharded_head(network: Network) -> ShardedLinear:
    """Return the head of a network whose classes several processes share."""
    head = network.head
    assert isinstance(head, ShardedLinear)  # noqa: S101 - put there by the caller
    return head


def with_whole_head(network: nn.Module) -> nn.Module:
    """Return the network, or one that shares its layers and has all classes, in every process."""
    if isinstance(network, Network) and isinstance(network.head, ShardedLinear):
        return network.with_head(network.head.gather())
    return network
