"""Where bytes are: what every storage can do, and a folder of this machine."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from PIL import Image

from softonce.data.images import MAX_BYTES, register_plugins
from softonce.errors import DataError, ImageError, SoftonceError, StorageError
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy.typing as npt

Kind: TypeAlias = Literal["file", "folder", "nothing"]
Stamp: TypeAlias = tuple[int, int]
"""Size and time of change, by which another file under the same name is noticed."""

MAX_SAMPLES = 200_000_000
"""More names than this in one listing, manifest or index are refused."""

MAX_OPEN_SHARDS = 128
"""More shards than this are not kept open; a process may open 256 files where it may open few."""

_LITTER = (b"__MACOSX", b"@eaDir", b"Thumbs.db", b"desktop.ini", b"Icon\r")
"""What macOS's archives, Synology's disks, Windows and the Finder put beside one's files."""

_NO_MORE_FILES = (errno.EMFILE, errno.ENFILE)


class Entries(NamedTuple):
    """What is in a folder, sorted; hidden files and folders stand apart."""

    folders: list[bytes]
    files: list[bytes]
    hidden: list[bytes]


class Storage(Protocol):
    """A folder, wherever it is; names are bytes, relative to it, with slashes."""

    def kind(self, name: bytes = b"") -> Kind:
        """Say what is there."""

    def entries(self, name: bytes = b"") -> Entries:
        """Return the names of the folders and files inside."""

    def walk(self, name: bytes = b"") -> Iterator[bytes]:
        """Yield every file below: in each folder its files, then its folders, sorted.

        A hidden folder is not entered; its name is yielded, with a slash at the end.
        """

    def open(self, name: bytes) -> BinaryIO:
        """Open a file to read it from front to back."""

    def read(self, name: bytes, *, limit: int = MAX_BYTES) -> bytes:
        """Read a file; an `ImageError` says why that cannot be, or that it is above the limit."""

    def read_part(self, name: bytes, start: int, size: int, *, stamp: Stamp) -> bytes:
        """Read `size` bytes from byte number `start`; fewer are an `ImageError`.

        A file of this machine that is not the one of the stamp is an `ImageError`, too.
        """

    def stamps(self, names: Iterable[bytes]) -> npt.NDArray[np.int64]:
        """Return (N, 2): size and time of change of each; -1 stands for what is not known."""

    def where(self, name: bytes = b"") -> str:
        """Return what a message calls it: a path or a URL."""


def is_url(place: str | Path) -> bool:
    """Return whether it is a URL: `s3://bucket/photos` is one, `photos` is a path."""
    scheme, separator, _ = str(place).partition("://")
    return bool(separator) and scheme.replace("+", "").isalnum()


@cache
def image_suffixes() -> frozenset[str]:
    """Return the suffixes of the files that are listed: what Pillow can open, and arrays."""
    register_plugins()
    readable = set(Image.registered_extensions().items())
    return frozenset(suffix for suffix, kind in readable if kind in Image.OPEN) | {".npy"}


def is_hidden(name: bytes) -> bool:
    """Return whether the last part of a name is hidden, or what a system leaves in folders."""
    last = name[name.rfind(b"/", 0, -1) + 1 :]
    return last[:1] == b"." or last.rstrip(b"/") in _LITTER


def suffix_of(name: bytes) -> str:
    """Return a name's suffix, in small letters and with its dot; empty if it has none."""
    # A Path a file would cost seconds on a large folder.
    return os.fsdecode(os.path.splitext(name)[1].lower())  # noqa: PTH122 - as said above


def is_image(name: bytes) -> bool:
    """Return whether a file's name is an image's."""
    return suffix_of(name) in image_suffixes() and not is_hidden(name)


def check_inside(name: bytes, place: str) -> bytes:
    """Return a name that somebody else wrote, if it cannot lead out of the place that it is in.

    Raises:
        DataError: if it is absolute or climbs up.
    """
    if name.startswith(b"/") or b"\0" in name or b".." in name.split(b"/"):
        raise DataError(
            f"expected names inside {place}, found {os.fsdecode(name)!r}: it leads out of it, so "
            "nothing there is read"
        )
    return name


