"""Files of answers: CSV, TSV, JSONL, JSON, Parquet and NumPy's, with labels or without."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np

from softonce.auditing.answers import (
    MAX_NUMBERS,
    AnswerFile,
    Answers,
    check_answers,
    target_of,
)
from softonce.auditing.arrays import read_arrays
from softonce.auditing.columns import LABELS, ScoreColumns, find_columns, is_headless
from softonce.auditing.shapes import Scores, follow, plain_name, scores_of
from softonce.data.sources.tables import read_table
from softonce.errors import DataError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from softonce.auditing.answers import Claim, Fields

    Row: TypeAlias = Mapping[Any, Any]

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
SUFFIXES = (*TABLES, ".json", ".npy", ".npz")
"""The files of answers that are read."""

MAX_JSON = 1 << 28
"""Longer JSON files, in bytes, are refused: they are parsed as a whole."""


@dataclass(frozen=True)
class AnswerTable:
    """A table of answers.

    Args:
        header: the names of its columns; numbers if it has none.
        has_header: whether the first line is one.
        columns: where the scores are.
        label: the column of labels, if there is one.
        rows: what a message calls each, and its cells.
    """

    header: Sequence[str]
    has_header: bool
    columns: ScoreColumns
    label: str | None
    rows: Iterator[tuple[str, Row]]


def read_answers(path: Path, fields: Fields) -> Answers:
    """Read a file of answers.

    Args:
        path: of the file; its suffix says what it is.
        fields: where things are in it.

    Raises:
        DataError: if it is no such file, or holds what is no answer; the message has the row.
        MissingExtraError: if it is Parquet and pyarrow is not installed.
    """
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as opened:
            if suffix in (".npy", ".npz"):
                answers = read_arrays(opened, path, fields)
            elif suffix == ".json":
                answers = _read_json(opened, path, fields)
            else:
                answers = _read_table(opened, path, fields)
    except OSError as error:
        raise DataError(
            f"expected a file of answers at {path}, found: {error.strerror or error}: "
            "check its name"
        ) from error
    return check_answers(replace(answers, file=AnswerFile(path, fields)))


def open_table(opened: BinaryIO, path: Path, fields: Fields) -> AnswerTable:
    """Open a table of answers.

    Args:
        opened: the file, at its begin.
        path: its name; the suffix says what it is.
        fields: where things are in it.

    Raises:
        DataError: if it is no such table, or there are no scores in its first row.
    """
    place = str(path)
    header, rows = read_table(opened, path.name, place, guess_header=False)
    has_header = path.suffix.lower() not in (".csv", ".tsv") or not is_headless(header)
    if not has_header:
        if len(set(header)) < len(header):
            raise DataError(
                f"expected names of columns in the first line of {path}, found numbers: name them"
            )
        names = [str(position) for position in range(len(header))]
        first = (f"line 1 of {path}", dict(zip(names, header, strict=True)))
        old = tuple(header)
        rows = chain([first], ((where, _renamed(row, old, names)) for where, row in rows))
        header = names
    repeated = [name for name, count in Counter(header).items() if count > 1 and name]
    if repeated:
        raise DataError(
            f"expected a name for each column of {path}, found {repeated[0]!r} twice: rename one"
        )
    rows, first_row = _peek(rows, path)
    columns = find_columns(header, first_row, fields.scores, place)
    usable = [name for name in header if not isinstance(first_row.get(name), list | dict)]
    label = _label_column(usable, columns, fields.label, path)
    return AnswerTable(header, has_header, columns, label, rows)


def _read_table(opened: BinaryIO, path: Path, fields: Fields) -> Answers:
    table = open_table(opened, path, fields)
    read = _of_columns if table.columns.names else _of_cells
    return read(table.rows, table.columns, table.label, path)


def _renamed(row: Row, header: Sequence[str], names: Sequence[str]) -> Row:
    renamed: dict[Any, Any] = {name: row.get(old) for old, name in zip(header, names, strict=True)}
    return renamed | {key: row[key] for key in row if key is None}  # csv's cells too many


def _peek(rows: Iterator[tuple[str, Row]], path: Path) -> tuple[Iterator[tuple[str, Row]], Row]:
    first = next(rows, None)
    if first is None:
        raise DataError(f"expected answers in {path}, found none: give a row for each question")
    return chain([first], rows), first[1]


def _label_column(
    header: Sequence[str], columns: ScoreColumns, asked: str | None, path: Path
) -> str | None:
    if asked is not None:
        if asked not in header:
            raise UnknownNameError.of(f"--label-col of {path}", asked, header)
        return asked
    taken = {*columns.names, columns.cell}
    plain = {plain_name(name): name for name in reversed(header) if name not in taken}
    return next((plain[name] for name in LABELS if name in plain), None)


def _of_columns(
    rows: Iterable[tuple[str, Row]],
    columns: ScoreColumns,
    label: str | None,
    path: Path,
) -> Answers:
    """Read a table with a column for each class."""
    found, labels = [], []
    for where, row in rows:
        if None in row or any(row.get(name, "") is None for name in columns.names):
            raise DataError(
                f"expected {len(row) - (None in row)} cells in {where}, found "
                f"{'more' if None in row else 'fewer'}: correct the line"
            )
        found.append(_numbers([row.get(name) for name in columns.names], columns.names, where))
        labels.append(_label(row, label, where))
        _check_room(len(found), len(columns.names), path)
    values = np.stack(found)
    target = None if label is None else target_of(labels, columns.classes, str(path))
    return Answers(values, columns.classes, str(path), target, columns.claim)


def _of_cells(
    rows: Iterable[tuple[str, Row]],
    columns: ScoreColumns,
    label: str | None,
    path: Path,
) -> Answers:
    """Read a table whose rows hold their scores in one cell, or as pairs of class and score."""
    scores, labels = [], []
    num_numbers = 0
    for where, row in rows:
        scores.append(replace(scores_of_row(row, columns, where), slots={}))
        labels.append(_label(row, label, where))
        num_numbers += len(scores[-1].values)
        _check_room(num_numbers, 1, path)
    answers = join_scores(scores, str(path), claim=columns.claim)
    target = None if label is None else target_of(labels, answers.classes, str(path))
    return Answers(answers.values, answers.classes, str(path), target, answers.claim)


def scores_of_row(row: Row, columns: ScoreColumns, where: str) -> Scores:
    """Return the scores of a row that has no column for each class."""
    if columns.pairs:
        named = [(row[name], value) for name, value in columns.pairs if row[name] not in ("", None)]
        values = {str(name): _number(row[value], value, where) for name, value in named}
        slots = {str(name): (row, value) for name, value in named}
        return Scores(values, is_named=True, claim=columns.claim, slots=slots)
    return scores_of_cell(row if columns.cell is None else row.get(columns.cell), columns, where)[1]


def scores_of_cell(cell: Any, columns: ScoreColumns, where: str) -> tuple[Any, Scores]:
    """Return a cell's list or object, parsed if it is text, and the scores in it.

    Raises:
        DataError: if it holds none, or those of several answers.
    """
    node = _parse_cell(cell, where) if isinstance(cell, str) else cell
    found = scores_of(node, where, columns.path)
    if len(found) != 1:
        raise DataError(f"expected one answer in {where}, found {len(found)}: give a row for each")
    return node, found[0]


def _parse_cell(text: str, where: str) -> Any:
    """Return a list that is written in a cell: as JSON, or as numbers with blanks between."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    parts = re.split(r"[\s,;|]+", text.strip().strip("[]()"))
    return [_number(part, "the list", where) for part in parts if part]


