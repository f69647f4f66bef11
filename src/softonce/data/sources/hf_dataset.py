"""A Hugging Face dataset on this machine: Parquet files as the hub has them, or Arrow files.

The features that the library writes into the files tell which column has the images and what the
classes are called; neither `datasets` nor a connection is needed, and no code of the dataset runs.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from softonce.data.names import Names
from softonce.data.sources.source import SPLIT_NAMES, WHOLE, Listing, as_split, in_order
from softonce.data.sources.tables import arrow_errors
from softonce.errors import DataError, ImageError, import_extra
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

MAX_BYTES_IN_MEMORY = 8 * 2**30
"""Parquet is compressed in blocks, so that one image cannot be read by itself: it is held in memory
as a whole. Larger sets are packed into shards, or saved as Arrow files, which are mapped."""

_SUFFIXES = (".parquet", ".arrow")


@dataclass(frozen=True, eq=False)
class HfDataset:
    """The rows of a dataset, by split.

    Args:
        folder: where it is.
        columns: of each split, the images: structs of `bytes` and `path`.
        target: of each split, (N,) the labels.
        classes: their names in index order.
    """

    folder: Path
    columns: Mapping[str, Any]
    target: Mapping[str, npt.NDArray[np.int64]]
    classes: tuple[str, ...]

    remedy: ClassVar[str] = "use a dataset with at least two labels"

    @classmethod
    def open(cls, name: str) -> HfDataset:
        """Read the labels of every split, and hold or map the images.

        Args:
            name: a folder, or the name of a dataset whose snapshot is in the hub's cache.

        Raises:
            DataError: if there is no such dataset, or it has no images or labels.
            MissingExtraError: if pyarrow is not installed.
        """
        folder = _find_folder(name)
        tables = _read_tables(folder)
        columns, labels, names = {}, {}, None
        for split, table in tables.items():
            image, label, names = _find_columns(table, folder, split)
            columns[split] = table.column(image)  # in chunks, so that a mapped file stays one
            labels[split] = table.column(label).to_pylist()
        written = (str(value) for values in labels.values() for value in values)
        classes = tuple(names) if names else in_order(written)
        place = {text: index for index, text in enumerate(classes)}
        target = {
            split: np.array([v if names else place[str(v)] for v in values], dtype=np.int64)
            for split, values in labels.items()
        }
        if any(
            len(part) and not 0 <= part.min() <= part.max() < len(classes)
            for part in target.values()
        ):
            raise DataError(
                f"expected labels of 0 to {len(classes) - 1} in {folder}, found others, as of a "
                "test split whose labels are kept secret: remove that split"
            )
        return cls(folder, columns, target, classes)

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have files."""
        return tuple(split for split in (*SPLIT_NAMES, WHOLE) if split in self.columns)

    def list_split(self, split: str) -> Listing:
        """List the images by number."""
        target = self.target[split]
        names = Names.pack(b"%s/%d" % (split.encode(), number) for number in range(len(target)))
        return Listing(f"{split} of {self.folder}", names, target, self.classes)

    def read(self, name: bytes) -> bytes:
        """Return the bytes of an image file."""
        split, number = name.split(b"/")
        value = self.columns[split.decode()][int(number)].as_py() or {}
        data, path = value.get("bytes"), value.get("path")
        if data is None:
            raise ImageError(f"the dataset holds a path ({path}), not the image: embed the images")
        return bytes(data)

    def where(self, name: bytes) -> str:
        """Return the folder, the split and the number."""
        return f"{self.folder}/{name.decode()}"

    def stamps(self, names: Iterable[bytes]) -> npt.NDArray[np.int64]:
        """Return size, and a number made of the bytes, of each image."""
        found = []
        for name in names:
            try:
                data = self.read(name)
            except ImageError:
                found.append((-1, -1))
            else:
                found.append((len(data), zlib.crc32(data)))
        return np.array(found, dtype=np.int64).reshape(-1, 2)


