"""Run a script as Python would, watched; its output and its exit status stay its own."""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from softonce.checker.runtime.session import watch

FAILED, INTERRUPTED = 1, 130


def run_script(path: str, arguments: Sequence[str], session: watch) -> int:
    """Run a script file in this process, as `__main__`, and return its exit status.

    Args:
        path: the script.
        arguments: what it finds in `sys.argv`.
        session: what watches it.
    """
    before = sys.argv, sys.path[0]
    sys.argv = [path, *arguments]
    sys.path[0] = os.path.dirname(os.path.realpath(path))  # noqa: PTH120 - as Python sets it
    try:
        with session:
            return _status(path)
    finally:
        sys.argv, sys.path[0] = before


def _status(path: str) -> int:
    """Run it; an exit or an error of its own becomes the status that Python would give."""
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            return leaving.code or 0
        print(leaving.code, file=sys.stderr)  # noqa: T201 - as Python does
        return FAILED
    except KeyboardInterrupt as error:
        _print_traceback(error)
        return INTERRUPTED
    except BaseException as error:  # noqa: BLE001 - a script may raise anything
        _print_traceback(error)
        return FAILED
    return 0


def _print_traceback(error: BaseException) -> None:
    """Print it as Python would, without the frames that ran the script."""
    own: TracebackType | None = error.__traceback__
    while own is not None and own.tb_frame.f_code.co_filename in (__file__, runpy.__file__):
        own = own.tb_next
    while own is not None and "runpy" in own.tb_frame.f_code.co_filename:
        own = own.tb_next
    traceback.print_exception(type(error), error, own or error.__traceback__)
