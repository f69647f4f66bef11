"""Does the adopted file answer as the original does? Measured on the same pixels, not assumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from softonce.adoption.head import SMALLEST
from softonce.data.loader import normalize
from softonce.errors import ArtefactError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from softonce.adoption.foreign import Entrance, Foreign
    from softonce.adoption.head import Head
    from softonce.engines.graph_engine import GraphEngine
    from softonce.preprocessing import Preprocessing

    Pixels = NDArray[np.uint8]
    Rows = NDArray[np.float64]

LIMIT_HALF = 5e-3
"""Largest difference of a probability if the graph computes its softmax in float16."""

_AT_ONCE = 16
"""Pictures that a foreign graph is given together: 200 at 224 pixels would take a gigabyte."""


@dataclass(frozen=True)
class Agreement:
    """How an adopted file compares with the original.

    Args:
        n: number of pictures.
        is_real: whether they are pictures of DATA, not made-up ones.
        probs: largest difference of a number of the original's output, after the steps that were
            taken off are done again, without a temperature; of percentages, in shares.
        logits: largest difference of the scores before the normaliser, relative to the largest.
    """

    n: int
    is_real: bool
    probs: float
    logits: float


class Original:
    """A foreign graph that answers with its scores and its output, for any number of pictures.

    Args:
        foreign: the model file.
        head: where both are.
        entrance: how pictures go in.
    """

    def __init__(self, foreign: Foreign, head: Head, entrance: Entrance) -> None:
        self.head, self.path, self.tolerance = head, foreign.path, foreign.tolerance
        self._size = entrance.batch or _AT_ONCE
        self._is_fixed = entrance.batch is not None
        self._run = foreign.open(entrance, (head.scores, head.result))
        self.dtype: np.dtype[Any] = np.dtype(np.float32)

    def run(self, planes: NDArray[np.float32]) -> tuple[Rows, Rows]:
        """Return (scores, output) as rows, of normalised planes (N, channels, size, size).

        The scores are logits: the logarithms, if they are probabilities.
        """
        parts = [self._part(planes[i : i + self._size]) for i in range(0, len(planes), self._size)]
        scores, results = zip(*parts, strict=True)
        return np.concatenate(scores), np.concatenate(results)

    def _part(self, planes: NDArray[np.float32]) -> tuple[Rows, Rows]:
        count = len(planes)
        if self._is_fixed:
            planes = np.concatenate([planes, np.repeat(planes[-1:], self._size - count, axis=0)])
        found = self._run(planes)
        for values in found:
            if (
                not isinstance(values, np.ndarray)
                or values.dtype.kind != "f"
                or (values.size % len(planes))
            ):
                kind = getattr(values, "shape", type(values).__name__)
                raise ArtefactError(
                    f"expected a row of scores for each picture in {self.path}, found {kind} for "
                    f"{len(planes)} pictures: the output {self.head.output!r} holds something else"
                )
        scores, result = found
        self.dtype = result.dtype
        rows = [x.astype(np.float64).reshape(len(planes), -1)[:count] for x in (scores, result)]
        if self.head.is_log:
            rows[0] = np.log(np.maximum(rows[0], SMALLEST))
        return rows[0], rows[1]


def planes_of(pixels: Pixels, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return what our preprocessing makes of (N, channels, size, size) pixels."""
    import torch

    return normalize(torch.from_numpy(pixels), preprocessing).contiguous().numpy()


def prove(original: Original, planes: NDArray[np.float32]) -> int:
    """Hold the steps that were found to the graph's own numbers; return the columns of the scores.

    Raises:
        ArtefactError: if they do not make the output of the scores.
    """
    head = original.head
    scores, result = original.run(planes)
    found = head.replay(scores)
    size = max(1.0, float(np.abs(result).max()))
    same = found.shape == result.shape
    difference = float(np.abs(found - result).max()) if same else np.inf
    if not difference <= _limit(original) * size:
        names = ", ".join(step.node for step in head.steps) or "its last node"
        raise ArtefactError(
            f"expected the output {head.output!r} of {original.path} to be made over the classes "
            f"by {names}, found numbers that differ by {difference:.2g}: the graph normalises over "
            "another axis, or does more than that; export the network without it"
        )
    return int(scores.shape[1])


def _limit(original: Original) -> float:
    return original.tolerance if np.finfo(original.dtype).bits >= 32 else LIMIT_HALF


def compare(
    original: Original, adopted: GraphEngine, pixels: Pixels, path: Path, *, is_real: bool
) -> Agreement:
    """Let both answer for the same pixels.

    Args:
        original: the foreign graph.
        adopted: the file that was written.
        pixels: (N, channels, size, size).
        path: of the original, for the message.
        is_real: whether they are pictures of DATA.

    Raises:
        ArtefactError: if the answers differ by more than rounding.
    """
    head, preprocessing = original.head, adopted.metadata.preprocessing
    scores, result = original.run(planes_of(pixels, preprocessing))
    parts = np.array_split(pixels, -(-len(pixels) // _AT_ONCE))
    logits = np.concatenate([adopted.logits(part) for part in parts]).astype(np.float64)
    expected = logits_of(head, scores, logits.shape[1])
    replayed = head.replay(_scores_in(head, logits, scores.shape[1]))
    size, largest = max(1.0, float(np.abs(expected).max())), max(1.0, float(np.abs(result).max()))
    probs = float(np.abs(replayed - result).max()) / largest
    if not probs <= _limit(original):
        raise ArtefactError(
            f"expected the adopted file to answer as {path} does, found numbers that differ by "
            f"{probs:.2g} on {len(pixels)} pictures: nothing was written"
        )
    relative = float(np.abs(expected - logits).max()) / size
    return Agreement(n=len(pixels), is_real=is_real, probs=probs, logits=relative)


def logits_of(head: Head, scores: Rows, num_classes: int) -> Rows:
    """Return the logits that stand for scores: of a single one, those of two classes."""
    if scores.shape[1] == 1 and num_classes == 2:
        zeros = np.zeros_like(scores)
        return np.concatenate([scores, zeros] if head.is_yes_first else [zeros, scores], axis=1)
    return scores


def _scores_in(head: Head, logits: Rows, num_scores: int) -> Rows:
    """Return the scores that logits stand for: of two classes by one score, that one."""
    if num_scores == 1:
        return logits[:, :1] - logits[:, 1:] if head.is_yes_first else logits[:, 1:] - logits[:, :1]
    return logits
