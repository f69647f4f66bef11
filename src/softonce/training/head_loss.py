"""A network whose last layer and loss are one, for when the logits of a step are many.

The logits of a block are there at a time, never those of the step: `linear_cross_entropy`. It is
the same loss, faster on a CPU, and the memory of three N x C matrices is saved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from softonce.models import Classifier
from softonce.training.profiling import section

if TYPE_CHECKING:
    from torch import Tensor

    from softonce.shapes import ClassIndex, Images, Probs
    from softonce.training.objective import Objective

MANY_LOGITS = 2**20
"""Logits of a process's part of a step from which on they are never all in memory."""


class HeadLoss(nn.Module):
    """The network, its head and the loss of the head in one; the parameters are the network's.

    It is what DistributedDataParallel wraps, so that the head's gradient is averaged like others.

    Args:
        network: its features go into its head.
        objective: the loss of the head's logits.
        compiled: whether to compile what comes before the head; the loss would hold all logits.
    """

    def __init__(
        self, network: Classifier, objective: Objective, *, compiled: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        features_of = network.forward_features
        self.features_of = torch.compile(features_of) if compiled else features_of

    def forward(self, images: Images, target: ClassIndex | Probs) -> tuple[Tensor, Tensor]:
        """Return the mean loss in nats, and the predicted classes."""
        with section("forward"):
            features = self.features_of(images)
        with section("loss"):
            return self.objective.of_head(features, self.network.fc, target)


def has_many_logits(network: Classifier, objective: Objective, num_images: int) -> bool:
    """Say whether a step of so many images in this process shall not hold all its logits.

    A loss of the caller's wants the logits, and so does a network that does more than its head.
    """
    is_plain = type(network).forward is Classifier.forward and type(network.fc) is nn.Linear
    num_logits = num_images * network.fc.out_features if is_plain else 0
    return objective.loss_fn is None and num_logits >= MANY_LOGITS
