"""The ends of a process that pass by every `finally`: a signal, `os._exit`, `exec`."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SIGNALS = ("SIGTERM", "SIGHUP")
_CALLS = ("_exit", "execv", "execve")
"""All of `os.exec*` end in one of these."""


@contextmanager
def before_the_end(finish: Callable[[], None]) -> Iterator[None]:
    """Call `finish` before this process ends in one of these ways."""
    own = os.getpid()

    def finish_here() -> None:
        if os.getpid() == own:  # a forked child ends by `os._exit` too
            finish()

    with ExitStack() as cleanup:
        for name in _CALLS:
            original = getattr(os, name)
            setattr(os, name, _after(finish_here, original))
            cleanup.callback(setattr, os, name, original)
        for name in _SIGNALS if threading.current_thread() is threading.main_thread() else ():
            number = getattr(signal, name, None)
            # A handler that somebody has set, or the choice to ignore it, is left alone.
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                handler = _ending(finish_here)
                signal.signal(number, handler)
                cleanup.callback(_put_back, number, handler)
        yield


def _after(finish: Callable[[], None], original: Any) -> Any:
    def call(*arguments: Any) -> Any:
        finish()
        return original(*arguments)

    return call


def _ending(finish: Callable[[], None]) -> Any:
    """Return a handler that reports, and then lets the signal do what it does without one."""

    def handle(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        finish()
        os.kill(os.getpid(), number)

    return handle


def _put_back(number: int, handler: object) -> None:
    if signal.getsignal(number) is handler:
        signal.signal(number, signal.SIG_DFL)
