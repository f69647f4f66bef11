"""Progress: a bar in a terminal or a notebook, a line every ten seconds in logs and pipes."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from html import escape
from typing import TYPE_CHECKING, Any, TypeAlias

from rich.progress import Progress, ProgressColumn, Task
from rich.text import Text

from softonce.console import notes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    Advance: TypeAlias = Callable[..., None]

PLAIN_LINE_SECONDS = 10.0
"""Without a terminal a line stays: one in ten seconds fills no log."""
NOTEBOOK_SECONDS = 0.2  # a message to the browser for each step would slow training down
_BAR_WIDTH = 24
"""In characters; the figures beside it need the rest of 80 columns."""


@contextmanager
def progress(label: str, total: int, unit: str = "images") -> Iterator[Advance]:
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
    if notes.is_quiet():
        yield _do_nothing
    elif _in_notebook():
        with _notebook_bar(label, total, unit) as advance:
            yield advance
    elif notes._console.is_terminal:  # noqa: SLF001 - this package's
        with _terminal_bar(label, total, unit, notes._console) as advance:  # noqa: SLF001
            yield advance
    else:
        yield _PlainProgress(label, total, unit).advance


def _do_nothing(amount: int, detail: str | None = None) -> None:
    """Hide progress."""


class _Counter:
    """How far work is; its rate leaves out the first step, which starts and compiles things."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done, self.detail = 0, ""
        self.start = time.monotonic()
        self.first: tuple[int, float] | None = None

    def add(self, amount: int, detail: str | None) -> float:
        """Count, and return the time."""
        now = time.monotonic()
        self.done += amount
        self.detail = self.detail if detail is None else detail
        return now

    def line(self, now: float) -> str:
        parts = [self.label, f"{self.done}/{self.total} {self.unit}"]
        if self.first is not None:
            rate = (self.done - self.first[0]) / max(now - self.first[1], 1e-9)
            left = (self.total - self.done) / max(rate, 1e-9)
            parts += [f"{rate:.0f}/s", f"{left:.0f} s left"]
        return "  ".join([*parts, self.detail]).rstrip()


class _PlainProgress(_Counter):
    """One line every ten seconds, for logs and pipes."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        super().__init__(label, total, unit)
        self.last_line = self.start

    def advance(self, amount: int, detail: str | None = None) -> None:
        now = self.add(amount, detail)
        if now - self.last_line >= PLAIN_LINE_SECONDS:
            self.last_line = now
            notes.PROGRESS.info("%s", self.line(now))
        self.first = self.first or (self.done, now)


@contextmanager
def _terminal_bar(label: str, total: int, unit: str, console: Console) -> Iterator[Advance]:
    with Progress(_Line(console), console=console, transient=True) as bar:
        task = bar.add_task(label, total=total, unit=unit, detail="")

        def advance(amount: int, detail: str | None = None) -> None:
            detail = bar.tasks[0].fields["detail"] if detail is None else detail
            bar.update(task, advance=amount, detail=detail)

        yield advance


class _Line(ProgressColumn):
    """The whole line, as much of it as fits: first the bar goes, then elapsed time, then detail."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def render(self, task: Task) -> Text:
        speed, left = task.speed, task.time_remaining
        unit = task.fields["unit"]
        done = f"{task.description} {task.completed:.0f}/{task.total:.0f}"
        rate = f"{speed:.0f} {unit}/s" if speed else ""
        short_rate = f"{speed:.0f}/s" if speed else ""
        remaining = "" if left is None else f"{timedelta(seconds=int(left))} left"
        elapsed = str(timedelta(seconds=int(task.elapsed or 0)))
        details = _shorter(task.fields["detail"])
        lines = [
            [rate, elapsed, remaining, details[0]],
            *([rate, remaining, detail] for detail in details),
            [short_rate, remaining],
        ]
        width = self.console.width
        full = _join_parts(done, *lines[0])
        if len(full) + _BAR_WIDTH + 2 <= width:
            rest = full.removeprefix(done)
            return Text(f"{done}  ").append_text(self._bar(task)).append(rest)
        fitting = (
            text for text in (_join_parts(done, *parts) for parts in lines) if len(text) <= width
        )
        return Text(next(fitting, done), no_wrap=True, overflow="crop")

    def _bar(self, task: Task) -> Text:
        line = "-" if self.console.options.ascii_only else "━"
        filled = int(_BAR_WIDTH * task.percentage / 100)
        text = Text(line * filled, style="bar.complete")
        return text.append(line * (_BAR_WIDTH - filled), style="bar.back")


def _join_parts(*parts: str) -> str:
    return "  ".join(part for part in parts if part)


def _in_notebook() -> bool:
    """Return whether this runs in a Jupyter kernel, which has displays that can be updated."""
    return getattr(_shell(), "kernel", None) is not None


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


class _NotebookDisplay:
    """One place for progress a cell: a new one for each epoch would leave a column of blanks."""

    def __init__(self) -> None:
        self.cell: Any = None
        self.handle: Any = None

    def show(self, html: str) -> None:
        ipython: Any = sys.modules["IPython"]
        cell, picture = _shell().execution_count, ipython.display.HTML(html)
        if cell != self.cell:
            self.cell = cell
            self.handle = ipython.display.display(picture, display_id=True)
        else:
            self.handle.update(picture)


_display = _NotebookDisplay()


@contextmanager
def _notebook_bar(label: str, total: int, unit: str) -> Iterator[Advance]:
    """Show an HTML progress element, which needs no widgets; it is gone when the work is done."""
    counter = _Counter(label, total, unit)
    last = counter.start

    def advance(amount: int, detail: str | None = None) -> None:
        nonlocal last
        now = counter.add(amount, detail)
        counter.first = counter.first or (counter.done, now)
        if now - last >= NOTEBOOK_SECONDS:
            last = now
            bar = f'<progress value="{counter.done}" max="{counter.total}"></progress>'
            _display.show(f"{bar} <code>{escape(counter.line(now))}</code>")

    try:
        yield advance
    finally:
        if last > counter.start:
            _display.show("")


def _shorter(figures: str) -> list[str]:
    """Return a detail such as "epoch 1/5  loss 0.52", and what is left without its last parts.

    Example:
        >>> _shorter("epoch 1/5  loss 0.52")
        ['epoch 1/5  loss 0.52', 'epoch 1/5', '']
    """
    parts = figures.split("  ")
    return ["  ".join(parts[:count]) for count in range(len(parts), -1, -1)]
