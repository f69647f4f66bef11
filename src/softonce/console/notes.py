"""Notes by the rules of `logging`: who configures it gets the records, else they are printed.

The root logger is never configured here. A function of the public interface runs inside
`visible_notes`: if neither the application nor the command line has a handler for "softonce", the
notes go to standard error while it runs. The command line runs inside `command_line_notes`.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from rich.text import Text

from softonce.console.plain import PlainConsole

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = logging.getLogger("softonce")
EPOCHS = LOG.getChild("epochs")  # printed as they happen, but no notes: the metrics hold them
PROGRESS = LOG.getChild("progress")

_SEPARATOR = "  "  # between the parts of a line of figures
# A notebook is no terminal, and rich's HTML would go to standard output.
_console = PlainConsole(stderr=True, highlight=False, force_jupyter=False)
_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


def is_first_process() -> bool:
    """Return whether this process prints: of those that torchrun started, only the first does."""
    return os.environ.get("RANK", "0") == "0"


def is_quiet() -> bool:
    """Return whether progress is to be hidden."""
    return _quiet.get() or not is_first_process()


class NoteHandler(logging.Handler):
    """Print a note as one line; a warning starts with the word."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        text = Text()
        if record.levelno >= logging.WARNING:
            text.append("warning: ", style="bold yellow")
        message = record.getMessage()
        if record.name != LOG.name and _console.is_terminal:
            message = _fit(message, _console.width)
        _console.print(text.append(message, style="default"), soft_wrap=True)


def _fit(line: str, width: int) -> str:
    r"""Break a line of figures between two of them, so that no figure is cut.

    Example:
        >>> _fit("epoch 1/5  loss 0.52  12 img/s", 24)
        'epoch 1/5  loss 0.52\n  12 img/s'
    """
    lines = [""]
    for part in line.split(_SEPARATOR):
        longer = f"{lines[-1]}{_SEPARATOR}{part}" if lines[-1] else part
        if len(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(f"{_SEPARATOR}{part}")
    return "\n".join(lines)


class _DefaultHandler:
    """The handler of a program that has configured none; calls in several threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handler = NoteHandler() if is_first_process() else logging.NullHandler()
        self._calls = 0
        self._sets_level = False

    @contextmanager
    def added(self) -> Iterator[None]:
        with self._lock:
            is_needed = self._calls > 0 or not LOG.hasHandlers()
            if is_needed and self._calls == 0:
                LOG.addHandler(self._handler)
                self._sets_level = LOG.level == logging.NOTSET
                if self._sets_level:
                    LOG.setLevel(logging.INFO)
            self._calls += is_needed
        try:
            yield
        finally:
            with self._lock:
                self._calls -= is_needed
                if is_needed and self._calls == 0:
                    LOG.removeHandler(self._handler)
                    if self._sets_level:
                        LOG.setLevel(logging.NOTSET)


_default = _DefaultHandler()


@contextmanager
def visible_notes(*, quiet: bool = False) -> Iterator[None]:
    """Print notes to standard error while the block runs, unless somebody handles them already.

    Args:
        quiet: only warnings, and no progress.

    Example:
        >>> with visible_notes(quiet=True):
        ...     LOG.info("not printed")
    """
    with _default.added(), _quieter(quiet=quiet):
        yield


@contextmanager
def command_line_notes(*, quiet: bool) -> Iterator[None]:
    """Print notes to standard error as the command line does, whatever the program has set up."""
    handlers, level, propagate = LOG.handlers, LOG.level, LOG.propagate
    LOG.handlers = [NoteHandler() if is_first_process() else logging.NullHandler()]
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    try:
        with _quieter(quiet=quiet):
            yield
    finally:
        LOG.handlers, LOG.propagate = handlers, propagate
        LOG.setLevel(level)


@contextmanager
def _quieter(*, quiet: bool) -> Iterator[None]:
    """Let only warnings through while the block runs, if `quiet`."""
    if not quiet:
        yield
        return
    level = LOG.level
    LOG.setLevel(max(logging.WARNING, LOG.getEffectiveLevel()))
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)
        LOG.setLevel(level)


class _Collector(logging.Filter):
    """Keep every note once, and let through what the level of before allowed."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level, self.notes = level, list[str]()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if message not in self.notes:
            self.notes.append(message)
        return record.levelno >= self.level


@contextmanager
def collect_notes() -> Iterator[list[str]]:
    """Collect the notes of the block for the report, whether or not they are printed.

    Example:
        >>> with visible_notes(quiet=True), collect_notes() as notes:
        ...     LOG.info("5 classes")
        >>> notes
        ['5 classes']
    """
    level, own = LOG.getEffectiveLevel(), LOG.level
    children = [child for child in (EPOCHS, PROGRESS) if child.level == logging.NOTSET]
    collector = _Collector(level)
    for child in children:  # they would inherit the lower level
        child.setLevel(level)
    LOG.setLevel(min(level, logging.INFO))
    LOG.addFilter(collector)
    try:
        yield collector.notes
    finally:
        LOG.removeFilter(collector)
        LOG.setLevel(own)
        for child in children:
            child.setLevel(logging.NOTSET)


def print_error(message: str) -> None:
    """Print one line that starts with the word."""
    if is_first_process():
        text = Text("error: ", style="bold red").append(message, style="default")
        _console.print(text, soft_wrap=True)
