"""Bytes -> pixels, pixels -> logits, logits -> records: one way for all that predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NotRequired, TypeAlias, TypedDict

import numpy as np

from softonce.data.images import to_square
from softonce.decisions import decide
from softonce.errors import ImageError
from softonce.inference import Candidate, array_probs, top_predictions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from softonce.data.bands import Picture
    from softonce.decisions import Decision
    from softonce.engines import Engine
    from softonce.inference import Ranking

Pixels: TypeAlias = "NDArray[np.uint8]"
"""(channels, size, size): the square that the network sees, before it is normalised."""

Row: TypeAlias = "NDArray[np.float32]"
"""(C,): the logits of one picture."""

Record = TypedDict(
    "Record",
    {
        "path": str | None,
        "pred": int | None,
        "class": str | None,
        "prob": float | None,
        "top": list[Candidate],
        "error": str | None,
        "abstain": NotRequired[bool | None],
        "set": NotRequired[list[str] | None],
        "unlike": NotRequired[bool | None],
    },
)
"""`abstain`, `set`, `unlike`: if the classifier has such rules; see `softonce.decisions`."""


@dataclass(frozen=True)
class Unreadable:
    """A picture that cannot be read.

    Args:
        reason: why, as the record's `error` says it.
    """

    reason: str


@dataclass(frozen=True)
class Predictor:
    """What the command line, the service and `softonce.Classifier` predict with.

    Args:
        engine: answers uint8 pixels with logits.
    """

    engine: Engine

    def prepare(self, open_picture: Callable[[], Picture]) -> Pixels | Unreadable:
        """Return the pixels of a picture that is opened here, so that its `ImageError` is caught.

        Pictures of a batch may be prepared in several threads.
        """
        try:
            return to_square(open_picture(), self.engine.metadata.preprocessing)
        except ImageError as error:
            return Unreadable(str(error))

    def logits(self, prepared: Sequence[Pixels | Unreadable]) -> list[Row]:
        """Return the logits of those that could be read, in order, computed as one batch."""
        pixels = [each for each in prepared if not isinstance(each, Unreadable)]
        return list(self.engine.logits(np.stack(pixels))) if pixels else []

    def records(
        self,
        paths: Sequence[str | None],
        prepared: Sequence[Pixels | Unreadable],
        rows: Sequence[Row],
        *,
        top_k: int,
    ) -> list[Record]:
        """Name the classes: one record a picture, unreadable ones included.

        Args:
            paths: what each picture is called.
            prepared: its pixels, or why there are none.
            rows: the logits of those with pixels, in order.
            top_k: how many classes to name.
        """
        answers = iter(self._answers(np.stack(rows), top_k) if rows else ())
        return [
            self._no_prediction(path, each.reason)
            if isinstance(each, Unreadable)
            else _as_record(path, *next(answers))
            for path, each in zip(paths, prepared, strict=True)
        ]

    def _answers(
        self, logits: NDArray[np.float32], top_k: int
    ) -> Iterator[tuple[Ranking, Decision]]:
        metadata = self.engine.metadata
        ranked = top_predictions(logits, metadata.classes, top_k=top_k, **metadata.normalised_by)
        probs = array_probs(logits.astype(np.float64), **metadata.normalised_by)
        return zip(ranked, decide(metadata.decisions, logits, probs, metadata.classes), strict=True)

    def _no_prediction(self, path: str | None, reason: str) -> Record:
        record: Record = {
            "path": path, "pred": None, "class": None, "prob": None, "top": [], "error": reason,
        }  # fmt: skip
        if self.engine.metadata.decisions.abstention is not None:
            record["abstain"] = None
        if self.engine.metadata.decisions.sets is not None:
            record["set"] = None
        if self.engine.metadata.decisions.novelty is not None:
            record["unlike"] = None
        return record


def _as_record(path: str | None, ranking: Ranking, decision: Decision) -> Record:
    return {"path": path, **ranking, "error": None, **decision}
