"""Whether a classifier answers the same question the same way: again, alone, re-encoded."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from softonce.auditing.findings import Finding
from softonce.auditing.recognition import shares_of
from softonce.data.images import decode_for_display, open_image
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from softonce.auditing.answers import Answers
    from softonce.auditing.findings import Level
    from softonce.auditing.scale import Scale

    Values = NDArray[np.float64]

NUM_PICTURES = 16
"""Pictures that each way of asking is tried with: a request each, six times."""

_SAME = 1e-4
"""Probabilities this near are the same: sums in another order differ by less."""

_UNSTEADY = 1e-2
"""Probabilities that differ by more mean another computation, not rounding: bfloat16's own
rounding, the coarsest in use, moves them by less."""

_OFTEN = 0.1
"""Part of the pictures whose class may change when JPEG writes them again: compression is a change
of the picture, and near a boundary it changes the class."""

_QUALITY = 95
_ORIENTATION, _TURNED = 274, 6  # EXIF's tag, and its value for a picture that lies on its side


class Respondent(Protocol):
    """A classifier that can be asked."""

    def ask(self, pictures: Sequence[bytes]) -> Answers:
        """Return the answers to image files, in order, asked together."""


@dataclass(frozen=True)
class Change:
    """How two ways of asking the same differ.

    Args:
        largest: difference of a probability.
        moved: how many pictures have another class.
        n: pictures.
    """

    largest: float
    moved: int
    n: int

    @property
    def in_words(self) -> str:
        """The change in words."""
        return (
            f"probabilities differ by up to {self.largest:.2g}, and the class of {self.moved} of "
            f"{format_count(self.n, 'picture')} changes"
        )


def findings_of_asking(
    respondent: Respondent, pictures: Sequence[bytes], scale: Scale
) -> Iterator[Finding]:
    """Ask the same in several ways, and yield what depends on the way.

    Args:
        respondent: the classifier.
        pictures: the bytes of image files.
        scale: what its numbers are.
    """

    def shares(answers: Answers) -> dict[str, Values]:
        columns = shares_of(answers.values, scale).T
        return dict(zip(answers.classes, columns, strict=True))

    base = shares(respondent.ask(pictures))
    again = _compare(base, shares(respondent.ask(pictures)))
    yield _judge("same-question", "the same question", "asked twice gets two answers", again)
    backwards = shares(respondent.ask(pictures[::-1]))
    turned = _compare(base, {name: column[::-1] for name, column in backwards.items()})
    yield _judge("order", "an answer", "depends on the order of the questions", turned)
    alone = [shares(respondent.ask([picture])) for picture in pictures]
    yield _judge(
        "batch-size", "an answer", "depends on what is asked together with it",
        _compare(base, _join(alone)),
    )  # fmt: skip
    yield from _of_encodings(lambda files: shares(respondent.ask(files)), pictures, base)


def _of_encodings(
    ask: Callable[[Sequence[bytes]], dict[str, Values]],
    pictures: Sequence[bytes],
    base: dict[str, Values],
) -> Iterator[Finding]:
    images = [decode_for_display(open_image(picture)) for picture in pictures]
    lossless = _compare(base, ask([_encode(image, "PNG") for image in images]))
    yield _judge("png", "a picture", "gets another answer when it is written as PNG", lossless)
    upright = ask([_encode(image, "JPEG") for image in images])
    written = _compare(base, upright)
    often = written.moved > _OFTEN * written.n
    words = f"written again as JPEG of quality {_QUALITY}, {written.in_words}"
    yield Finding("jpeg", "warning" if often else "note", "JPEG changes answers" if often else
                  "JPEG changes answers little", words)  # fmt: skip
    lying = [image.transpose(Image.Transpose.ROTATE_90) for image in images]
    sideways = [_encode(image, "JPEG", _TURNED) for image in lying]
    turned = _compare(upright, ask(sideways))
    ignores = turned.moved > max(_OFTEN * turned.n, 2 * written.moved)
    says = "the orientation that cameras store (EXIF) is " + ("ignored" if ignores else "heeded")
    fix = "turn pictures by their EXIF tag before the network sees them" if ignores else ""
    level: Level = "fault" if ignores else "note"
    yield Finding("exif", level, says, turned.in_words, "certain" if ignores else "likely", fix)


def _judge(name: str, subject: str, predicate: str, change: Change) -> Finding:
    level: Level = "note"
    if change.largest > _SAME:
        level = "fault" if change.largest > _UNSTEADY else "warning"
    if level == "note":
        words = predicate.replace("depends", "does not depend").replace("gets", "does not get")
        return Finding(name, level, f"{subject} {words}", change.in_words)
    fix = "look for dropout or batch statistics that are left on, and for replicas that differ"
    return Finding(name, level, f"{subject} {predicate}", change.in_words, "certain", fix)


def _compare(one: dict[str, Values], other: dict[str, Values]) -> Change:
    names = list(dict.fromkeys([*one, *other]))
    n = len(next(iter(one.values())))
    first, second = (
        np.stack([answers.get(name, np.zeros(n)) for name in names], axis=1)
        for answers in (one, other)
    )
    moved = int((first.argmax(axis=1) != second.argmax(axis=1)).sum())
    return Change(float(np.abs(first - second).max()), moved, n)


def _join(answers: Sequence[dict[str, Values]]) -> dict[str, Values]:
    names = dict.fromkeys(name for each in answers for name in each)
    return {
        name: np.concatenate([each.get(name, np.zeros(1)) for each in answers]) for name in names
    }


def _encode(image: Image.Image, kind: str, orientation: int | None = None) -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    if orientation is not None:
        exif[_ORIENTATION] = orientation
    image.save(file, kind, quality=_QUALITY, exif=exif)
    return file.getvalue()
