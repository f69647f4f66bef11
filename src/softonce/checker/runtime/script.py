"""Run a program as Python would, watched; its output and its exit status stay its own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from softonce.checker.runtime.program import Program

FAILED, INTERRUPTED = 1, 130


def run_script(
    program: Program, arguments: Sequence[str], session: AbstractContextManager[object]
) -> int:
    """Run a program in this process, as `__main__`, and return its exit status.

    The process is the program's from here on: `sys.argv`, the path and `__main__` stay as it left
    them, for what runs at exit.

    Args:
        program: what is run.
        arguments: what it finds in `sys.argv`.
        session: what watches it.
    """
    sys.argv = [program.first, *arguments]
    sys.path[0] = program.folder
    with session:
        return _status(program)


def _status(program: Program) -> int:
    """Run it; an exit or an error of its own becomes the status that Python would give."""
    try:
        program.run()
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            return leaving.code or 0
        print(leaving.code, file=sys.stderr)  # noqa: T201 - as Python does
        return FAILED
    except BaseException as error:  # noqa: BLE001 - a script may raise anything
        _hand_to_hook(error)
        return INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED
    return 0


def _hand_to_hook(error: BaseException) -> None:
    """Give the error to `sys.excepthook`, the script's own or Python's, without our frames."""
    own: TracebackType | None = error.__traceback__
    while own is not None and own.tb_frame.f_code.co_filename.startswith(_OWN):
        own = own.tb_next
    try:
        sys.excepthook(type(error), error.with_traceback(own), own)
    except BaseException as another:  # noqa: BLE001 - as Python does if a hook fails
        sys.__excepthook__(type(another), another, another.__traceback__)


_OWN = (__file__, __file__.replace("script.py", "program.py"))
