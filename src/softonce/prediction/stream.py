"""Items become answers, some at a time: read in threads, computed as one batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from softonce.prediction.inputs import Item
    from softonce.prediction.predictor import Pixels, Predictor, Record, Row, Unreadable


@dataclass(frozen=True)
class Answer:
    """What is known of one item.

    Args:
        item: that was asked for.
        record: its prediction, or its error.
        logits: (C,) float32; None if it is unreadable.
    """

    item: Item
    record: Record
    logits: Row | None


def predict_items(
    predictor: Predictor, items: Iterable[Item], *, batch_size: int, top_k: int
) -> Iterator[Answer]:
    """Yield an answer for each item, in order; no more than a batch is in memory.

    Args:
        predictor: reads, computes and names.
        items: what to predict.
        batch_size: pictures that are computed together.
        top_k: how many classes a record names.
    """
    remaining = iter(items)
    with ThreadPoolExecutor() as threads:
        while batch := list(islice(remaining, batch_size)):
            prepared = list(threads.map(lambda item: predictor.prepare(item.open), batch))
            yield from _answers(predictor, batch, prepared, top_k)


def _answers(
    predictor: Predictor, batch: list[Item], prepared: list[Pixels | Unreadable], top_k: int
) -> Iterator[Answer]:
    rows = predictor.logits(prepared)
    paths = [item.path for item in batch]
    records = predictor.records(paths, prepared, rows, top_k=top_k)
    remaining = iter(rows)
    for item, record in zip(batch, records, strict=True):
        yield Answer(item, record, next(remaining) if record["error"] is None else None)
