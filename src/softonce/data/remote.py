"""A folder behind a URL, through fsspec; its packages come with the extra `cloud`."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from softonce.data.images import MAX_BYTES
from softonce.data.storage import check_length, is_hidden, sort_entries
from softonce.errors import DataError, ImageError, MissingExtraError, describe_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from softonce.data.storage import Entries, Kind, Stamp

_TAGS = (
    "ETag",
    "etag",
    "md5Hash",
    "Content-MD5",
    "LastModified",
    "Last-Modified",
    "mtime",
    "created",
)
"""What the stores call what changes when a file does, the surest first."""
_BACK_ENDS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp"}


@dataclass(frozen=True)
class Remote:
    """A folder behind a URL, through fsspec.

    Args:
        url: as fsspec takes it: `s3://`, `gs://`, `https://`, `memory://`, ...
    """

    url: str

    def kind(self, name: bytes = b"") -> Kind:
        """Say what is there."""
        with _reading(self.where(name)):
            files, path = self._at(name)
            return "folder" if files.isdir(path) else "file" if files.exists(path) else "nothing"

    def entries(self, name: bytes = b"") -> Entries:
        """Return the names of the folders and files inside."""
        with _reading(self.where(name)):
            files, path = self._at(name)
            found = {
                _last(entry["name"]): entry["type"] == "directory"
                for entry in files.ls(path, detail=True)
                if entry["name"].rstrip("/") != path.rstrip("/")
            }
        return sort_entries(found.items())

    def walk(self, name: bytes = b"") -> Iterator[bytes]:
        """Yield every file below, in the order that a folder of this machine has."""
        with _reading(self.where(name)):
            files, path = self._at(name)
            below = [found[len(path.rstrip("/")) + 1 :] for found in files.find(path)]
        prefix = name + b"/" if name else b""
        parts = sorted(
            (inner.encode("utf-8", "surrogateescape").split(b"/") for inner in below),
            key=_walk_order,
        )
        return (prefix + name for name in dict.fromkeys(map(_until_hidden, parts)))

    def open(self, name: bytes) -> BinaryIO:
        """Open a file to read it from front to back."""
        with _reading(self.where(name)):
            files, path = self._at(name)
            opened: BinaryIO = files.open(path, "rb")
            return opened

    def read(self, name: bytes, *, limit: int = MAX_BYTES) -> bytes:
        """Read a file in one request."""
        try:
            files, path = self._at(name)
            if self.url.startswith("http"):  # a server may not know how to send a part
                with files.open(path, "rb", block_size=0) as file:
                    data: bytes = file.read(limit + 1)
            else:
                data = files.cat_file(path, start=0, end=limit + 1)
        except Exception as error:
            raise ImageError(describe_error(error, 300)) from error
        if len(data) > limit:
            raise ImageError(f"more than {limit:,} bytes, the most that is allowed")
        return data

    def read_part(self, name: bytes, start: int, size: int, *, stamp: Stamp) -> bytes:  # noqa: ARG002 - a store has no such times
        """Read a part of a file in one request."""
        try:
            files, path = self._at(name)
            data: bytes = files.cat_file(path, start=start, end=start + size)
        except Exception as error:
            raise ImageError(describe_error(error, 300)) from error
        return check_length(data, size)

    def stamps(self, names: Iterable[bytes]) -> npt.NDArray[np.int64]:
        """Return the size, and a number made of the tag or time that the store gives."""
        with ThreadPoolExecutor() as threads:  # each may be a request, which is waited for
            return np.array(list(threads.map(self._stamp, names)), np.int64).reshape(-1, 2)

    def _stamp(self, name: bytes) -> Stamp:
        files, path = self._at(name)
        try:
            info = files.info(path)
        except Exception:  # noqa: BLE001 - of any back end; found out when it is read
            return -1, -1
        tag = next((info[key] for key in _TAGS if info.get(key)), None)
        return info.get("size") or -1, -1 if tag is None else _number(str(tag))

    def where(self, name: bytes = b"") -> str:
        """Return the URL."""
        return f"{self.url}/{name.decode('utf-8', 'replace')}" if name else self.url

    def _at(self, name: bytes) -> tuple[Any, str]:
        files, root = _filesystem(self.url, os.getpid())
        return files, f"{root.rstrip('/')}/{name.decode('utf-8', 'surrogateescape')}".rstrip("/")


@cache
def _filesystem(url: str, pid: int) -> tuple[Any, str]:  # noqa: ARG001 - connections are a process's own
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise MissingExtraError.of("fsspec", "cloud") from None
    scheme = url.partition("://")[0]
    try:
        files, root = url_to_fs(url)
    except ImportError:
        raise MissingExtraError.of(_BACK_ENDS.get(scheme, scheme), "cloud") from None
    except ValueError as error:
        raise DataError(
            f"expected a URL that fsspec knows, such as s3://, gs:// or https://, found {url}: "
            f"{describe_error(error, 300)}"
        ) from error
    return files, str(root)


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turn whatever a back end raises into one line."""
    try:
        yield
    except (DataError, MissingExtraError):
        raise
    except Exception as error:
        raise DataError(
            f"expected to read {where}, found: {describe_error(error, 300)}; check the URL, the "
            "permissions and the connection"
        ) from error


def _last(path: str) -> bytes:
    return path.rstrip("/").rpartition("/")[2].encode("utf-8", "surrogateescape")


def _until_hidden(parts: list[bytes]) -> bytes:
    """Return a file's name, or that of the hidden folder that it is in, with a slash."""
    end = next((n for n, part in enumerate(parts[:-1], 1) if is_hidden(part)), None)
    return b"/".join(parts) if end is None else b"/".join(parts[:end]) + b"/"


def _walk_order(parts: list[bytes]) -> list[tuple[bool, bytes]]:
    """Sort the files of a folder before its folders."""
    return [(place < len(parts) - 1, part) for place, part in enumerate(parts)]


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")
