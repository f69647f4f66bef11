"""Warnings name the line of the script that they name without `watch`."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODE = str(Path(__file__).with_name("mode.py"))
_FRAMES_OF_A_CALL = 3
"""The mode's own, torch's `handle_torch_function`, and the function that was called first."""


@contextmanager
def lines_kept() -> Iterator[None]:
    """Let `warnings.warn` count past the frames that the mode puts between."""
    original = warnings.warn

    def warn(
        message: Any, category: Any = None, stacklevel: int = 1, *rest: Any, **more: Any
    ) -> None:
        original(message, category, stacklevel + 1 + _between(stacklevel), *rest, **more)

    warnings.warn = warn
    try:
        yield
    finally:
        warnings.warn = original


def _between(stacklevel: int) -> int:
    """Return how many frames of the mode lie below the frame that a warning is about."""
    frame, extra = sys._getframe(2), 0  # noqa: SLF001 - what frames are got by
    for _ in range(stacklevel - 1):
        if frame.f_back is None:
            break
        frame = frame.f_back
        if frame.f_code.co_filename == _MODE:
            extra += _FRAMES_OF_A_CALL
            for _ in range(_FRAMES_OF_A_CALL):
                frame = frame.f_back or frame
    return extra
