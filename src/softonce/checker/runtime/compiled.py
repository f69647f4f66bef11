"""Compiled regions stay compiled: the mode is off the stack while one runs.

Dynamo guards on the stack of modes, so a mode that comes and goes would make it compile again.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


@contextmanager
def stepping_aside(leave: Callable[[], None], come_back: Callable[[], None]) -> Iterator[None]:
    """Call `leave` before a compiled region is entered by this thread, and `come_back` after it."""
    from torch._dynamo import eval_frame

    own_thread = threading.get_ident()
    original = eval_frame._maybe_set_eval_frame  # noqa: SLF001 - the only way into a region
    region: FrameType | None = None

    def set_eval_frame(callback: Any) -> Any:
        nonlocal region
        caller = sys._getframe(1)  # noqa: SLF001 - what frames are got by
        is_own = threading.get_ident() == own_thread
        # Before, not after: from the next line on dynamo looks at every frame of this thread.
        if is_own and callback is not None:
            region = region or caller
            leave()
        prior = original(callback)
        # Inside of a region dynamo is off at times; only the frame that went in comes out.
        if is_own and callback is None and caller is region:
            region = None
            come_back()
        return prior

    eval_frame._maybe_set_eval_frame = set_eval_frame  # noqa: SLF001
    try:
        yield
    finally:
        eval_frame._maybe_set_eval_frame = original  # noqa: SLF001