def read_bytes(path: str | Path | bytes, *, limit: int = MAX_BYTES) -> bytes:
    """Read a file of this machine.

    Raises:
        ImageError: if it cannot be read, or is larger than the limit.
        StorageError: if this process may not open any more files.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - the path may be bytes
        if not stat.S_ISREG(found.st_mode):
            raise ImageError("no regular file")
        if found.st_size > limit:
            raise ImageError(f"{found.st_size:,} bytes, more than {limit:,} allowed")
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - the path may be bytes
            return file.read()
    except OSError as error:
        raise _read_error(error) from error


def _read_error(error: OSError) -> SoftonceError:
    """Return what is said of a file that cannot be read: it is not at fault if none can be."""
    if error.errno in _NO_MORE_FILES:
        return StorageError(
            f"expected to open one more file, found: {error.strerror}; raise the limit "
            "(ulimit -n 4096), or lower --workers"
        )
    return ImageError(error.strerror or str(error))


@dataclass(frozen=True)
class Local:
    """A folder of this machine.

    Args:
        root: the folder.
    """

    root: Path

    def kind(self, name: bytes = b"") -> Kind:
        """Say what is there."""
        path = self._path(name)  # not a Path, which raises if a name is too long to be one
        if os.path.isdir(path):  # noqa: PTH112 - as said above
            return "folder"
        return "file" if os.path.exists(path) else "nothing"  # noqa: PTH110 - as said above

    def entries(self, name: bytes = b"") -> Entries:
        """Return the names of the folders and files inside."""
        with os.scandir(self._path(name)) as found:
            return sort_entries((entry.name, entry.is_dir()) for entry in found)

    def walk(self, name: bytes = b"") -> Iterator[bytes]:
        """Yield every file below; a folder that a link leads back to is walked once."""
        seen: set[tuple[int, int]] = set()
        stack = [name]
        while stack:
            folder = stack.pop()
            found = os.stat(self._path(folder))  # noqa: PTH116 - bytes
            if (found.st_dev, found.st_ino) in seen:
                continue
            seen.add((found.st_dev, found.st_ino))
            folders, files, hidden = self.entries(folder)
            prefix = folder + b"/" if folder else b""
            yield from (prefix + file for file in sorted(files + hidden))
            stack += [prefix + inner for inner in reversed(folders)]

    def open(self, name: bytes) -> BinaryIO:
        """Open a file to read it from front to back."""
        return open(self._path(name), "rb")  # noqa: PTH123 - bytes; the caller closes it

    def read(self, name: bytes, *, limit: int = MAX_BYTES) -> bytes:
        """Read a file."""
        return read_bytes(self._path(name), limit=limit)

    def read_part(self, name: bytes, start: int, size: int, *, stamp: Stamp) -> bytes:
        """Read a part of a file."""
        try:
            opened = _open_shard(self._path(name), stamp)  # held until its bytes are read
            data = os.pread(opened.descriptor, size, start)
        except OSError as error:
            raise _read_error(error) from error
        return check_length(data, size)

    def stamps(self, names: Iterable[bytes]) -> npt.NDArray[np.int64]:
        """Return size and time of change of each."""
        return np.array([_stamp(self._path(name)) for name in names], np.int64).reshape(-1, 2)

    def where(self, name: bytes = b"") -> str:
        """Return the path."""
        return os.fsdecode(self._path(name))

    def _path(self, name: bytes) -> bytes:
        return os.path.join(os.fsencode(self.root), name) if name else os.fsencode(self.root)  # noqa: PTH118 - bytes


def sort_entries(found: Iterable[tuple[bytes, bool]]) -> Entries:
    """Return what is in a folder, from names and whether each is a folder's."""
    folders, files, hidden = Entries([], [], [])
    for name, is_folder in found:
        if is_hidden(name):
            hidden.append(name + b"/" if is_folder else name)
        else:
            (folders if is_folder else files).append(name)
    return Entries(sorted(folders), sorted(files), sorted(hidden))


def _stamp(path: bytes) -> Stamp:
    """Return size and time of change; what is not there is found out when it is read."""
    try:
        return _stamp_of(os.stat(path))  # noqa: PTH116 - bytes
    except OSError:
        return -1, -1


def _stamp_of(found: os.stat_result) -> Stamp:
    return found.st_size, found.st_mtime_ns


@dataclass(frozen=True, eq=False)
class _Opened:
    """An open file that is closed once nobody reads from it any more, in whatever thread."""

    descriptor: int

    def __del__(self) -> None:
        os.close(self.descriptor)


@lru_cache(maxsize=MAX_OPEN_SHARDS)
def _open_shard(path: bytes, stamp: Stamp) -> _Opened:
    """Open a shard, and keep it open; reading a part moves nothing that a forked process shares."""
    opened = _Opened(os.open(path, os.O_RDONLY))
    if _stamp_of(os.fstat(opened.descriptor)) != stamp:
        raise ImageError(f"{os.fsdecode(path)} was changed after it was listed")
    return opened


def check_length(data: bytes, size: int) -> bytes:
    """Return the bytes that were read, if there are as many as were asked for."""
    if len(data) != size:
        raise ImageError(
            f"expected {format_count(size, 'byte')}, found {len(data):,}: the file is cut short"
        )
    return data
