"""What long work says: notes through `logging`, progress with rate and time left.

Results go to standard output; notes and progress go to standard error.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOG = logging.getLogger("softonce")
EPOCHS = LOG.getChild("epochs")  # said while it happens, but no note: the metrics hold it
PLAIN_LINE_SECONDS = 10.0

_console = Console(stderr=True, highlight=False)
_quiet = False


class _NoteHandler(logging.Handler):
    """Print a note as one line; a warning starts with the word."""

    def emit(self, record: logging.LogRecord) -> None:
        text = Text()
        if record.levelno >= logging.WARNING:
            text.append("warning: ", style="bold yellow")
        _console.print(text.append(record.getMessage(), style="default"), soft_wrap=True)


def is_first_process() -> bool:
    """Say whether this process speaks: of those that torchrun has started, the first one does."""
    return os.environ.get("RANK", "0") == "0"


def set_up(*, quiet: bool) -> None:
    """Send the notes of the package to standard error; `quiet` keeps the warnings alone."""
    global _quiet  # noqa: PLW0603 - one terminal, one setting, made once by the command line
    _quiet = quiet or not is_first_process()
    LOG.handlers = [_NoteHandler()] if is_first_process() else [logging.NullHandler()]
    LOG.setLevel(logging.WARNING if quiet else logging.INFO)
    LOG.propagate = False


@contextmanager
def collected_notes() -> Iterator[list[str]]:
    """Collect what is said while the block runs, for the report.

    Example:
        >>> with collected_notes() as notes:
        ...     LOG.warning("a class is empty")
        >>> notes
        ['a class is empty']
    """
    notes: list[str] = []

    class _Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name == LOG.name and record.getMessage() not in notes:
                notes.append(record.getMessage())

    collector = _Collector()
    LOG.addHandler(collector)
    try:
        yield notes
    finally:
        LOG.removeHandler(collector)


class _PlainProgress:
    """One line every ten seconds, for logs and pipes."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done, self.last_line, self.detail = 0, time.monotonic(), ""
        self.first: tuple[int, float] | None = None

    def advance(self, amount: int, detail: str | None = None) -> None:
        self.done += amount
        self.detail = self.detail if detail is None else detail
        now = time.monotonic()
        if now - self.last_line >= PLAIN_LINE_SECONDS and not _quiet:
            self.last_line = now
            _console.print(self._line(now), markup=False, soft_wrap=True)
        self.first = self.first or (self.done, now)

    def _line(self, now: float) -> str:
        parts = [self.label, f"{self.done}/{self.total} {self.unit}"]
        if self.first is not None:  # the first step, which starts and compiles things, says nothing
            rate = (self.done - self.first[0]) / max(now - self.first[1], 1e-9)
            left = (self.total - self.done) / max(rate, 1e-9)
            parts += [f"{rate:.0f}/s", f"{left:.0f} s left"]
        return "  ".join([*parts, self.detail]).rstrip()


@contextmanager
def progress(label: str, total: int, unit: str = "images") -> Iterator[Callable[..., None]]:
    """Show how far long work is: a bar in a terminal, a line every ten seconds elsewhere.

    Args:
        label: what is being done.
        total: how many units there are.
        unit: what is counted.

    Returns:
        A function `advance(amount, detail=None)`; a detail stays until the next one.

    Example:
        >>> with progress("reading", 2) as advance:
        ...     advance(1)
        ...     advance(1)
    """
    if not _console.is_terminal or _quiet:
        yield _PlainProgress(label, total, unit).advance
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=_console, transient=True) as bar:
        task = bar.add_task(label, total=total, rate="", detail="")

        def advance(amount: int, detail: str | None = None) -> None:
            speed = bar.tasks[0].speed
            rate = f"{speed:.0f} {unit}/s" if speed else ""
            detail = bar.tasks[0].fields["detail"] if detail is None else detail
            bar.update(task, advance=amount, rate=rate, detail=detail)

        yield advance


def print_error(message: str) -> None:
    """Print one line that starts with the word."""
    if not is_first_process():
        return
    _console.print(
        Text("error: ", style="bold red").append(message, style="default"), soft_wrap=True
    )