def _find_folder(name: str) -> Path:
    folder = Path(name)
    if folder.is_dir():
        return folder
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    snapshots = hub / f"datasets--{name.replace('/', '--')}" / "snapshots"
    found = sorted(snapshots.glob("*"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise DataError(
            f"expected a folder or a dataset in the cache of Hugging Face, found neither a folder "
            f"{name} nor {snapshots}: download it first (hf download {name} --repo-type dataset)"
        )
    return found[-1]


def _read_tables(folder: Path) -> dict[str, Any]:
    """Return a table a split."""
    pa = import_extra("pyarrow", "parquet")
    files = _find_files(folder)
    with arrow_errors(f"files of one dataset in {folder}"):
        tables = {
            split: pa.concat_tables([_read_file(path) for path in paths])
            for split, paths in files.items()
        }
        for table in tables.values():
            table.validate(full=True)  # a damaged offset would lead out of the file
    return tables


def _find_files(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each split, if they can be used together."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in _SUFFIXES and not path.name.startswith("cache-"):
            files.setdefault(_split_of(path.relative_to(folder)), []).append(path)
    if not files:
        raise DataError(
            f"expected Parquet or Arrow files in {folder}, found none: name the folder that "
            "save_to_disk wrote, or a snapshot of the hub"
        )
    if WHOLE in files and len(files) > 1:
        raise DataError(
            f"expected every file of {folder} to be of train, val or test, or none, found "
            f"{files[WHOLE][0].name} beside {', '.join(sorted(set(files) - {WHOLE}))}"
        )
    size = sum(
        path.stat().st_size
        for paths in files.values()
        for path in paths
        if path.suffix == ".parquet"
    )
    if size > MAX_BYTES_IN_MEMORY:
        raise DataError(
            f"expected at most {MAX_BYTES_IN_MEMORY / 2**30:g} GiB of Parquet files in {folder}, "
            f"found {size / 2**30:.1f}: save it with datasets' save_to_disk, whose files are mapped"
        )
    return files


def _read_file(path: Path) -> Any:
    pa = import_extra("pyarrow", "parquet")
    if path.suffix == ".parquet":
        return import_extra("pyarrow.parquet", "parquet").read_table(path)
    mapped = pa.memory_map(str(path))
    try:
        return pa.ipc.open_stream(mapped).read_all()
    except pa.ArrowInvalid:
        return pa.ipc.open_file(mapped).read_all()


def _split_of(path: Path) -> str:
    """Return the split of a file, by its folders or the begin of its name (`train-00000-of-2`)."""
    words = [*path.parts[:-1], re.split(r"[-.]", path.name)[0]]
    return next((split for word in words if (split := as_split(word))), WHOLE)


def _find_columns(table: Any, folder: Path, split: str) -> tuple[str, str, list[str] | None]:
    """Return the columns of images and labels, and the names of the classes if there are any."""
    features = _features((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    there = table.column_names
    kinds = {name: kind.get("_type") for name, kind in features.items() if name in there}
    structs = [
        field.name
        for field in table.schema
        if str(field.type).startswith("struct<bytes: ") and "path: string" in str(field.type)
    ]
    images = [name for name, kind in kinds.items() if kind == "Image"] or structs
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"] or [
        name for name in ("label", "labels", "class", "category") if name in table.column_names
    ]
    if len(images) != 1 or not labels:
        raise DataError(
            f"expected one column of images and one of labels in {split} of {folder}, found "
            f"{format_count(len(images), 'column')} of images, and {', '.join(table.column_names)}"
        )
    names = features.get(labels[0], {}).get("names")
    if names is not None and not (
        isinstance(names, list) and all(isinstance(name, str) for name in names)
    ):
        raise DataError(f"expected names of classes in {split} of {folder}, found {names!r:.60}")
    return images[0], labels[0], names


def _features(text: bytes) -> dict[str, dict[str, Any]]:
    """Return what Hugging Face's library says of the columns; nothing if it is damaged."""
    try:
        features = json.loads(text)["info"]["features"]
        return {name: kind for name, kind in features.items() if isinstance(kind, dict)}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
