"""`--profile`: where the time of the first steps goes, in one line and a trace file."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.profiler import profile, record_function, schedule

from softonce.console import LOG
from softonce.files import replacing
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import TypeVar

    Item = TypeVar("Item")

SECTIONS = ("data", "forward", "loss", "backward", "optimizer")
SKIPPED, PROFILED = 3, 10
_STEP = "ProfilerStep*"


def section(name: str) -> AbstractContextManager[object]:
    """Name a part of the step in the trace of a profiler; costs microseconds without one."""
    return record_function(f"softonce.{name}")


def in_section(name: str, items: Iterable[Item]) -> Iterator[Item]:
    """Pass items on; the waiting for each is a section."""
    iterator, end = iter(items), object()
    while True:
        with section(name):
            item: Any = next(iterator, end)
        if item is end:
            return
        yield item


@contextmanager
def profile_steps(path: Path | None, num_steps: int) -> Iterator[Callable[[], None]]:
    """Profile ten steps after the first three, say where their time went, and write the trace.

    Args:
        path: of the trace, in the Chrome format; None profiles nothing.
        num_steps: how many are to come; if fewer than thirteen, fewer are profiled.

    Returns:
        A function to call after every step.
    """
    num_profiled = min(PROFILED, num_steps - SKIPPED)
    if path is not None and num_profiled < 1:
        LOG.warning("expected %d steps or more for --profile, found %d", SKIPPED + 1, num_steps)
    if path is None or num_profiled < 1:
        yield lambda: None
        return

    def finish(found: profile) -> None:
        with replacing(path) as temporary:
            found.export_chrome_trace(str(temporary))
        shares = time_shares(found)
        LOG.info(
            "where the time of %s went: %s; trace in %s",
            format_count(num_profiled, "step"),
            ", ".join(f"{name} {share:.0%}" for name, share in shares.items()),
            path,
        )

    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else it prints lines of its own
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    plan = schedule(wait=SKIPPED - 1, warmup=1, active=num_profiled, repeat=1)
    with profile(activities=kinds, schedule=plan, on_trace_ready=finish) as running:
        yield running.step


def time_shares(found: profile) -> dict[str, float]:
    """Return the share of each section in the steps' time, and of what is in none of them."""
    totals = {event.key: event.cpu_time_total for event in found.key_averages()}
    whole = totals[_STEP]
    shares = {name: totals.get(f"softonce.{name}", 0.0) / whole for name in SECTIONS}
    return shares | {"other": max(0.0, 1 - sum(shares.values()))}
