"""Answers as a matrix: a row a question, a column a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from softonce.errors import DataError
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Claim: TypeAlias = Literal["logits", "probabilities", "log-probabilities"]
"""What a name says of its numbers, as `softonce inspect --expect` spells it."""

CLAIMS: tuple[Claim, ...] = get_args(Claim)

LARGEST = 1e30
"""Larger numbers are no scores: their differences would overflow."""

MAX_NUMBERS = 60_000_000
"""More numbers than these in one file of answers are refused: an audit holds about eight arrays of
them, 4 GB in all. ImageNet's 50,000 validation images over 1,000 classes are fewer."""


@dataclass(frozen=True)
class Fields:
    """Where things are in a file of answers.

    Args:
        scores: a column, what columns begin with, or a path into JSON; None is guessed.
        label: a column or key; None is guessed.
    """

    scores: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class AnswerFile:
    """A file of answers, and where things are in it."""

    path: Path
    fields: Fields


@dataclass(frozen=True)
class Answers:
    """What a classifier has answered.

    Args:
        values: (N, C) float64; NaN if an answer does not mention a class.
        classes: the C names of classes, in the order of the columns.
        place: where they come from, as messages say it.
        target: (N,) class indices, or None without labels.
        claim: what the names of the columns or fields say of the numbers, if anything.
        file: the file that they were read from, if it was one.
    """

    values: NDArray[np.float64]
    classes: tuple[str, ...]
    place: str
    target: NDArray[np.int64] | None = None
    claim: Claim | None = None
    file: AnswerFile | None = None

    def __len__(self) -> int:
        return len(self.values)


def check_answers(answers: Answers) -> Answers:
    """Return the answers, if they can be audited.

    Raises:
        DataError: if there are none, of one class only, or too many; or if a number is NaN or
            infinite. Minus infinity is the logarithm of 0, and may be.
    """
    values, place = answers.values, answers.place
    if len(values) == 0:
        raise DataError(f"expected answers in {place}, found none: give a row for each question")
    if values.shape[1] < 2:
        raise DataError(
            f"expected answers over two classes or more in {place}, found "
            f"{format_count(values.shape[1], 'class')}: give a column for each class"
        )
    bad = (values > LARGEST) | ((values < -LARGEST) & ~np.isneginf(values))
    if bad.any():
        row, column = map(int, np.argwhere(bad)[0])
        raise DataError(
            f"expected numbers of at most {LARGEST:g} in {place}, found {values[row, column]} in "
            f"answer {row + 1}, class {answers.classes[column]}: look for an overflow in the "
            "classifier"
        )
    empty = np.isnan(values).all(axis=1)
    if empty.any():
        raise DataError(
            f"expected a number in every answer of {place}, found none in answer "
            f"{int(empty.argmax()) + 1}: leave it out"
        )
    return answers


def target_of(labels: Sequence[str], classes: Sequence[str], place: str) -> NDArray[np.int64]:
    """Return the class index of every label: by name, or by number if no name fits.

    Args:
        labels: of every answer.
        classes: the names of the columns.
        place: where the labels are, as the message says it.

    Raises:
        DataError: if a label is neither.

    Example:
        >>> target_of(["bee", "ant"], ["ant", "bee"], "a.csv").tolist()
        [1, 0]
        >>> target_of(["1", "0.0"], ["ant", "bee"], "a.csv").tolist()
        [1, 0]
    """
    by_name = {name: index for index, name in enumerate(classes)}
    if not set(labels) <= by_name.keys():
        by_name = {str(index): index for index in range(len(classes))}
    found = []
    for row, label in enumerate(labels, 1):
        index = by_name.get(label, by_name.get(label.removesuffix(".0")))
        if index is None:
            shown = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
            raise DataError(
                f"expected the name of a class ({shown}) or its number, counted from 0, as the "
                f"label of answer {row} in {place}, found {label[:60]!r}: name another column with "
                "--label-col"
            )
        found.append(index)
    return np.array(found, np.int64)
