"""A file of answers once more, with the numbers repaired: the same columns in the same format."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from softonce.auditing.arrays import array_of_scores, open_arrays
from softonce.auditing.reading import (
    open_json,
    open_table,
    scores_of_cell,
)
from softonce.auditing.recognition import repaired_numbers
from softonce.data.sources.tables import guess_delimiter
from softonce.errors import ArgumentError, DataError, import_extra
from softonce.files import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from softonce.auditing.answers import AnswerFile
    from softonce.auditing.columns import ScoreColumns
    from softonce.auditing.reading import AnswerTable
    from softonce.auditing.result import Audit

    Values = NDArray[np.float64]

_DIGITS = 12
"""Significant digits of a number in CSV: more than an inverse leaves right in float32."""


def write_repaired(audit: Audit, path: str | Path) -> None:
    """Write the answers of the file that was audited, with further softmaxes undone and calibrated.

    Args:
        audit: of a file.
        path: the file to write; its suffix is that of the audited one.

    Raises:
        ArgumentError: if no file was audited, or the suffix is another.
        DataError: if the file has changed since it was audited.
        StorageError: if the file cannot be written.
    """
    file, path = audit.answers.file, Path(path)
    if file is None:
        raise ArgumentError(
            f"expected a file of answers for --write, found {audit.target}: audit a file, or keep "
            "its answers in one"
        )
    suffix = file.path.suffix.lower()
    if path.suffix.lower() != suffix:
        raise ArgumentError(
            f"expected a name that ends in {suffix} for --write, as {file.path.name} does, found "
            f"{path}: the repaired file has the same format"
        )
    values = repaired_numbers(audit.recognition, audit.answers, audit.temperature)
    classes = audit.answers.classes
    try:
        with file.path.open("rb") as opened, replacing(path) as temporary:
            if suffix in (".npy", ".npz"):
                _write_arrays(opened, file, values, temporary)
            elif suffix == ".json":
                _write_json(opened, file, values, classes, temporary)
            else:
                _write_table(opened, file, values, classes, temporary)
    except FileNotFoundError as error:
        raise _changed(file) from error


def _changed(file: AnswerFile) -> DataError:
    return DataError(
        f"expected {file.path} as it was audited, found that it has changed: audit it again"
    )


def _write_table(
    opened: Any, file: AnswerFile, values: Values, classes: tuple[str, ...], temporary: Path
) -> None:
    table = open_table(opened, file.path, file.fields)
    rows = _repaired_rows(table, file, values, classes)
    suffix = file.path.suffix.lower()
    if suffix == ".parquet":
        _write_parquet(file, list(rows), temporary)
    elif suffix == ".jsonl":
        with temporary.open("w", encoding="utf-8") as written:
            written.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        _write_csv(table, file, rows, temporary)


def _repaired_rows(
    table: AnswerTable, file: AnswerFile, values: Values, classes: tuple[str, ...]
) -> Iterator[dict[Any, Any]]:
    is_text = file.path.suffix.lower() in (".csv", ".tsv")
    num_rows = 0
    for number, (where, row) in enumerate(table.rows):
        if number == len(values):
            raise _changed(file)
        new = dict(zip(classes, values[number].tolist(), strict=True))
        repaired = dict(row)
        _replace_(repaired, table.columns, new, where, is_text=is_text)
        num_rows += 1
        yield repaired
    if num_rows < len(values):
        raise _changed(file)


def _replace_(
    row: dict[Any, Any],
    columns: ScoreColumns,
    new: Mapping[str, float],
    where: str,
    *,
    is_text: bool,
) -> None:
    """Put the repaired numbers into the cells that held the served ones."""
    if columns.names:
        cells = zip(columns.names, columns.classes, strict=True)
        row |= {name: _cell(new[each], is_text=is_text) for name, each in cells if _held(row[name])}
        return
    if columns.pairs:
        pairs = [(name, value) for name, value in columns.pairs if _held(row[name])]
        row |= {value: _cell(new[str(row[name])], is_text=is_text) for name, value in pairs}
        return
    cell = row if columns.cell is None else row[columns.cell]
    node, scores = scores_of_cell(cell, columns, where)
    scores.replace_({name: new[name] for name in scores.slots})
    if isinstance(cell, str):
        row[columns.cell] = json.dumps(node, ensure_ascii=False)


def _held(cell: Any) -> bool:
    return cell is not None and cell != ""


def _cell(value: float, *, is_text: bool) -> float | str:
    return f"{value:.{_DIGITS}g}" if is_text else value


def _write_csv(
    table: AnswerTable, file: AnswerFile, rows: Iterator[dict[Any, Any]], temporary: Path
) -> None:
    with file.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as source:
        first = source.readline(1 << 20)
    delimiter = "\t" if file.path.suffix.lower() == ".tsv" else guess_delimiter(first)
    with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as written:
        writer = csv.writer(written, delimiter=delimiter, lineterminator="\n")
        if table.has_header:
            writer.writerow(table.header)
        writer.writerows([row[name] for name in table.header] for row in rows)


def _write_parquet(file: AnswerFile, rows: list[dict[Any, Any]], temporary: Path) -> None:
    pa = import_extra("pyarrow", "parquet")
    parquet = import_extra("pyarrow.parquet", "parquet")
    schema = parquet.read_schema(io.BytesIO(file.path.read_bytes()))
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)


def _write_json(
    opened: Any, file: AnswerFile, values: Values, classes: tuple[str, ...], temporary: Path
) -> None:
    node, scores = open_json(opened, file.path, file.fields)
    if len(scores) != len(values):
        raise _changed(file)
    for each, row in zip(scores, values.tolist(), strict=True):
        new = dict(zip(classes, row, strict=True))
        each.replace_({name: new[name] for name in each.slots})
    temporary.write_text(json.dumps(node, ensure_ascii=False), encoding="utf-8")


def _write_arrays(opened: Any, file: AnswerFile, values: Values, temporary: Path) -> None:
    arrays = open_arrays(opened, file.path)
    name = array_of_scores(arrays, file.path, file.fields)
    kind = arrays[name].dtype if arrays[name].dtype.kind == "f" else np.float64
    if arrays[name].shape != values.shape:
        raise _changed(file)
    arrays[name] = values.astype(kind)
    with temporary.open("wb") as written:
        if file.path.suffix.lower() == ".npy":
            np.save(written, arrays[name], allow_pickle=False)
        else:
            np.savez(written, allow_pickle=False, **arrays)
