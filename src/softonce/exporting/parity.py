"""Does an exported file answer as its artefact does? Measured on pictures, not assumed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from softonce import inference
from softonce.engines.graph_engine import as_pictures
from softonce.engines.opening import seconds_of
from softonce.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from softonce.artefact import Metadata
    from softonce.engines.engine import Engine
    from softonce.engines.graph_engine import GraphEngine, Outputs
    from softonce.exporting.pictures import Sample

    Rows = NDArray[np.float32]

_BATCH = 16
"""Pictures that both sides compute at once; more is no faster on a CPU and takes more memory."""


@dataclass(frozen=True)
class Limits:
    """How far a precision may lie off.

    Args:
        same_pixels: the largest difference of a probability, given the same pixels.
        median: the median difference, from raw pictures.
        margin: where the artefact's first class leads by more, the first class must be the same.
        accuracy: how much accuracy may be lost, beyond what chance takes and gives.
    """

    same_pixels: float
    median: float
    margin: float
    accuracy: float = 0.01


LIMITS = {
    "fp32": Limits(same_pixels=1e-4, median=1e-3, margin=0.02),
    "fp16": Limits(same_pixels=2e-2, median=2e-3, margin=0.1),
    "bf16": Limits(same_pixels=1e-1, median=2e-2, margin=0.2),
    "int8": Limits(same_pixels=1.0, median=5e-2, margin=0.9),
}


@dataclass(frozen=True)
class Parity:
    """What the comparison found; probabilities are those with the temperature.

    Args:
        n: number of pictures.
        same_pixels: largest difference of a probability if both are given the same pixels.
        largest: largest difference from raw pictures, the file's own preprocessing included.
        median: the median over all pictures and classes.
        agreement: share of pictures with the same first class.
        changed: pictures with another first class although the artefact's led by the margin.
        accuracy: of the artefact and of the file, if the classes are known.
        images_per_second: of the artefact in float32 and of the file, 16 at a time.
        failures: what is beyond the limits, in words.
    """

    n: int
    same_pixels: float
    largest: float
    median: float
    agreement: float
    changed: int
    accuracy: tuple[float, float] | None
    images_per_second: tuple[float, float]
    failures: tuple[str, ...] = ()


def compare(artefact: Engine, exported: GraphEngine, pictures: Iterable[Sample]) -> Parity:
    """Let both answer for the pictures: from the same pixels, and from the raw pictures.

    Raises:
        DataError: if there is no picture.
    """
    raw, pixels, target = [], [], []
    for picture in pictures:
        raw.append(probs_of(exported.run(picture.raw[None]), exported.metadata))
        pixels.append(picture.pixels)
        target.append(picture.target)
    if not pixels:
        raise DataError("expected pictures to compare on, found none that can be read")
    batches = np.array_split(np.stack(pixels), -(-len(pixels) // _BATCH))
    expected = np.concatenate(
        [probs_of({"logits": artefact.logits(batch)}, artefact.metadata) for batch in batches]
    )
    framed = [as_pictures(batch, exported.metadata.preprocessing) for batch in batches]
    same = np.concatenate([probs_of(exported.run(each), exported.metadata) for each in framed])
    seconds = seconds_of(artefact.logits, batches[0]), seconds_of(exported.run, framed[0])
    speeds = (len(batches[0]) / seconds[0], len(batches[0]) / seconds[1])
    return _judge(expected, same, np.concatenate(raw), np.array(target), speeds, exported)


def probs_of(outputs: Outputs, metadata: Metadata) -> Rows:
    """Return the file's own probabilities, or those of its logits."""
    if "probs" in outputs:
        return outputs["probs"]
    logits = torch.from_numpy(outputs["logits"])
    return inference.probs(logits, **metadata.normalised_by).numpy()


def _judge(
    expected: Rows,
    same: Rows,
    raw: Rows,
    target: NDArray[np.int64],
    speeds: tuple[float, float],
    exported: GraphEngine,
) -> Parity:
    limits = LIMITS[exported.precision]
    differences = np.abs(raw - expected)
    pred, others = expected.argmax(1), raw.argmax(1)
    top = np.sort(expected, axis=1)
    leads = top[:, -1] - top[:, -2] > limits.margin
    right, still_right = pred == target, others == target
    known = bool((target >= 0).all())
    parity = Parity(
        n=len(target),
        same_pixels=float(np.abs(same - expected).max()),
        largest=float(differences.max()),
        median=float(np.median(differences)),
        agreement=float((pred == others).mean()),
        changed=int((leads & (pred != others)).sum()),
        accuracy=(float(right.mean()), float(still_right.mean())) if known else None,
        images_per_second=speeds,
    )
    chance = 2 * math.sqrt((right != still_right).sum()) / len(target)
    return replace(parity, failures=tuple(_failures(parity, limits, chance)))


def _failures(parity: Parity, limits: Limits, chance: float) -> Iterator[str]:
    """Say what is beyond the limits; NaN is."""
    if not parity.same_pixels <= limits.same_pixels:
        yield f"given the same pixels, a probability differs by {parity.same_pixels:.2g}"
    if not parity.median <= limits.median:
        yield f"from the pictures themselves, the median difference is {parity.median:.2g}"
    if parity.changed:
        yield f"{parity.changed} first classes that led by {limits.margin:g} are others"
    if parity.accuracy is not None:
        before, after = parity.accuracy
        if before - after > limits.accuracy + chance:
            yield f"accuracy falls from {before:.2%} to {after:.2%}"
