"""Features of a frozen backbone, computed once: an epoch then costs what the head costs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from softonce.data.loader import Loader
from softonce.models import Network

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from softonce.artefact import Metadata
    from softonce.data.loader import Batch


class FeatureHead(Network):
    """The head of a network by itself: its images are its features.

    Args:
        head: the Linear layer, which it shares with the network.

    Example:
        >>> head = FeatureHead(torch.nn.Linear(4, 3))
        >>> head(torch.ones(2, 4)).shape
        torch.Size([2, 3])
    """

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.fc = head

    @classmethod
    def of(cls, network: Network) -> FeatureHead:
        """Return the head of a network that ends in it."""
        assert isinstance(network.head, nn.Linear)  # noqa: S101 - see `can_cache`
        return cls(network.head)

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the features, which they are."""
        return images


@dataclass(frozen=True)
class FeatureLoader(Loader):
    """Batches of features in the order of the pictures that they are of.

    Args:
        features: (N, D) of all images, float16.
    """

    features: npt.NDArray[np.floating] = field(kw_only=True)

    @classmethod
    def of(cls, loader: Loader, features: npt.NDArray[np.floating]) -> FeatureLoader:
        """Return the loader of these pictures' features."""
        return cls(**_options(loader), features=features)

    def batches(self, epoch: int = 0, *, start: int = 0) -> Generator[Batch]:
        """Iterate over this process's share of an epoch's batches, from batch number `start`."""
        for part in self._parts(epoch)[start:]:
            rows = part % len(self.scan)
            target = torch.from_numpy(self.scan.samples.target[rows])
            yield torch.from_numpy(self.features[rows]), target

    def to_input(self, pixels: Tensor, device: torch.device) -> Tensor:
        """Return a batch as the head takes it."""
        return pixels.to(device).float()

    def of_pictures(self) -> Loader:
        """Return the loader of the pictures themselves."""
        return Loader(**_options(self))

    @property
    def num_workers(self) -> int:
        """None: there is nothing to decode."""
        return 0


def _options(loader: Loader) -> dict[str, Any]:
    return {each.name: getattr(loader, each.name) for each in dataclasses.fields(Loader)}


@dataclass(frozen=True)
class FeatureEngine:
    """A head as an engine, whose pixels are features.

    Args:
        model: a `FeatureHead` in evaluation mode.
        metadata: of the artefact that it will become a part of.
    """

    model: nn.Module
    metadata: Metadata

    @property
    def name(self) -> str:
        """`torch`."""
        return "torch"

    @torch.inference_mode()
    def logits(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the logits of features (N, D)."""
        device = next(self.model.parameters()).device
        logits: Tensor = self.model(torch.from_numpy(pixels).to(device).float())
        return logits.cpu().numpy()


@dataclass(frozen=True)
class SplitFeatures:
    """The features of the splits that a run learns from and is judged by.

    Args:
        train: (N, D) float16, mapped into memory.
        val: the same, of val.
    """

    train: npt.NDArray[np.floating]
    val: npt.NDArray[np.floating]
