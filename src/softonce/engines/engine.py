"""What every engine offers, whatever computes behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from softonce.artefact import Metadata
    from softonce.config.fields import Tta


class Engine(Protocol):
    """A classifier that is ready to answer.

    `metadata` has the class names, the temperature and the preprocessing; `logits` takes the uint8
    pixels that this preprocessing makes, (N, channels, size, size), and returns float32 logits,
    (N, C): the network's own numbers, before the temperature.
    """

    @property
    def name(self) -> str:
        """`torch`, `torch-compiled`, `onnxruntime` or `openvino`."""

    @property
    def metadata(self) -> Metadata:
        """What the file says of itself."""

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the logits of a batch of pictures."""


@dataclass(frozen=True)
class Flipped:
    """An engine that also looks at each picture's mirror image, and averages the **logits**.

    They stay logits that way: the softmax still happens once, after it, and dividing by the
    temperature before or after the average is the same.
    """

    engine: Engine

    @property
    def name(self) -> str:
        """The name of the engine inside."""
        return self.engine.name

    @property
    def metadata(self) -> Metadata:
        """What the file of the engine inside says of itself."""
        return self.engine.metadata

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the mean of both logits."""
        mirrored = np.ascontiguousarray(pixels[..., ::-1])
        return (self.engine.logits(pixels) + self.engine.logits(mirrored)) / np.float32(2)


def noise(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return pixels to time an engine with: what they show changes no time."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def with_tta(engine: Engine, tta: Tta) -> Engine:
    """Return the engine that `--tta` asks for."""
    return Flipped(engine) if tta == "flip" else engine
