"""`softonce predict`."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING

from softonce.config import PredictConfig
from softonce.files import as_utf8
from softonce.plurals import format_count
from softonce.prediction.table import value_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from softonce.prediction.predictor import Record

BAD_IMAGE = 1


def predict(config: PredictConfig) -> int:
    """Classify images: files, folders, glob patterns, or paths from standard input.

    The exit status is 1 if an image could not be read; the others are still predicted.
    """
    if config.emit == "features":
        return _write_features(config)
    from softonce.prediction.run import predict as run_prediction

    records = _Counted(run_prediction(config))
    if config.format == "jsonl":
        for record in records:
            line = json.dumps({**record, "path": _path(record)}, ensure_ascii=False)
            print(line, flush=True)  # noqa: T201 - the result
    elif config.format == "csv":
        _write_csv(records, config)
    else:
        from softonce.cli.tables import print_predictions

        print_predictions(records, emit=config.numbers)
    return BAD_IMAGE if records.num_bad else 0


def _write_features(config: PredictConfig) -> int:
    from softonce.console import print_error, visible_notes
    from softonce.prediction.features import write_features

    with visible_notes(quiet=config.quiet):
        made = write_features(config)
    for name, reason in made.unreadable:
        print_error(f"left out {name}: {reason}")
    images = format_count(made.num, "image")
    print(f"features of {images}, {made.width} values each: {made.path}")  # noqa: T201 - the result
    return BAD_IMAGE if made.unreadable else 0


class _Counted:
    """Passes records on and counts the ones with an error."""

    def __init__(self, records: Iterator[Record]) -> None:
        self.records = records
        self.num_bad = 0

    def __iter__(self) -> Iterator[Record]:
        for record in self.records:
            self.num_bad += record["error"] is not None
            yield record


def _write_csv(records: _Counted, config: PredictConfig) -> None:
    """Write a line a path: the class and its number for each rank."""
    value = value_name(config.numbers)
    ranks = range(1, config.top_k + 1)
    columns = [f"{name}_{rank}" for rank in ranks for name in ("class", value)]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    decided: list[str] = []
    for position, record in enumerate(records):
        if position == 0:
            decided = [name for name in ("abstain", "set", "unlike") if name in record]
            writer.writerow(["path", *columns, *decided, "error"])
        cells = [cell for entry in record["top"] for cell in (entry["class"], entry[value])]
        cells += [""] * (len(columns) - len(cells))
        writer.writerow([_path(record), *cells, *_decision(record), record["error"] or ""])


def _path(record: Record) -> str | None:
    return None if record["path"] is None else as_utf8(record["path"])


def _decision(record: Record) -> list[str]:
    """Return the cells of what the classifier decides: true or false, and classes with `|`."""
    cells = []
    if "abstain" in record:
        cells.append(_truth(record["abstain"]))
    if "set" in record:
        cells.append("|".join(record["set"] or []))
    if "unlike" in record:
        cells.append(_truth(record["unlike"]))
    return cells


def _truth(value: bool | None) -> str:
    return "" if value is None else str(value).lower()
