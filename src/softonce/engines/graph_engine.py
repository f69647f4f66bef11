"""An exported graph as an engine: pictures of any size in, logits and probabilities out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from softonce.errors import ArtefactError, describe_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from softonce.artefact import Metadata
    from softonce.preprocessing import Preprocessing

Outputs: TypeAlias = "dict[str, NDArray[np.float32]]"
"""`logits`, `probs`, or both, by name."""


@dataclass(frozen=True)
class GraphEngine:
    """What runs an exported file.

    Args:
        name: of the runtime.
        metadata: that the file carries.
        precision: in which the file computes.
        run: (N, H, W, 3) uint8 pictures of one size -> what the file gives.
    """

    name: str
    metadata: Metadata
    precision: str
    run: Callable[[NDArray[np.uint8]], Outputs]

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the logits of (N, channels, size, size) uint8 pixels.

        Raises:
            ArtefactError: if the file gives only probabilities, or is damaged so that it gives no
                row of logits, one a class, for a picture.
        """
        pictures = as_pictures(pixels, self.metadata.preprocessing)
        try:
            outputs = self.run(pictures)
        except Exception as error:  # each library has errors of its own
            raise ArtefactError(
                f"expected a graph that answers pictures of {pictures.shape[1]} px, found: "
                f"{describe_error(error)}; export it again"
            ) from error
        if "logits" not in outputs:
            raise ArtefactError(
                "expected an exported file that gives logits, found only probabilities: "
                "export it with --emit both"
            )
        logits, shape = outputs["logits"], (len(pixels), len(self.metadata.classes))
        if logits.shape != shape:
            raise ArtefactError(
                f"expected logits of shape {shape} from {self.name}, found {logits.shape}: the "
                "file is damaged or its record is another's; export it again"
            )
        return logits


def in_batches(
    run: Callable[[NDArray[np.uint8]], Outputs], size: object
) -> Callable[[NDArray[np.uint8]], Outputs]:
    """Return what runs any number of pictures with a graph that takes `size` at once.

    Args:
        run: runs the graph.
        size: a number, or anything else if the graph takes any: an adopted one may have shapes
            that hold its number of pictures.
    """
    if not isinstance(size, int) or size < 1:
        return run

    def run_parts(images: NDArray[np.uint8]) -> Outputs:
        count = len(images)
        rest = np.repeat(images[-1:], -count % size, axis=0)
        parts = [run(part) for part in np.split(np.concatenate([images, rest]), -(-count // size))]
        return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}

    return run_parts


def as_pictures(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return pictures that the graph's own preprocessing turns into exactly these pixels.

    With `crop` they are framed, to the size at which the graph's resize changes nothing, by what
    its crop takes away again.

    Args:
        pixels: (N, channels, size, size).
        preprocessing: the graph's own.

    Returns:
        (N, side, side, channels), grey as RGB.
    """
    size, side = preprocessing.size, preprocessing.resize
    planes = pixels.transpose(0, 2, 3, 1)
    if preprocessing.mode == "L":
        planes = np.broadcast_to(planes, (*planes.shape[:3], 3))
    if preprocessing.fit != "crop" or side == size:
        return np.ascontiguousarray(planes)
    start = round((side - size) / 2)
    pictures = np.zeros((len(pixels), side, side, planes.shape[-1]), np.uint8)
    pictures[:, start : start + size, start : start + size] = planes
    return pictures
