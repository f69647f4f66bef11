"""Model files as classifiers that can be asked: ours, and those of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from softonce.auditing.answers import Answers
from softonce.auditing.shapes import claim_of_name
from softonce.data.images import open_image, to_square
from softonce.data.loader import normalize
from softonce.engines.onnx_engine import start_session
from softonce.engines.openvino_engine import read_graph
from softonce.errors import ArtefactError, UnknownNameError
from softonce.inference import array_probs
from softonce.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from softonce.config import AuditConfig
    from softonce.engines import Engine

_SIZE, _OF_RESIZE = 224, 256 / 224
_RANK = 4  # images, channels, height, width


@dataclass(frozen=True)
class OwnModel:
    """A model file of ours: it answers with calibrated probabilities.

    Args:
        engine: that runs it.
        place: what messages call it.
    """

    engine: Engine
    place: str

    def ask(self, pictures: Sequence[bytes]) -> Answers:
        """Return the probabilities of image files, computed as one batch."""
        metadata = self.engine.metadata
        pixels = [to_square(open_image(each), metadata.preprocessing) for each in pictures]
        logits = self.engine.logits(np.stack(pixels)).astype(np.float64)
        probs = array_probs(logits, temperature=metadata.temperature)
        return Answers(probs, metadata.classes, self.place, claim="probabilities")


@dataclass(frozen=True)
class ForeignModel:
    """A graph that somebody else exported.

    Args:
        place: what messages call it.
        preprocessing: by which pictures become its pixels.
        output: the name of what is audited.
        is_last: whether channels are the last axis.
        takes_bytes: whether it takes pixels from 0 to 255 as they are.
        takes_one: whether it takes one picture at a time.
        run: images -> (N, C) numbers.
    """

    place: str
    preprocessing: Preprocessing
    output: str
    is_last: bool
    takes_bytes: bool
    takes_one: bool
    run: Callable[[NDArray[Any]], NDArray[Any]]

    def ask(self, pictures: Sequence[bytes]) -> Answers:
        """Return its numbers of image files."""
        pixels = np.stack([to_square(open_image(each), self.preprocessing) for each in pictures])
        images = self._images(pixels)
        if self.takes_one:
            found = np.concatenate([self.run(images[i : i + 1]) for i in range(len(images))])
        else:
            found = self.run(images)
        values = np.asarray(found, np.float64)
        classes = tuple(map(str, range(values.shape[1])))
        return Answers(values, classes, self.place, claim=claim_of_name(self.output))

    def _images(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        images: NDArray[Any] = pixels
        if not self.takes_bytes:
            images = normalize(torch.from_numpy(pixels), self.preprocessing).numpy()
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1) if self.is_last else images)


def open_foreign(path: Path, config: AuditConfig) -> ForeignModel:
    """Open an ONNX or OpenVINO file of somebody else.

    Args:
        path: of the file.
        config: size, mean and std of its pixels, and the output by name (`field`).

    Raises:
        ArtefactError: if it cannot be run, or takes no pictures.
        MissingExtraError: if the runtime is not installed.
    """
    opened = _open_openvino if path.suffix.lower() == ".xml" else _open_onnx
    shape, kind, outputs, run = opened(path, config.threads)
    if len(shape) != _RANK:
        raise ArtefactError(
            f"expected one input of pictures (N, C, H, W) or (N, H, W, C) in {path}, found the "
            f"shape {shape}: keep its answers in a file, and audit that"
        )
    is_last = shape[1] not in (1, 3) and shape[3] in (1, 3)
    channels = shape[3] if is_last else shape[1]
    side = shape[1] if is_last else shape[2]
    size = config.size or (side if isinstance(side, int) and side > 1 else _SIZE)
    mean, std = config.mean or IMAGENET_MEAN, config.std or IMAGENET_STD
    is_grey = channels == 1
    preprocessing = Preprocessing(
        size=size,
        resize=max(size, round(size * _OF_RESIZE)),
        mode="L" if is_grey else "RGB",
        mean=(sum(mean) / len(mean),) if is_grey else mean,
        std=(sum(std) / len(std),) if is_grey else std,
    )
    name = _choose_output(outputs, config.field, path)
    return ForeignModel(
        place=str(path), preprocessing=preprocessing, output=name, is_last=is_last,
        takes_bytes="uint8" in kind or "u8" in kind, takes_one=shape[0] == 1,
        run=lambda images: run(images, name),
    )  # fmt: skip


def _choose_output(outputs: dict[str, int], asked: str | None, path: Path) -> str:
    """Return the output of a row of numbers for each picture, one that says what it is first."""
    if asked is not None:
        if asked not in outputs:
            raise UnknownNameError.of(f"output of {path} for --field", asked, outputs)
        return asked
    rows = [name for name, rank in outputs.items() if rank == _RANK // 2]
    if not rows:
        raise ArtefactError(
            f"expected an output (N, classes) in {path}, found "
            f"{', '.join(outputs)}: name one with --field"
        )
    return min(rows, key=lambda name: claim_of_name(name) is None)


def _open_onnx(path: Path, threads: int | None) -> Any:
    session = start_session(path, threads)
    first, *others = session.get_inputs()
    shape = [] if others else list(first.shape)
    outputs = {output.name: len(output.shape) for output in session.get_outputs()}

    def run(images: NDArray[Any], name: str) -> NDArray[Any]:
        found: NDArray[Any] = session.run([name], {first.name: images})[0]
        return found

    return shape, first.type, outputs, run


def _open_openvino(path: Path, threads: int | None) -> Any:
    model, core = read_graph(path)
    settings = {"INFERENCE_PRECISION_HINT": "f32"} | (
        {"INFERENCE_NUM_THREADS": threads} if threads else {}
    )
    compiled = core.compile_model(model, "CPU", settings)
    first, *others = compiled.inputs
    sides = first.partial_shape
    shape = [] if others else [s.get_length() if s.is_static else None for s in sides]
    outputs = {output.any_name: len(output.partial_shape) for output in compiled.outputs}

    def run(images: NDArray[Any], name: str) -> NDArray[Any]:
        found: NDArray[Any] = compiled({first.any_name: images})[name]
        return found

    return shape, first.element_type.get_type_name(), outputs, run
