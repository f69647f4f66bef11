"""DATA of every kind becomes a `Source`: one file a kind, and one line in `open_source`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from softonce.data.remote import Remote
from softonce.data.storage import Local, is_url
from softonce.errors import DataError
from softonce.run_folder import RunFolder

if TYPE_CHECKING:
    from softonce.data.sources.columns import Columns
    from softonce.data.sources.source import Source
    from softonce.data.storage import Storage

IDX = "idx:"
HF = "hf-dataset:"


def open_source(data: str | Path, columns: Columns | None = None) -> Source:
    """Return the source that DATA names.

    Args:
        data: a folder of images, a manifest (CSV, TSV, JSONL, Parquet), a folder of tar shards,
            each on this machine or behind a URL that fsspec knows; `idx:DIR` for IDX files,
            `hf-dataset:DIR_OR_NAME` for a dataset of Hugging Face.
        columns: of a manifest; those left open are found by their usual names.

    Raises:
        DataError: if there is nothing of these, or columns of what is no manifest are named.

    Example:
        >>> open_source("no_such_folder")
        Traceback (most recent call last):
        softonce.errors.DataError: expected a folder of images at no_such_folder, found nothing: ...
    """
    from softonce.data.sources.columns import Columns
    from softonce.data.sources.folder import Folder
    from softonce.data.sources.hf_dataset import HfDataset
    from softonce.data.sources.idx import Idx
    from softonce.data.sources.manifest import Manifest, is_manifest
    from softonce.data.sources.shards import Shards, find_shards

    text = str(data)
    if text.startswith(IDX):
        return Idx.open(Path(text.removeprefix(IDX)))
    if text.startswith(HF):
        return HfDataset.open(text.removeprefix(HF))
    parent, _, last = text.rstrip("/").rpartition("/")
    columns = columns or Columns()
    if is_manifest(last):
        inside = parent or ("/" if text.startswith("/") else ".")
        storage = _open_storage(inside)
        return Manifest.open(storage, last, is_own=not is_url(text), columns=columns)
    if columns != Columns():
        raise DataError(
            f"expected a manifest for --path-col, --label-col, --split-col and --group-col, found "
            f"{text}: leave them out, or name a CSV, TSV, JSONL or Parquet file"
        )
    storage = _open_storage(text)
    kind = storage.kind()
    if kind != "folder":
        found = "a file" if kind == "file" else "nothing"
        raise DataError(f"expected a folder of images at {text}, found {found}: check the path")
    if not is_url(text) and RunFolder(Path(text)).artefact.is_file():
        raise DataError(
            f"expected a folder of images at {text}, found the folder of a run: "
            "the classifier is named before the images"
        )
    shards = find_shards(storage)
    return Shards.open(storage, shards) if shards else Folder.open(storage)


def _open_storage(place: str | Path) -> Storage:
    """Return the storage behind a path or a URL.

    Raises:
        MissingExtraError: if the URL needs a package that is not installed.
    """
    return Remote(str(place).rstrip("/")) if is_url(place) else Local(Path(place))


def absolute(data: str | Path) -> str:
    """Return DATA so that it means the same from any working directory.

    Example:
        >>> absolute("s3://bucket/photos"), absolute("idx:/data")
        ('s3://bucket/photos', 'idx:/data')
    """
    text = str(data)
    if is_url(text):
        return text
    if text.startswith(HF) and not os.path.isdir(text.removeprefix(HF)):  # noqa: PTH112 - text
        return text  # a name in the cache
    prefix = next((prefix for prefix in (IDX, HF) if text.startswith(prefix)), "")
    # Links stay: a manifest's own name and folder say how it is read.
    return prefix + os.path.abspath(text.removeprefix(prefix))  # noqa: PTH100 - resolves no link


def short_name(data: str | Path) -> str:
    """Return the last part of DATA, which names it in artefacts and reports."""
    return str(data).removeprefix(IDX).removeprefix(HF).rstrip("/").rpartition("/")[2]
