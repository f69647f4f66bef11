"""Items become answers, some at a time: read in threads, computed as one batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from softonce.prediction.predictor import Unreadable
from softonce.prediction.thumbnails import thumbnail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from softonce.prediction.inputs import Item
    from softonce.prediction.predictor import Pixels, Predictor, Record, Row


Prepared = TypeVar("Prepared")


@dataclass(frozen=True)
class Answer:
    """What is known of one item.

    Args:
        item: that was asked for.
        record: its prediction, or its error.
        logits: (C,) float32; None if it is unreadable.
        thumbnail: of what is in memory, if that was asked for.
    """

    item: Item
    record: Record
    logits: Row | None
    thumbnail: bytes | None = None


def predict_items(
    predictor: Predictor,
    items: Iterable[Item],
    *,
    batch_size: int,
    top_k: int,
    with_thumbnails: bool = False,
) -> Iterator[Answer]:
    """Yield an answer for each item, in order; no more than a batch is in memory.

    Args:
        predictor: reads, computes and names.
        items: what to predict.
        batch_size: pictures that are computed together.
        top_k: how many classes a record names.
        with_thumbnails: whether to keep a small picture of what cannot be opened again.
    """

    def prepare(item: Item) -> tuple[Pixels | Unreadable, bytes | None]:
        pixels = predictor.prepare(item.open)
        keep = with_thumbnails and not item.is_file and not isinstance(pixels, Unreadable)
        return pixels, thumbnail(item.open()) if keep else None

    for batch, prepared in map_batches(prepare, items, batch_size):
        yield from _answers(predictor, batch, prepared, top_k)


def map_batches(
    prepare: Callable[[Item], Prepared], items: Iterable[Item], batch_size: int
) -> Iterator[tuple[list[Item], list[Prepared]]]:
    """Yield some items at a time, with what `prepare` makes of each in threads."""
    remaining = iter(items)
    with ThreadPoolExecutor() as threads:
        while batch := list(islice(remaining, batch_size)):
            yield batch, list(threads.map(prepare, batch))


def _answers(
    predictor: Predictor,
    batch: list[Item],
    prepared: list[tuple[Pixels | Unreadable, bytes | None]],
    top_k: int,
) -> Iterator[Answer]:
    pixels, thumbnails = zip(*prepared, strict=True)
    rows = predictor.logits(pixels)
    paths = [item.path for item in batch]
    records = predictor.records(paths, pixels, rows, top_k=top_k)
    remaining = iter(rows)
    for item, record, small in zip(batch, records, thumbnails, strict=True):
        logits = next(remaining) if record["error"] is None else None
        yield Answer(item, record, logits, small)
