"""Files that are whole or not there, written to a temporary name, flushed, renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from softonce.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` when the block ends well.

    Args:
        path: the file that appears whole, or stays as it was.

    Raises:
        StorageError: if the disk is full or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder) / "a.txt") as temporary:
        ...         _ = temporary.write_text("whole")
        ...     (Path(folder) / "a.txt").read_text()
        'whole'
    """
    temporary = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
        yield temporary
        _flush(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise StorageError(
            f"expected to write {path}, found: {error.strerror or error}; "
            "nothing was replaced: free some space or choose another place, then go on"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def make_folder(
    path: Path,
    *,
    purpose: str = "to write to",
    remedy: str = "free some space or choose another place",
) -> None:
    """Make a folder and its parents, if they do not exist.

    Args:
        path: the folder.
        purpose: what it is for, as the message says it.
        remedy: what the message says to do.

    Raises:
        StorageError: if that cannot be.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"expected a folder {purpose} at {path}, found: {error.strerror or error}; {remedy}"
        ) from error


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder, sorted.

    Raises:
        StorageError: if it cannot be listed.
    """
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise StorageError(
            f"expected a folder that can be listed at {folder}, found: {error.strerror or error}"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Replace the file's text as a whole."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _flush(path: Path) -> None:
    """Wait until the file's (or folder's) bytes are on the disk, so that a power cut keeps them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def as_utf8(name: str) -> str:
    r"""Return a file's name as text that any reader takes: bytes that are no UTF-8 as escapes.

    Example:
        >>> as_utf8(os.fsdecode(b"caf\xe9.jpg"))
        'caf\\xe9.jpg'
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_utf8(text: str) -> bool:
    r"""Return whether a text can be written as UTF-8: a file's name may be any bytes.

    Example:
        >>> is_utf8("caf\xe9.jpg"), is_utf8(os.fsdecode(b"caf\xe9.jpg"))
        (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_room(folder: Path, needed: int, what: str, remedy: str) -> None:
    """Check that a folder's disk has room.

    Args:
        folder: which is there.
        needed: bytes.
        what: they are for.
        remedy: what to do if there is no room.

    Raises:
        StorageError: if there is not.
    """
    if needed > (free := shutil.disk_usage(folder).free):
        raise StorageError(
            f"expected about {needed / 1e9:.1f} GB for {what} in {folder}, found "
            f"{free / 1e9:.1f} GB free: {remedy}"
        )
