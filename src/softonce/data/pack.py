"""DATA of any kind becomes tar shards with an index."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from softonce.config import PackConfig
from softonce.config.keywords import config_of
from softonce.console import LOG, progress, visible_notes
from softonce.data.images import MAX_BYTES
from softonce.data.names import Names
from softonce.data.samples import list_samples
from softonce.data.sources import open_source
from softonce.data.sources.columns import Columns
from softonce.data.storage import Local
from softonce.data.tar_index import INDEX, PACKED, TarIndex, as_folder
from softonce.errors import ConfigError, DataError, ImageError, StorageError
from softonce.files import make_folder, names_in
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from softonce.config.fields import Data
    from softonce.data.samples import Samples

MEGABYTE = 10**6


def pack(config: PackConfig | Data, *output: Data, **options: Any) -> Path:
    """Copy every image file as it is into tar shards, and write their index.

    The bytes of the result depend only on the data. It appears whole, or not at all.

    Args:
        config: the options of `softonce pack`, or the data.
        output: the folder to write, if the data are given.
        options: fields of `PackConfig` by name.

    Returns:
        The folder of the shards.

    Raises:
        ConfigError: if an option cannot be used.
        DataError: if DATA or a file cannot be read.
        StorageError: if the disk is full; nothing stays then.

    Example:
        >>> pack("no_such_folder", "shards")
        Traceback (most recent call last):
        softonce.errors.DataError: expected a folder of images at no_such_folder, found nothing: ...
    """
    settled = config_of(PackConfig, config, *output, **options)
    with visible_notes(quiet=settled.quiet):
        return _pack(settled)


def _pack(config: PackConfig) -> Path:
    out = config.output.resolve()
    _check_out(out, overwrite=config.overwrite)
    source = open_source(config.data, Columns.of(config))
    splits = source.splits()
    first = list_samples(source, splits[0])
    parts = {splits[0]: first} | {
        split: list_samples(source, split, first.classes) for split in splits[1:]
    }
    make_folder(out.parent)
    try:
        with TemporaryDirectory(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent) as folder:
            temporary = Path(folder) / "shards"
            temporary.mkdir()
            _write(temporary, parts, config.shard_size * MEGABYTE)
            _put(temporary, out, Path(folder) / "before")
    except OSError as error:
        raise StorageError(
            f"expected to write {out}, found: {error.strerror or error}; nothing was replaced"
        ) from error
    return config.output


def _put(made: Path, out: Path, before: Path) -> None:
    """Rename the folder to `out`; the earlier shards go to `before`, or stay if that fails."""
    try:
        if out.exists():
            out.rename(before)
        made.rename(out)
    except BaseException:  # Ctrl-C too
        if before.exists() and not out.exists():
            before.rename(out)
        raise


def _check_out(out: Path, *, overwrite: bool) -> None:
    """Raise a `ConfigError` if something is that may not be replaced: all but indexed shards."""
    if not out.exists():
        return
    found = names_in(out) if out.is_dir() else [out.name]
    if found and not overwrite:
        raise ConfigError(
            f"expected nothing at {out}, found something: name another place, or use --overwrite"
        )
    index = TarIndex.read(Local(out)) if out.is_dir() else None
    shards = () if index is None else (INDEX, *map(os.fsdecode, index.shards))
    others = [name for name in found if name not in shards]
    if others or not out.is_dir():
        raise ConfigError(
            f"expected nothing but shards and their index to replace at {out}, found "
            f"{', '.join(others[:3]) or 'a file'}: name another place"
        )


class _Writer:
    """Writes one split's members into shard after shard, and keeps where each lies."""

    def __init__(self, folder: Path, split: str, first_number: int) -> None:
        self.folder, self.split, self.number = folder, split, first_number
        self.shards: list[Path] = []
        self.rows: list[tuple[int, int, int]] = []
        self.tar: tarfile.TarFile | None = None

    def add(self, name: bytes, data: bytes, limit: int) -> None:
        """Append a member; begin a new shard if this one would exceed the limit."""
        if self.tar is None or self.tar.offset + len(data) > limit:
            self.close()
            path = self.folder / f"{self.split}-{len(self.shards):05d}.tar"
            self.tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers=PACKED)  # noqa: SIM115 - closed by close
            self.shards.append(path)
        member = tarfile.TarInfo(os.fsdecode(name))  # its times and owners are zero
        member.size = len(data)
        self.tar.addfile(member, io.BytesIO(data))
        padded = -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        shard = self.number + len(self.shards) - 1
        self.rows.append((shard, self.tar.offset - padded, len(data)))
        self.tar.members = []  # type: ignore[attr-defined] # else all headers stay in memory

    def close(self) -> None:
        """End the shard and wait until it is on the disk."""
        if self.tar is not None:
            self.tar.close()
            with self.shards[-1].open("rb") as file:
                os.fsync(file.fileno())


def _write(folder: Path, parts: dict[str, Samples], limit: int) -> None:
    shards: list[Path] = []
    rows: list[tuple[int, int, int]] = []
    names: list[bytes] = []
    target: list[int] = []
    total = sum(map(len, parts.values()))
    with progress("packing", total) as advance:
        for split, samples in parts.items():
            writer = _Writer(folder, split, len(shards))
            for index, name, data in _members(samples):
                writer.add(name, data, limit)
                names.append(name)
                target.append(int(samples.target[index]))
                advance(1)
            writer.close()
            shards += writer.shards
            rows += writer.rows
    classes = next(iter(parts.values())).classes
    order = sorted(range(len(shards)), key=lambda number: shards[number].name)
    table = np.array(rows, dtype=np.int64)
    TarIndex(
        tuple(os.fsencode(shards[number].name) for number in order),
        np.array([shards[number].stat().st_size for number in order], dtype=np.int64),
        Names.pack(names),
        np.argsort(order)[table[:, 0]],
        table[:, 1],
        table[:, 2],
        np.array(target, dtype=np.int64),
        classes,
    ).write(folder)
    LOG.info("%s in %s", format_count(total, "image"), format_count(len(shards), "shard"))


def _members(samples: Samples) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield each sample's index, the member's name and its bytes."""
    for index, name in enumerate(samples.names):
        try:
            data = samples.read(index)
        except ImageError as error:
            raise DataError(
                f"expected a file of at most {MAX_BYTES:,} bytes at {samples.where(index)}, found: "
                f"{error}; repair or remove it"
            ) from error
        folder = as_folder(samples.classes[samples.target[index]])
        last = name.rpartition(b"/")[2]
        yield index, b"%s/%08d-%s" % (folder, index, last), data
