"""Notes follow the rules of logging; progress fits the terminal; what is configured is left so."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from softonce.cli import tables
from softonce.console import (
    EPOCHS,
    LOG,
    bars,
    collect_notes,
    command_line_notes,
    notes,
    print_error,
    progress,
    visible_notes,
)
from softonce.prediction.table import build_table


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    buffer = io.StringIO()
    monkeypatch.setattr(notes, "_console", Console(file=buffer, highlight=False, width=40))
    return buffer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


@contextmanager
def unconfigured() -> Iterator[None]:
    """Be a program without handlers; pytest has some at the root while a test runs."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        yield
    finally:
        root.handlers = handlers


# who gets the notes


@pytest.mark.parametrize("quiet", [False, True])
def test_quiet_leaves_warnings_and_errors(written: io.StringIO, quiet: bool) -> None:
    with command_line_notes(quiet=quiet), command_line_notes(quiet=quiet):  # twice is as once
        LOG.info("a note")
        LOG.warning("left out [bold]%s[/bold]", "a b/c.jpg " * 6)
        print_error("no [such] thing")
    expected = ["warning: left out [bold]" + "a b/c.jpg " * 6 + "[/bold]", "error: no [such] thing"]
    assert written.getvalue().splitlines() == (expected if quiet else ["a note", *expected])


def state() -> tuple[object, ...]:
    root = logging.getLogger()
    return [*LOG.handlers], LOG.level, LOG.propagate, [*root.handlers], root.level, [*LOG.filters]


@pytest.mark.parametrize("quiet", [False, True])
def test_an_unconfigured_program_sees_notes_once(written: io.StringIO, quiet: bool) -> None:
    before = state()
    with (
        unconfigured(),
        visible_notes(quiet=quiet),
        collect_notes() as collected,
        visible_notes(),
    ):
        LOG.info("a note")
        EPOCHS.info("epoch 1")
        LOG.warning("careful")
    assert written.getvalue().splitlines() == [
        *([] if quiet else ["a note", "epoch 1"]),
        "warning: careful",
    ]
    assert collected == ["a note", "careful"]
    assert state() == before


@pytest.mark.parametrize("name", [None, "softonce"])
@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_a_configured_program_gets_the_records_and_nothing_is_printed(
    written: io.StringIO, name: str | None, level: int
) -> None:
    logger, buffer = logging.getLogger(name), io.StringIO()
    handler, before = logging.StreamHandler(buffer), logger.level
    with unconfigured():
        logger.addHandler(handler)
        logger.setLevel(level)
        with visible_notes(), collect_notes() as collected:
            LOG.info("a note")
            EPOCHS.info("epoch 1")
            LOG.warning("careful")
        logger.removeHandler(handler)
        logger.setLevel(before)
    notes_too = ["a note", "epoch 1"] if level == logging.INFO else []
    assert buffer.getvalue().splitlines() == [*notes_too, "careful"]
    assert collected == ["a note", "careful"]  # the report holds them at any level
    assert written.getvalue() == ""


def test_a_level_of_the_programs_own_is_kept(written: io.StringIO) -> None:
    LOG.setLevel(logging.WARNING)
    with unconfigured(), visible_notes():
        LOG.info("a note")
        LOG.warning("careful")
    LOG.setLevel(logging.NOTSET)
    assert written.getvalue() == "warning: careful\n"


def test_calls_that_overlap_print_once_and_to_the_end(written: io.StringIO) -> None:
    first, second = ExitStack(), ExitStack()
    with unconfigured(), second:
        with first:
            first.enter_context(visible_notes())
            second.enter_context(visible_notes())
        LOG.info("a note of the second")
    LOG.info("of nobody")
    assert written.getvalue() == "a note of the second\n"


