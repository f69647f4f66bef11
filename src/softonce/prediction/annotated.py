"""Predictions as pictures: the image as it was, its class and probability beneath."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softonce.console import LOG
from softonce.data.images import decode_for_display
from softonce.errors import ImageError
from softonce.prediction.table import describe_decision, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from softonce.drawing import PictureFolder
    from softonce.inference import Candidate
    from softonce.prediction.predictor import Record
    from softonce.prediction.stream import Answer
    from softonce.prediction.table import Emit

_NUM_NEXT = 2  # more classes do not fit beneath a picture


def caption(record: Record, *, emit: Emit = "probs") -> list[str]:
    """Return the lines that stand beneath a picture: its class, the next ones, the decision.

    Example:
        >>> top = [
        ...     {"index": 1, "class": "bees", "prob": 0.993, "logit": 4.0},
        ...     {"index": 0, "class": "ants", "prob": 0.007, "logit": -1.0},
        ... ]
        >>> caption({"path": "a.jpg", "pred": 1, "class": "bees", "prob": 0.993, "top": top,
        ...          "error": None})
        ['bees: 99.30%', 'ants: 0.70%']
    """
    first, *others = record["top"]
    rest = ", ".join(_format_entry(entry, emit) for entry in others[:_NUM_NEXT])
    decision = describe_decision(record.get("abstain"), record.get("set"), record.get("unlike"))
    return [_format_entry(first, emit), *(line for line in (rest, decision) if line)]


def draw_answers(
    answers: Iterable[Answer], folder: PictureFolder, *, emit: Emit
) -> Iterator[Answer]:
    """Pass answers on, and write a picture of each that has a prediction.

    Args:
        answers: what was predicted.
        folder: where the pictures go.
        emit: whether they show probabilities or logits.
    """
    for answer in answers:
        if answer.record["error"] is None:
            try:
                image = decode_for_display(answer.item.open())
            except ImageError as error:  # it could be read a moment ago
                LOG.warning("no picture of %s: %s", answer.item.path, error)
            else:
                folder.write(image, answer.item.path or "", caption(answer.record, emit=emit))
        yield answer


def _format_entry(entry: Candidate, emit: Emit) -> str:
    return f"{entry['class']}: {number(entry, emit)}"
