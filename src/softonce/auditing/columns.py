"""Which columns of a table hold scores."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from softonce.auditing.shapes import claim_of_name, plain_name
from softonce.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from softonce.auditing.answers import Claim

_PREFIX = re.compile(
    r"^(log_?probs?|probab(?:ility|ilities)|proba|probs?|p|scores?|logits?)[_.\- ]", re.IGNORECASE
)
_CLAIMS: dict[str, Claim] = {"p": "probabilities"}

LABELS = (
    "label", "labels", "target", "targets", "truth", "groundtruth", "gt", "true", "truelabel",
    "trueclass", "ytrue", "y", "actual", "answer",
)  # fmt: skip
"""How the right class is called, in letters and digits only. `class` and `category` are not among
them: beside scores they are what was predicted."""

_NO_SCORES = (
    "id", "index", "unnamed0", "path", "file", "filename", "image", "split", "fold", "loss", "nll",
    "pred", "prediction", "predicted", "ypred", "class", "time", "seconds", "epoch", "seed",
    "weight", "confidence", "", "label", "labels", "target", "targets", "truth", "groundtruth",
    "gt", "truelabel", "trueclass", "ytrue", "y", "actual",
)  # fmt: skip
"""Columns of numbers that are no scores of a class, in letters and digits only."""


@dataclass(frozen=True)
class ScoreColumns:
    """Where the scores of a row are: in a column for each class, in pairs, or in one cell.

    Args:
        names: the columns, one a class.
        classes: what each stands for.
        claim: what the names say of the numbers.
        cell: the column that holds all of them; None for the row as a whole.
        path: where in the cell they are.
        pairs: columns of a class's name and of its number, by rank.
    """

    names: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    claim: Claim | None = None
    cell: str | None = None
    path: str | None = None
    pairs: tuple[tuple[str, str], ...] = ()


def is_headless(header: Sequence[str]) -> bool:
    """Return whether the first line of a table is a row of numbers.

    Example:
        >>> is_headless(["0.25", "0.75"]), is_headless(["0", "1"]), is_headless(["cat", "dog"])
        (True, False, False)
    """
    # 0, 1, 2, ... are the names of classes without names.
    is_count = list(header) == [str(place) for place in range(len(header))]
    return len(header) > 1 and all(map(_is_number, header)) and not is_count


def find_columns(
    header: Sequence[str], row: Mapping[str, Any], field: str | None, place: str
) -> ScoreColumns:
    """Return where the scores are.

    Args:
        header: the names of all columns.
        row: the first row.
        field: a column, what columns begin with, or a path into the row's JSON.
        place: what a message calls the table.

    Raises:
        DataError: if there are none.
    """
    if field is not None:
        return _asked(header, row, field, place)
    for found in (_ranked(header), _of_prefix(header, row), _of_cell(header, row)):
        if found is not None:
            return found
    numbers = [
        name
        for name in header
        if plain_name(name) not in _NO_SCORES and _may_be_number(row.get(name))
    ]
    if len(numbers) > 1:
        return ScoreColumns(tuple(numbers), tuple(numbers))
    if any(isinstance(value, list | dict) for value in row.values()):
        return ScoreColumns()
    raise DataError(
        f"expected a column of numbers for each class in {place}, found "
        f"{', '.join(map(repr, header[:12]))}: name what the columns begin with by --field"
    )


def _asked(header: Sequence[str], row: Mapping[str, Any], field: str, place: str) -> ScoreColumns:
    if field in header and (isinstance(row.get(field), list | dict) or _is_list(row.get(field))):
        return ScoreColumns(cell=field, claim=claim_of_name(field))
    names = tuple(name for name in header if name.startswith(field) and name != field)
    if len(names) > 1:
        classes = tuple(name.removeprefix(field).lstrip("_.- ") for name in names)
        return ScoreColumns(names, classes, _claim_of(field))
    first = re.split(r"[.\[]", field)[0]
    if first in header and isinstance(row.get(first), list | dict):
        return ScoreColumns(path=field, claim=claim_of_name(field))
    raise DataError(
        f"expected columns that begin with {field}, or one of that name that holds lists, in "
        f"{place}, found {', '.join(map(repr, header[:12]))}: correct --field"
    )


def _of_prefix(header: Sequence[str], row: Mapping[str, Any]) -> ScoreColumns | None:
    """Return the largest family of columns such as prob_cat, prob_dog."""
    families: dict[str, list[str]] = {}
    for name in header:
        if (found := _PREFIX.match(name)) and _may_be_number(row.get(name)):
            families.setdefault(found.group(), []).append(name)
    if not families:
        return None
    prefix = max(families, key=lambda each: len(families[each]))
    names = families[prefix]
    if len(names) < 2:
        return None
    classes = tuple(name.removeprefix(prefix) for name in names)
    return ScoreColumns(tuple(names), classes, _claim_of(prefix))


def _claim_of(prefix: str) -> Claim | None:
    plain = plain_name(prefix)
    return _CLAIMS.get(plain) or claim_of_name(plain) or claim_of_name(f"{plain}s")


def _ranked(header: Sequence[str]) -> ScoreColumns | None:
    """Return pairs such as class_1, prob_1, as `softonce predict --format csv` writes them."""
    names = set(header)
    for label in ("class", "label"):
        for value in ("prob", "logit", "score"):
            ranks = [
                rank
                for rank in range(1, len(header))
                if {f"{label}_{rank}", f"{value}_{rank}"} <= names
            ]
            if len(ranks) > 1:
                pairs = tuple((f"{label}_{rank}", f"{value}_{rank}") for rank in ranks)
                return ScoreColumns(pairs=pairs, claim=claim_of_name(value))
    return None


def _of_cell(header: Sequence[str], row: Mapping[str, Any]) -> ScoreColumns | None:
    lists = [name for name in header if _is_list(row.get(name))]
    if not lists:
        return None
    best = min(lists, key=lambda name: claim_of_name(name) is None)
    return ScoreColumns(cell=best, claim=claim_of_name(best))


def _is_list(cell: Any) -> bool:
    """Return whether a cell holds several numbers, in Parquet, JSON or as text."""
    if isinstance(cell, str):
        text = cell.strip()
        if not text.startswith(("[", "{")):
            return False
        try:
            cell = json.loads(text)
        except (ValueError, RecursionError):
            parts = re.split(r"[\s,;]+", text.strip("[]"))
            return len(parts) > 1 and all(map(_is_number, parts))
    return isinstance(cell, list | dict) and len(cell) > 1 and not isinstance(cell, str)


def _may_be_number(cell: Any) -> bool:
    """Return whether a cell holds a number, or nothing, as of a class that is not mentioned."""
    return cell is None or cell == "" or _is_number(cell)


def _is_number(cell: Any) -> bool:
    if isinstance(cell, bool) or cell is None:
        return False
    try:
        float(cell.strip().removesuffix("%") if isinstance(cell, str) else cell)
    except (TypeError, ValueError):
        return False
    return True