def test_notes_are_collected_once_each_and_not_after(written: io.StringIO) -> None:
    with command_line_notes(quiet=False):
        with pytest.raises(KeyError, match="mine"), collect_notes() as collected:  # noqa: PT012 - the block is the subject
            LOG.info("a %s", "note")
            LOG.info("a note")
            EPOCHS.info("epoch 1")
            raise KeyError("mine")
        LOG.info("after")
    assert collected == ["a note"]
    assert "epoch 1" in written.getvalue()
    assert LOG.filters == []
    assert logging.getLogger("softonce") is LOG


# progress


def test_progress_is_a_plain_line_every_ten_seconds(
    written: io.StringIO, clock: list[float]
) -> None:
    with command_line_notes(quiet=False), progress("reading", 300) as advance:
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
    with command_line_notes(quiet=False), progress("training", 300) as advance:
        for seconds in (120, 5, 5):
            clock[0] += seconds
            advance(25)
    assert written.getvalue().splitlines() == [
        "training  25/300 images",
        "training  75/300 images  5/s  45 s left",
    ]


def test_quiet_progress_says_nothing(written: io.StringIO, clock: list[float]) -> None:
    with visible_notes(quiet=True), progress("reading", 300) as advance:
        clock[0] += 60
        advance(25)
    assert written.getvalue() == ""


DETAIL = "epoch 12/400  loss 0.894  top-1 50.0%"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (140, "training 6400/51200  BAR  320 images/s  0:00:20  0:02:20 left  " + DETAIL),
        (110, "training 6400/51200  320 images/s  0:00:20  0:02:20 left  " + DETAIL),
        (80, "training 6400/51200  320 images/s  0:02:20 left  epoch 12/400  loss 0.894"),
        (60, "training 6400/51200  320 images/s  0:02:20 left"),
        (40, "training 6400/51200  320/s  0:02:20 left"),
        (20, "training 6400/51200"),
    ],
)
def test_a_bar_keeps_count_rate_and_time_left_at_any_width(width: int, shown: str) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    task = SimpleNamespace(
        description="training", completed=6400, total=51200, percentage=12.5, speed=320.0,
        time_remaining=140.0, elapsed=20.0, fields={"unit": "images", "detail": DETAIL},
    )  # fmt: skip
    text = bars._Line(terminal).render(task).plain  # type: ignore[arg-type] # what it reads of one
    assert re.sub("━{24}", "BAR", text) == shown
    assert len(text) <= width


@pytest.mark.parametrize("width", [40, 60, 80])
def test_epoch_lines_break_between_figures(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    line = "epoch 12/400  train loss 0.8941 top-1 50.00%  val nll 1.0942 top-1 48.30%  812 img/s"
    buffer = io.StringIO()
    terminal = Console(file=buffer, force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr(notes, "_console", terminal)
    with command_line_notes(quiet=False):
        EPOCHS.info("%s", line)
        LOG.info("a/path/that/is/left/whole" * 5)
    *epochs, path = buffer.getvalue().splitlines()
    assert all(len(part) <= width for part in epochs)
    assert [part for row in epochs for part in row.strip().split("  ")] == line.split("  ")
    assert path == "a/path/that/is/left/whole" * 5


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.StringIO()
    terminal = Console(file=buffer, force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr(notes, "_console", terminal)
    with progress("reading", 4, unit="files") as advance:
        advance(1, "loss 2.0")
        advance(3)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", buffer.getvalue())
    assert re.search(r"reading 4/4  ━{24}  .*0:00:00 left  loss 2.0", shown)


NASTY = os.fsdecode(b"caf\xe9\x1b[31m\x07\xc2\x9b")


def test_names_of_files_move_no_cursor_and_ring_no_bell(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = build_table([(NASTY, (), NASTY, None)], emit="probs")
    tables._console().print(table, NASTY)
    tables.print_paths({"report": Path(NASTY)})
    LOG.addHandler(handler := notes.NoteHandler())
    LOG.warning("%s is odd", NASTY)
    LOG.removeHandler(handler)
    print_error(NASTY)
    printed = "".join(capsys.readouterr())
    assert not set(printed) & set("\x1b\x07\x9b\udce9")
    assert printed.count(r"caf\xe9\x1b[31m") == 6
