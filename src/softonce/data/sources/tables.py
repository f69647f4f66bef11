"""CSV, TSV, JSONL and Parquet files become rows, each with a name for messages."""

from __future__ import annotations

import csv
import io
import json
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from softonce.console import LOG
from softonce.data.sources.source import as_split
from softonce.data.storage import is_image
from softonce.errors import DataError, describe_error, import_extra

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Rows: TypeAlias = "Iterator[tuple[str, Mapping[str, Any]]]"
"""What a message calls a row, and its cells by column."""

MAX_LINE = 1 << 20
"""Longer lines of a table, in characters, are refused."""

_HEAD_BYTES = 4096  # by which UTF-16 is told from UTF-8
_DELIMITERS = ",;\t|"
_NUM_FIRST = 1000  # rows of JSONL whose keys are its columns; all of them would fill the memory


def read_table(
    opened: BinaryIO, name: str, place: str, *, guess_header: bool
) -> tuple[Sequence[str], Rows]:
    """Return the columns of a table, and its rows.

    Args:
        opened: the file, at its begin.
        name: its name, whose suffix says what it is.
        place: what a message calls it.
        guess_header: whether a first line that is a row, not a header, may be taken for one.

    Raises:
        DataError: if it is no such table.
    """
    suffix = name.lower().rpartition(".")[2]
    if suffix == "parquet":
        return _parquet(opened, place)
    head = opened.read(_HEAD_BYTES)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or head.count(0) > len(head) // 4:
        raise _wrong_encoding(place, "UTF-16", "utf-16")
    raw = io.BufferedReader(_Rejoined(head, opened))
    text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
    lines = _lines(text, place)
    if suffix == "jsonl":
        return _json(lines, place)
    return _csv(lines, place, "\t" if suffix == "tsv" else None, guess_header=guess_header)


class _Rejoined(io.RawIOBase):
    """A file whose first bytes have been read already."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        data = data or self._rest.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _lines(text: io.TextIOWrapper, place: str) -> Iterator[str]:
    """Yield the lines, none of which fills the memory."""
    while line := text.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise DataError(
                f"expected lines of at most {MAX_LINE:,} characters in {place}, found longer"
            )
        yield line


def _csv(
    lines: Iterator[str], place: str, delimiter: str | None, *, guess_header: bool
) -> tuple[Sequence[str], Rows]:
    first = next(lines, "")
    delimiter = delimiter or guess_delimiter(first)
    try:
        header = next(csv.reader([first], delimiter=delimiter, strict=True), [])
    except csv.Error:  # the header goes on in the next line
        header = []
    names = None
    if guess_header and header and is_image(header[0].encode("utf-8", "replace")):
        names = ["path", "label", *(f"column {n}" for n in range(3, len(header) + 1))]
        names = names[: len(header)]
        if len(header) > 2 and as_split(header[2]):
            names[2] = "split"
        LOG.info("%s has no header: its columns are taken as %s", place, ", ".join(names))
    reader = csv.DictReader(
        chain([first], lines), names, delimiter=delimiter, strict=True, skipinitialspace=True
    )
    try:
        found = [name.strip() for name in reader.fieldnames or []]
    except csv.Error as error:
        raise _no_csv(place, error) from error
    reader.fieldnames = found
    return found, _csv_rows(reader, place)


def guess_delimiter(line: str) -> str:
    """Return what parts the cells of the first line of a CSV file."""
    return max(_DELIMITERS, key=line.count)


def _csv_rows(reader: csv.DictReader[str], place: str) -> Rows:
    try:
        for row in reader:
            where = f"line {reader.line_num} of {place}"
            _check_encoding(row.values(), where, place)
            yield where, row
    except csv.Error as error:
        raise _no_csv(place, error) from error


def _no_csv(place: str, error: csv.Error) -> DataError:
    return DataError(f"expected CSV in {place}, found: {error}")


def _json(lines: Iterator[str], place: str) -> tuple[Sequence[str], Rows]:
    rows = _json_rows(lines, place)
    first = list(islice(rows, _NUM_FIRST))
    header = tuple(dict.fromkeys(key for _, row in first for key in row))
    return header, chain(first, _warn_of_late_keys(rows, set(header), place))


def _warn_of_late_keys(rows: Rows, header: set[str], place: str) -> Rows:
    late: set[str] = set()
    for where, row in rows:
        late |= row.keys() - header
        yield where, row
    if late:
        LOG.warning(
            "keys of %s that are in no row of the first %d are not used: %s",
            place,
            _NUM_FIRST,
            ", ".join(sorted(late)),
        )


def _json_rows(lines: Iterable[str], place: str) -> Rows:
    for number, line in enumerate(lines, 1):
        where = f"line {number} of {place}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"expected a JSON object in {where}, found: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"expected a JSON object in {where}, found {line.strip()[:40]}")
        _check_encoding(row.values(), where, place)
        yield where, row


def _parquet(opened: BinaryIO, place: str) -> tuple[Sequence[str], Rows]:
    parquet = import_extra("pyarrow.parquet", "parquet")
    with arrow_errors(f"a Parquet file at {place}"):
        table = parquet.ParquetFile(io.BytesIO(opened.read()))
        names = table.schema_arrow.names

    def batches() -> Iterator[list[dict[str, Any]]]:
        with arrow_errors(f"a Parquet file at {place}"):
            for batch in table.iter_batches():
                batch.validate(full=True)  # what a damaged file holds is not trusted
                yield batch.to_pylist()

    def rows() -> Rows:
        numbered = enumerate(chain.from_iterable(batches()), 1)
        return ((f"row {number} of {place}", row) for number, row in numbered)

    return names, rows()


@contextmanager
def arrow_errors(expected: str) -> Iterator[None]:
    """Raise a `DataError` for what pyarrow cannot read."""
    pa = import_extra("pyarrow", "parquet")
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = describe_error(error)
        raise DataError(f"expected {expected}, found: {reason}; write or copy it again") from error


def _check_encoding(cells: Iterable[Any], where: str, place: str) -> None:
    """Raise a `DataError` if a label or path is no UTF-8, unless a file is named so."""
    for text in cells:
        if not isinstance(text, str) or text.isascii():
            continue
        try:
            text.encode()
        except UnicodeEncodeError:
            raw = _bytes_of(text, where)
            if b"/" in raw or is_image(raw):
                continue  # a path, which may be the bytes of a file's name; it is tried as such
            name, codec = _guess_encoding(raw)
            raise _wrong_encoding(place, f"{name} in {where}", codec) from None


def _bytes_of(text: str, where: str) -> bytes:
    """Return the bytes that a text was read from."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # JSON can write half of a pair of surrogates
        raise DataError(
            f"expected text in {where}, found {text[:40]!r}, which no encoding has: write it again"
        ) from None


def _guess_encoding(raw: bytes) -> tuple[str, str]:
    """Return the likeliest encoding of bytes that are no UTF-8: Korean's, or western Europe's."""
    try:
        text = raw.decode("cp949")
    except UnicodeDecodeError:
        return "Latin-1", "latin-1"
    is_korean = any("가" <= letter <= "힣" for letter in text)
    return ("CP949", "cp949") if is_korean else ("Latin-1", "latin-1")


def _wrong_encoding(place: str, found: str, codec: str) -> DataError:
    return DataError(
        f"expected UTF-8 in {place}, found {found}: save it as UTF-8 (in Excel: CSV UTF-8), or "
        f"iconv -f {codec} -t utf-8"
    )
