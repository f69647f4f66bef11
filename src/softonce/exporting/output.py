"""What can happen to an output while it is written: a full disk, SIGTERM."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from softonce.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as an exception does, so that its folder is removed."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what a signal does
        return

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def storage_errors(file: Path, *, num_bytes: int) -> Iterator[None]:
    """Raise a `StorageError` for what fails since the disk is full.

    The writers of other libraries say so in words of their own, or write half a file and say
    nothing: after an error it is tried whether so many bytes can be written.
    """
    try:
        yield
    except Exception as error:
        reason = error if isinstance(error, OSError) else _why_unwritable(file, num_bytes)
        if reason is None:
            raise
        raise StorageError(
            f"expected to write {file.name} in {file.parent.parent}, found: "
            f"{reason.strerror or reason}; free some space or choose another --output"
        ) from error


def _why_unwritable(file: Path, num_bytes: int) -> OSError | None:
    """Return the error that writing so many bytes beside the file ends with, if it does."""
    block = bytes(2**20)
    try:
        with file.with_name("room").open("wb") as room:
            for _ in range(-(-num_bytes // len(block))):
                room.write(block)
    except OSError as error:
        return error
    finally:
        file.with_name("room").unlink(missing_ok=True)
    return None
