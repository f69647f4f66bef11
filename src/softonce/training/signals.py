"""Ctrl-C and SIGTERM ask a run to save its state and leave; a second one does not wait."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from softonce.console import LOG

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType


@dataclass
class StopRequest:
    """Which signal has asked to stop, if any."""

    signal: int | None = None


def leave_if_requested(number: int, run: Path) -> None:
    """Leave as the signal would have, if there was one; the state has been saved before."""
    if not number:
        return
    LOG.warning("stopped, the state is saved; go on with: softonce train --resume %s", run)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


@contextmanager
def stop_requests(*, patient: bool = False) -> Iterator[StopRequest]:
    """Turn the first SIGINT or SIGTERM into a request; outside the main thread, change nothing.

    Args:
        patient: whether a second one waits too, as under torchrun, which passes on as SIGTERM what
            Ctrl-C has sent already, and kills what does not end.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        request.signal = request.signal or number
        if not patient:
            restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
