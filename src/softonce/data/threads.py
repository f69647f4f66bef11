"""Many files, one after the other; in threads if these make it faster."""

from __future__ import annotations

import statistics
import time
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor

    _Item = TypeVar("_Item")
    _Result = TypeVar("_Result")

QUICK_SECONDS = 1e-3
"""Files that take less, as tiny pictures on a disk do, are read in the calling thread.

Most of that time is Python, and threads would wait for the interpreter's lock: two cores read
CIFAR-10 half as fast then as one does.
"""
_NUM_TRIED = 8
"""Files by which it is measured whether threads pay: enough for the first to be an outlier."""


def map_files(
    read: Callable[[_Item], _Result], items: Sequence[_Item], threads: Executor
) -> Iterator[_Result]:
    """Return what `read` gives for each item, in order; the first ones say how long one takes."""
    first, seconds = [], []
    for item in items[:_NUM_TRIED]:
        before = time.monotonic()
        first.append(read(item))
        seconds.append(time.monotonic() - before)
    is_quick = bool(seconds) and statistics.median(seconds) < QUICK_SECONDS
    return chain(first, (map if is_quick else threads.map)(read, items[_NUM_TRIED:]))
