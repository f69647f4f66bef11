"""Notes and progress go to standard error, as plain lines where it is no terminal."""

from __future__ import annotations

import io
import logging
import re

import pytest
from rich.console import Console

from softonce import console
from softonce.console import EPOCHS, LOG, collected_notes, print_error, progress, set_up


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    buffer = io.StringIO()
    monkeypatch.setattr(console, "_console", Console(file=buffer, highlight=False, width=40))
    return buffer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("quiet", [False, True])
def test_quiet_leaves_warnings_and_errors(written: io.StringIO, quiet: bool) -> None:
    set_up(quiet=quiet)
    set_up(quiet=quiet)  # twice is as once
    LOG.info("a note")
    LOG.warning("left out [bold]%s[/bold]", "a b/c.jpg " * 6)
    print_error("no [such] thing")
    expected = ["warning: left out [bold]" + "a b/c.jpg " * 6 + "[/bold]", "error: no [such] thing"]
    assert written.getvalue().splitlines() == (expected if quiet else ["a note", *expected])


def test_progress_is_a_plain_line_every_ten_seconds(
    written: io.StringIO, clock: list[float]
) -> None:
    with progress("reading", 300) as advance:
        for detail in ("loss 2.0", None, None, "loss 1.0", None):
            clock[0] += 5
            advance(25, detail)
    assert written.getvalue().splitlines() == [
        "reading  50/300 images  5/s  50 s left  loss 2.0",
        "reading  100/300 images  5/s  40 s left  loss 1.0",
    ]


def test_a_slow_first_step_says_nothing_of_the_time_left(
    written: io.StringIO, clock: list[float]
) -> None:
    with progress("training", 300) as advance:
        for seconds in (120, 5, 5):
            clock[0] += seconds
            advance(25)
    assert written.getvalue().splitlines() == [
        "training  25/300 images",
        "training  75/300 images  5/s  45 s left",
    ]


def test_quiet_progress_says_nothing(written: io.StringIO, clock: list[float]) -> None:
    set_up(quiet=True)
    with progress("reading", 300) as advance:
        clock[0] += 60
        advance(25)
    assert written.getvalue() == ""


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.StringIO()
    terminal = Console(file=buffer, force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr(console, "_console", terminal)
    with progress("reading", 4, unit="files") as advance:
        advance(1, "loss 2.0")
        advance(3)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", buffer.getvalue())
    assert re.search(r"reading .* 4/4 .*left .* loss 2.0", shown)


def test_notes_are_collected_once_each_and_not_after(written: io.StringIO) -> None:
    set_up(quiet=False)
    with pytest.raises(KeyError, match="mine"), collected_notes() as notes:  # noqa: PT012 - the block is the subject
        LOG.info("a %s", "note")
        LOG.info("a note")
        EPOCHS.info("epoch 1")
        raise KeyError("mine")
    LOG.info("after")
    assert notes == ["a note"]
    assert "epoch 1" in written.getvalue()
    assert not any(type(handler).__name__ == "_Collector" for handler in LOG.handlers)
    assert logging.getLogger("softonce") is LOG
