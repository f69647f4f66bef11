"""A foreign model file, whatever its format: its graph, a way to run it, a way to write it anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np

from softonce.errors import ArtefactError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from softonce.adoption.head import Head
    from softonce.artefact import Metadata
    from softonce.checker.graph.nodes import Graph

Layout: TypeAlias = Literal["NCHW", "NHWC", "NHW", "flat"]
ChannelOrder: TypeAlias = Literal["RGB", "BGR"]
Run: TypeAlias = "Callable[[NDArray[np.float32]], list[NDArray[np.generic]]]"
"""Normalised planes (N, channels, size, size) -> the values that were asked for."""


@dataclass(frozen=True)
class Entrance:
    """How pictures go into a foreign graph.

    Args:
        name: of the input.
        layout: order of its axes; `flat` are the numbers of one picture in a row, channels last.
        dtype: of NumPy.
        order: of the channels.
        batch: how many pictures the graph takes at once; None is any number.
    """

    name: str
    layout: Layout
    dtype: str
    order: ChannelOrder = "RGB"
    batch: int | None = None

    def arrange(self, planes: NDArray[np.float32]) -> NDArray[np.generic]:
        """Return normalised planes as the graph takes them."""
        found = planes[:, ::-1] if self.order == "BGR" else planes
        if self.layout in ("NHWC", "flat"):
            found = found.transpose(0, 2, 3, 1)
        if self.layout == "NHW":
            found = found[:, 0]
        if self.layout == "flat":
            found = found.reshape(len(found), -1)
        return np.ascontiguousarray(found, np.dtype(self.dtype))


@dataclass(frozen=True)
class Plan:
    """All that is known of a foreign classifier when it is written anew.

    Args:
        head: where its scores are.
        entrance: how pictures go in.
        metadata: what the new file says of itself.
        num_scores: columns of the scores; one is a single logit of two classes.
        fill: of a single logit, on which side the other class has its 0.
        batch: how many pictures the new file takes at once; None is any number.
    """

    head: Head
    entrance: Entrance
    metadata: Metadata
    num_scores: int
    fill: Literal["", "before", "after"] = ""
    batch: int | None = None


class Foreign(Protocol):
    """A foreign model file."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def graph(self) -> Graph:
        """As the checker reads it."""

    @property
    def about(self) -> Mapping[str, str]:
        """Its metadata."""

    @property
    def producer(self) -> str:
        """What wrote it."""

    @property
    def tolerance(self) -> float:
        """How far a probability may differ in float32 when the runtime computes it twice."""

    def dtype_of(self, name: str) -> str:
        """Return the NumPy dtype of an input."""

    def open(self, entrance: Entrance, values: Sequence[str]) -> Run:
        """Return what computes these values of the graph; they may lie inside it."""

    def write(self, plan: Plan, path: Path) -> None:
        """Write the network with our preprocessing before its input and one softmax at its end."""


def open_foreign(path: Path) -> Foreign:
    """Open a foreign model file.

    Raises:
        ArtefactError: if it is missing, damaged, of another format, asks for too much, or is ours
            already.
        MissingExtraError: if what reads it is not installed.
    """
    from softonce.checker.graph import read_model

    known = read_model(path)
    if known.record is not None or known.format == "artefact":
        raise ArtefactError(
            f"expected a model file of another program at {path}, found one of softonce, which "
            "needs no adoption: evaluate, predict and serve take it as it is"
        )
    if known.format == "onnx":
        from softonce.adoption.onnx_model import OnnxModel

        return OnnxModel.read(path)
    if known.format == "openvino":
        from softonce.adoption.openvino_model import OpenVinoModel

        return OpenVinoModel.read(path)
    raise ArtefactError(
        f"expected an .onnx file or an OpenVINO .xml at {path}, found {known.format}: export the "
        "network with torch.onnx.export"
    )
