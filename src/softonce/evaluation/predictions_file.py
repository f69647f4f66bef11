"""A row for every image of an evaluation, for other programs: CSV or parquet."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import torch

from softonce import inference
from softonce.errors import import_extra
from softonce.files import as_utf8, replacing
from softonce.metrics import score_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from softonce.evaluation.result import Evaluation

FIXED = ("path", "split", "label", "pred", "loss")
"""The first columns; after them comes `prob_CLASS` of every class, in index order."""

_ROWS_AT_ONCE = 4096
"""Rows whose probabilities are in memory: 33 MB for 1,000 classes in float64."""


def write_predictions(evaluation: Evaluation, path: Path) -> None:
    """Write a row for every image, in the order of the evaluation.

    Args:
        evaluation: what was measured.
        path: the file, whose suffix says what it is: .csv or .parquet.

    Raises:
        MissingExtraError: if parquet is asked for and pyarrow is not installed.
        StorageError: if the file cannot be written.
    """
    write = _write_parquet if path.suffix.lower() == ".parquet" else _write_csv
    with replacing(path) as temporary:
        write(evaluation, temporary)


def _blocks(evaluation: Evaluation) -> Iterator[tuple[dict[str, list[Any]], NDArray[np.float64]]]:
    """Yield the fixed columns and the probabilities (rows, C), some rows at a time."""
    samples, splits = evaluation.scan.samples, evaluation.scan.samples.splits
    target, names = torch.from_numpy(samples.target), evaluation.classes
    for start in range(0, len(target), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        logits, temperature = evaluation.logits[part].double(), evaluation.temperature
        rows = score_rows(logits, target[part], temperature=temperature)
        yield (
            {
                "path": [samples.where(index) for index in range(start, start + len(rows))],
                "split": [evaluation.split] * len(rows)
                if splits is None
                else splits[part].tolist(),
                "label": [names[index] for index in rows.target.tolist()],
                "pred": [names[index] for index in rows.pred.tolist()],
                "loss": rows.nll.tolist(),
            },
            inference.probs(logits, temperature=temperature).numpy(),
        )


def _write_csv(evaluation: Evaluation, path: Path) -> None:
    # A name that is no UTF-8 keeps its bytes, so that the file can be found by them.
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*FIXED, *(f"prob_{name}" for name in evaluation.classes)])
        for columns, probs in _blocks(evaluation):
            for *cells, loss, row in zip(*columns.values(), probs.tolist(), strict=True):
                # Nine digits tell any two float32 numbers apart, which is what logits are.
                writer.writerow([*cells, f"{loss:.9g}", *(f"{prob:.9g}" for prob in row)])


def _write_parquet(evaluation: Evaluation, path: Path) -> None:
    pa = import_extra("pyarrow", "parquet")
    parquet = import_extra("pyarrow.parquet", "parquet")
    kinds = [(name, pa.float64() if name == "loss" else pa.string()) for name in FIXED]
    kinds += [(f"prob_{name}", pa.float64()) for name in evaluation.classes]
    schema = pa.schema(kinds)
    with parquet.ParquetWriter(path, schema) as writer:
        for columns, probs in _blocks(evaluation):
            arrays = [
                [as_utf8(name) for name in columns["path"]],
                *list(columns.values())[1:],
                *probs.T,
            ]
            typed = [pa.array(a, type=kind) for a, (_, kind) in zip(arrays, kinds, strict=True)]
            writer.write_table(pa.Table.from_arrays(typed, schema=schema))
