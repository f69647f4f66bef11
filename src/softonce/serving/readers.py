"""The threads that decode pictures: requests take turns by pixels, and share the memory."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from softonce.machine import usable_cores, usable_memory
from softonce.serving.fairness import FairQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Found = TypeVar("Found")

_BYTES_PER_PIXEL = 16
"""Of a picture that is decoded, laid over white and converted: Pillow takes 4 for each copy."""

_SHARE_OF_MEMORY = 4
"""Pictures may take a quarter of it: the rest is for the network, bodies and batches."""


@dataclass(eq=False)
class _Job(Generic[Found]):
    work: Callable[[], Found]
    num_pixels: int
    answer: asyncio.Future[Found]


class Readers:
    """As many threads as there are cores; used from the event loop only, so it needs no lock.

    Args:
        num_threads: how many; None for one a core that may be used.
        pixels_at_once: decoded at a time, unless one picture has more; None for what fits in a
            quarter of the memory that may be used.
    """

    def __init__(self, num_threads: int | None = None, pixels_at_once: int | None = None) -> None:
        self._num_threads = num_threads or usable_cores()
        fitting = usable_memory() // _SHARE_OF_MEMORY // _BYTES_PER_PIXEL
        self._pixels_at_once = pixels_at_once or fitting
        self._pool = ThreadPoolExecutor(self._num_threads, thread_name_prefix="reader")
        self._queue = FairQueue[_Job[Any]]()
        self._num_running = self._num_pixels = 0

    async def run(self, owner: Hashable, work: Callable[[], Found], num_pixels: int) -> Found:
        """Run work in a thread when it is its owner's turn; who gives up before is passed over.

        Args:
            owner: the request.
            work: what to run.
            num_pixels: what it costs, and how much memory it takes.
        """
        job = _Job(work, num_pixels, asyncio.get_running_loop().create_future())
        self._queue.push(owner, job, cost=num_pixels)
        self._start_jobs()
        return cast("Found", await job.answer)

    def shutdown(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _start_jobs(self) -> None:
        while self._queue and self._num_running < self._num_threads:
            job = self._queue.peek()
            has_room = self._num_pixels + job.num_pixels <= self._pixels_at_once
            if not (has_room or self._num_running == 0 or job.answer.done()):
                return
            self._queue.pop()
            if not job.answer.done():
                self._start(job)

    def _start(self, job: _Job[Any]) -> None:
        self._num_running += 1
        self._num_pixels += job.num_pixels
        running = asyncio.get_running_loop().run_in_executor(self._pool, job.work)
        running.add_done_callback(lambda done: self._finish(job, done))

    def _finish(self, job: _Job[Any], done: asyncio.Future[Any]) -> None:
        self._num_running -= 1
        self._num_pixels -= job.num_pixels
        error = done.exception()
        if error is not None and not job.answer.done():
            job.answer.set_exception(error)
        elif not job.answer.done():
            job.answer.set_result(done.result())
        self._start_jobs()
