"""Pictures become features: what the network makes of them, before its head."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from softonce.errors import ArtefactError, DataError, MissingExtraError, import_extra
from softonce.files import as_utf8, replacing
from softonce.formats import is_artefact
from softonce.prediction.inputs import items_of, items_of_names
from softonce.prediction.predictor import Predictor, Unreadable
from softonce.prediction.stream import map_batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from softonce.config import PredictConfig
    from softonce.engines.torch_engine import TorchEngine
    from softonce.prediction.inputs import Images, Item
    from softonce.prediction.predictor import Pixels


@dataclass(frozen=True)
class FeatureFile:
    """What was written.

    Args:
        path: the file.
        num: how many pictures it has.
        width: how many values each has.
        unreadable: those that it has not, and why.
    """

    path: Path
    num: int
    width: int
    unreadable: tuple[tuple[str | None, str], ...]


def open_features(config: PredictConfig) -> TorchEngine:
    """Open an artefact as it was trained: an exported file has no features to give.

    Raises:
        ArtefactError: if there is no artefact, or it is damaged.
        MissingExtraError: if torch is not installed.
    """
    from softonce.run_folder import model_file

    path = model_file(config.artefact)
    if path.is_file() and not is_artefact(path):
        raise ArtefactError(
            f"expected an artefact for features, found the exported file {path}, which gives "
            "logits: name the run, or its model.safetensors"
        )
    try:
        from softonce.engines.torch_engine import TorchEngine
    except ImportError as error:
        raise MissingExtraError.of(error.name or "torch", "train") from error
    return TorchEngine.open(
        path,
        device=config.device,
        threads=config.threads,
        trust=config.trust,
        model=config.model,
    )


def features_of(engine: TorchEngine, images: Images, *, batch_size: int) -> NDArray[np.float32]:
    """Return the features of pictures, (N, D), in their order.

    Raises:
        ArgumentError: if there is nothing to look at, or something that is not a picture.
        DataError: if a picture cannot be read.
    """
    found = []
    items = items_of(images, engine.metadata.preprocessing.mode)
    for part in _batches(engine, items, batch_size):
        for name, reason in part.unreadable:
            raise DataError(
                f"expected pictures that can be read, found {name or 'one in memory'}: {reason}; "
                "leave it out"
            )
        found.append(part.rows)
    return np.concatenate(found)


def write_features(config: PredictConfig) -> FeatureFile:
    """Write the features of a command line's pictures, with their paths, as .npz or .parquet.

    An .npz file holds the arrays `features`, (N, D) float32, and `path`, (N,) text; it is made in
    memory. A .parquet file has the columns `path` and `features`, and is written a batch at a time.

    Raises:
        DataError: if no picture is named, or none can be read.
        MissingExtraError: if parquet is asked for and pyarrow is not installed.
        StorageError: if the file cannot be written.
    """
    assert config.output is not None  # noqa: S101 - checked by the configuration
    engine = open_features(config)
    open_sink = _parquet if config.output.suffix.lower() == ".parquet" else _npz
    items = items_of_names(config.images, max_pixels=config.max_pixels)
    num, width, unreadable = 0, 0, []
    with replacing(config.output) as temporary, open_sink(temporary) as sink:
        for part in _batches(engine, items, config.batch_size):
            unreadable += part.unreadable
            if len(part.rows):
                num, width = num + len(part.rows), part.rows.shape[1]
                sink.write(part.names, part.rows)
        if not num:
            reason = f": {unreadable[0][0]}: {unreadable[0][1]}" if unreadable else ""
            raise DataError(
                f"expected pictures that can be read, found none{reason}; name files, folders or "
                "glob patterns"
            )
    return FeatureFile(config.output, num, width, tuple(unreadable))


@dataclass(frozen=True)
class _Part:
    names: list[str]
    rows: NDArray[np.float32]
    unreadable: list[tuple[str | None, str]]


def _batches(engine: TorchEngine, items: Iterable[Item], batch_size: int) -> Iterator[_Part]:
    """Yield the features of some pictures at a time, read in threads."""
    predictor = Predictor(engine)

    def prepare(item: Item) -> Pixels | Unreadable:
        return predictor.prepare(item.open)

    for batch, prepared in map_batches(prepare, items, batch_size):
        pairs = list(zip(batch, prepared, strict=True))
        good = [(item, pixels) for item, pixels in pairs if not isinstance(pixels, Unreadable)]
        bad = [(item.path, why.reason) for item, why in pairs if isinstance(why, Unreadable)]
        rows = np.empty((0, 0), np.float32)
        if good:
            rows = engine.features(np.stack([pixels for _, pixels in good]))
        yield _Part([item.path or "" for item, _ in good], rows, bad)


class _Sink(Protocol):
    def write(self, names: list[str], rows: NDArray[np.float32]) -> None:
        """Take the features of some pictures."""


@dataclass
class _Arrays:
    names: list[str]
    rows: list[NDArray[np.float32]]

    def write(self, names: list[str], rows: NDArray[np.float32]) -> None:
        self.names += names
        self.rows.append(rows)


@contextmanager
def _npz(path: Path) -> Iterator[_Sink]:
    arrays = _Arrays([], [])
    yield arrays
    with path.open("wb") as file:
        texts = np.array([as_utf8(name) for name in arrays.names], dtype=np.str_)
        np.savez(file, features=np.concatenate(arrays.rows), path=texts)


@dataclass(frozen=True)
class _Table:
    writer: Any
    schema: Any

    def write(self, names: list[str], rows: NDArray[np.float32]) -> None:
        pa = import_extra("pyarrow", "parquet")
        values = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
        paths = pa.array([as_utf8(name) for name in names])
        lists = values.cast(pa.list_(pa.float32()))
        self.writer.write_table(pa.Table.from_arrays([paths, lists], schema=self.schema))


@contextmanager
def _parquet(path: Path) -> Iterator[_Sink]:
    pa = import_extra("pyarrow", "parquet")
    parquet = import_extra("pyarrow.parquet", "parquet")
    schema = pa.schema([("path", pa.string()), ("features", pa.list_(pa.float32()))])
    with parquet.ParquetWriter(path, schema) as writer:
        yield _Table(writer, schema)
