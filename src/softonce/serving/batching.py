"""Pictures that arrive together are answered together: one thread computes, requests take turns.

Everything but the computation itself happens in the event loop, so nothing here needs a lock.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from softonce.errors import SoftonceError
from softonce.plurals import format_count
from softonce.serving.fairness import FairQueue

if TYPE_CHECKING:
    from numpy.typing import NDArray

Picture: TypeAlias = "NDArray[np.uint8]"
Row: TypeAlias = "NDArray[np.float32]"
Compute: TypeAlias = Callable[["NDArray[np.uint8]"], "NDArray[np.float32]"]
Watch: TypeAlias = Callable[[int, float], None]

_SMOOTHING = 0.1  # of the mean time a picture takes, from which Retry-After is guessed


class QueueFullError(SoftonceError):
    """More pictures are being answered than the queue may hold; try again in `retry_after` s."""

    def __init__(self, max_queue: int, retry_after: int) -> None:
        super().__init__(
            f"expected at most {format_count(max_queue, 'image')} at a time in the service, "
            f"found more: try again in {retry_after} s"
        )
        self.retry_after = retry_after


@dataclass(eq=False)
class _Waiting:
    picture: Picture
    since: float
    answer: asyncio.Future[Row]


class Batcher:
    """Collects pictures into batches, and lets one thread compute their logits.

    A batch leaves as soon as the thread is free, unless other pictures are just being read: for
    these it waits, until it is full or its first picture has waited for `max_wait`. So somebody
    who is alone never waits, and while a batch is computed the next one fills up.

    Args:
        compute: uint8 pixels (N, channels, size, size) -> logits (N, C); called in one thread.
        max_batch: pictures in the largest batch.
        max_wait: seconds that a picture waits for company.
        max_queue: pictures that may be read, wait or be computed at the same time.
        watch: is told the size and the seconds of every batch.
    """

    def __init__(
        self,
        compute: Compute,
        *,
        max_batch: int,
        max_wait: float,
        max_queue: int,
        watch: Watch = lambda size, seconds: None,  # noqa: ARG005 - nobody watches
    ) -> None:
        self._compute, self._watch = compute, watch
        self.max_batch, self.max_wait, self.max_queue = max_batch, max_wait, max_queue
        self.num_admitted = 0
        self._num_reading = 0
        self._waiting = FairQueue[_Waiting]()
        self._changed = asyncio.Event()
        self._seconds_each = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer."""
        self._task = asyncio.get_running_loop().create_task(self._answer_batches())

    async def stop(self) -> None:
        """Answer what has been admitted, then end."""
        while self.num_admitted:
            await asyncio.sleep(0.01)
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown()

    @contextmanager
    def admitted(self, num_pictures: int) -> Iterator[None]:
        """Hold places in the queue, from before the pictures are decoded until they are answered.

        Raises:
            QueueFullError: if there are not that many places.
        """
        if self.num_admitted + num_pictures > self.max_queue:
            seconds = math.ceil(self.num_admitted * self._seconds_each)
            raise QueueFullError(self.max_queue, max(1, seconds))
        self.num_admitted += num_pictures
        try:
            yield
        finally:
            self.num_admitted -= num_pictures

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Say that pictures are on their way, for which a batch may wait."""
        self._num_reading += 1
        try:
            yield
        finally:
            self._num_reading -= 1
            self._changed.set()

    async def logits(self, pictures: Sequence[Picture]) -> list[Row]:
        """Return the logits of each picture, in order; they may be computed in several batches.

        A batch takes as many pictures of every request, so that a large one delays no small one.
        """
        loop, request = asyncio.get_running_loop(), object()
        waiting = [_Waiting(picture, loop.time(), loop.create_future()) for picture in pictures]
        for one in waiting:
            self._waiting.push(request, one, cost=1)
        self._changed.set()
        return await asyncio.gather(*(one.answer for one in waiting))

    async def _answer_batches(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._next_batch()
            try:
                rows = await loop.run_in_executor(self._thread, self._run_batch, batch)
            except Exception as error:  # noqa: BLE001 - theirs to hear of; the next batch goes on
                for one in batch:
                    if not one.answer.done():
                        one.answer.set_exception(error)
            else:
                for one, row in zip(batch, rows, strict=True):
                    if not one.answer.done():
                        one.answer.set_result(row)

    async def _next_batch(self) -> list[_Waiting]:
        """Wait for pictures and take those in turn; who has given up meanwhile is passed over."""
        batch: list[_Waiting] = []
        while not batch:
            await self._until_worthwhile()
            while self._waiting and len(batch) < self.max_batch:
                one = self._waiting.pop()
                if not one.answer.done():
                    batch.append(one)
        return batch

    async def _until_worthwhile(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._waiting:
            self._changed.clear()
            await self._changed.wait()
        leaves = min(one.since for one in self._waiting) + self.max_wait
        while self._num_reading and len(self._waiting) < self.max_batch and loop.time() < leaves:
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(leaves):
                    await self._changed.wait()

    def _run_batch(self, batch: list[_Waiting]) -> NDArray[np.float32]:
        """Compute, in the thread."""
        start = time.perf_counter()
        rows = self._compute(np.stack([one.picture for one in batch]))
        seconds = time.perf_counter() - start
        self._seconds_each += _SMOOTHING * (seconds / len(batch) - self._seconds_each)
        self._watch(len(batch), seconds)
        return rows