def _numbers(cells: list[Any], names: Sequence[str], where: str) -> NDArray[np.float64]:
    """Return the numbers of a row; all at once if every cell is one, as nearly all rows are."""
    try:
        values = np.array(cells, np.float64)
        if np.isfinite(values).all() and not any(isinstance(cell, bool) for cell in cells):
            return values
    except (TypeError, ValueError):
        pass
    return np.array([_number(cell, name, where) for cell, name in zip(cells, names, strict=True)])


def _number(cell: Any, column: str, where: str) -> float:
    """Return a cell's number; NaN if it is empty, so that the class is not mentioned."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return float("nan")
    text = cell.strip().removesuffix("%") if isinstance(cell, str) else cell
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = float("nan")
    if value != value or isinstance(cell, bool):
        raise DataError(
            f"expected a number for {column} in {where}, found {str(cell)[:60]!r}: correct it, or "
            "name the columns of scores with --field"
        )
    return value


def _label(row: Row, label: str | None, where: str) -> str:
    if label is None:
        return ""
    value = row.get(label)
    if value is None or value == "" or isinstance(value, float | bool | list | dict):
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        raise DataError(f"expected a label in {label} of {where}, found {value!r}: fill it in")
    return str(value).strip()


def _check_room(num_rows: int, num_columns: int, path: Path) -> None:
    if num_rows * num_columns > MAX_NUMBERS:
        raise DataError(
            f"expected at most {MAX_NUMBERS:,} numbers in {path}, found more: audit a part of it"
        )


def join_scores(scores: Sequence[Scores], place: str, *, claim: Claim | None = None) -> Answers:
    """Put the scores of many answers together; a class that one does not mention is NaN there.

    Raises:
        DataError: if lists are of different lengths.
    """
    named = [each for each in scores if each.is_named]
    if named and len(named) < len(scores):
        raise DataError(f"expected answers of one shape in {place}, found lists and names")
    lengths = {len(each.values) for each in scores}
    if not named and len(lengths) > 1:
        raise DataError(
            f"expected lists of one length in {place}, found {min(lengths)} and {max(lengths)} "
            "numbers: give every class in each answer, or name the classes"
        )
    classes = dict.fromkeys(name for each in scores for name in each.values)
    ordered = sorted(classes, key=_natural) if named else list(classes)
    _check_width(len(scores), len(ordered), place)
    values = np.full((len(scores), len(ordered)), np.nan)
    places = {name: column for column, name in enumerate(ordered)}
    for row, each in enumerate(scores):
        values[row, [places[name] for name in each.values]] = list(each.values.values())
    claims = {each.claim for each in scores}
    said = claims.pop() if len(claims) == 1 else None
    return Answers(values, tuple(ordered), place, None, said or claim)


def _check_width(rows: int, columns: int, place: str) -> None:
    if rows * columns > MAX_NUMBERS:
        raise DataError(
            f"expected at most {MAX_NUMBERS:,} numbers in {place}, found {rows:,} answers over "
            f"{columns:,} classes: audit a part of it"
        )


def _natural(name: str) -> tuple[Any, ...]:
    """Return the key by which class 10 stands after class 2."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)


def _read_json(opened: BinaryIO, path: Path, fields: Fields) -> Answers:
    node, scores = open_json(opened, path, fields)
    answers = join_scores(scores, str(path))
    if fields.label is None:
        return answers
    labels = follow(node, fields.label, str(path))
    if not isinstance(labels, list) or len(labels) != len(answers):
        raise DataError(
            f"expected a list of {len(answers)} labels at {fields.label} in {path}: correct "
            "--label-col"
        )
    target = target_of([str(label) for label in labels], answers.classes, str(path))
    return Answers(answers.values, answers.classes, str(path), target, answers.claim)


def open_json(opened: BinaryIO, path: Path, fields: Fields) -> tuple[Any, list[Scores]]:
    """Return what a JSON file holds, and the scores in it.

    Raises:
        DataError: if it is too long, no JSON, or holds no scores.
    """
    data = opened.read(MAX_JSON + 1)
    if len(data) > MAX_JSON:
        raise DataError(
            f"expected at most {MAX_JSON:,} bytes of JSON at {path}, found more: give JSON lines "
            "(.jsonl), which are read one by one"
        )
    try:
        node = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"expected JSON at {path}, found: {error}") from error
    return node, scores_of(node, str(path), fields.scores)
