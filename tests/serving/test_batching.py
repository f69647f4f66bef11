"""Pictures that come together are computed together, and each gets the answer that is its own."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from softonce.serving.batching import Batcher, QueueFullError

FOREVER = 3600.0


def picture(number: int) -> np.ndarray:
    return np.full((1, 2, 2), number, np.uint8)


class Engine:
    """Gives the number of each picture back, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        numbers = pixels[:, 0, 0, 0]
        self.batches.append(numbers.tolist())
        assert self.go.wait(30)
        if 13 in numbers:
            raise FloatingPointError("thirteen")
        return numbers[:, None].astype(np.float32)


def run(engine: Engine, talk: Callable[[Batcher], Awaitable[object]], **options: float) -> Batcher:
    """Let `talk` use a batcher, and return it when it has stopped."""

    async def main() -> Batcher:
        chosen = {"max_batch": 4, "max_wait": FOREVER, "max_queue": 100} | options
        batcher = Batcher(engine, **chosen)
        batcher.start()
        await asyncio.wait_for(talk(batcher), 30)
        await asyncio.wait_for(batcher.stop(), 30)
        return batcher

    return asyncio.run(main())


async def ask(batcher: Batcher, *numbers: int) -> list[int]:
    with batcher.admitted(len(numbers)):
        rows = await batcher.logits([picture(number) for number in numbers])
    return [int(row[0]) for row in rows]


def test_who_is_alone_does_not_wait() -> None:
    engine = Engine()

    async def talk(batcher: Batcher) -> None:
        assert await ask(batcher, 7) == [7]

    run(engine, talk)
    assert engine.batches == [[7]]


def test_a_batch_waits_for_pictures_that_are_being_read() -> None:
    engine = Engine()

    async def talk(batcher: Batcher) -> None:
        with batcher.reading():
            first = asyncio.create_task(ask(batcher, 1))
            await asyncio.sleep(0.02)
            assert engine.batches == []
            second = asyncio.create_task(ask(batcher, 2))
            await asyncio.sleep(0.02)
            assert engine.batches == []
        assert await asyncio.gather(first, second) == [[1], [2]]

    run(engine, talk)
    assert engine.batches == [[1, 2]]


def test_but_not_for_longer_than_it_may() -> None:
    engine = Engine()

    async def talk(batcher: Batcher) -> None:
        with batcher.reading():
            assert await ask(batcher, 1) == [1]

    run(engine, talk, max_wait=0.01)


def test_a_full_batch_waits_for_nobody() -> None:
    engine = Engine()

    async def talk(batcher: Batcher) -> None:
        with batcher.reading():
            assert await ask(batcher, 1, 2, 3, 4) == [1, 2, 3, 4]

    run(engine, talk)
    assert engine.batches == [[1, 2, 3, 4]]


def test_pictures_gather_while_a_batch_is_computed() -> None:
    engine = Engine()
    engine.go.clear()

    async def talk(batcher: Batcher) -> None:
        asked = [asyncio.create_task(ask(batcher, 1))]
        while not engine.batches:
            await asyncio.sleep(0.001)
        asked += [asyncio.create_task(ask(batcher, n)) for n in range(2, 8)]
        await asyncio.sleep(0.01)
        engine.go.set()
        assert await asyncio.gather(*asked) == [[n] for n in range(1, 8)]

    run(engine, talk)
    assert engine.batches == [[1], [2, 3, 4, 5], [6, 7]]


def test_a_large_request_delays_no_small_one() -> None:
    engine = Engine()
    engine.go.clear()

    async def talk(batcher: Batcher) -> None:
        asked = [asyncio.create_task(ask(batcher, 1))]
        while not engine.batches:
            await asyncio.sleep(0.001)
        asked.append(asyncio.create_task(ask(batcher, *range(20, 29))))
        await asyncio.sleep(0.01)
        asked.append(asyncio.create_task(ask(batcher, 50, 51)))
        await asyncio.sleep(0.01)
        engine.go.set()
        assert await asyncio.gather(*asked) == [[1], list(range(20, 29)), [50, 51]]

    run(engine, talk)
    assert engine.batches[1] == [20, 50, 21, 51]


def test_everybody_gets_their_own_answer() -> None:
    engine, draw = Engine(), random.Random(0)

    async def one(batcher: Batcher, numbers: list[int]) -> None:
        await asyncio.sleep(draw.random() / 50)
        assert await ask(batcher, *numbers) == numbers

    async def talk(batcher: Batcher) -> None:
        some = [[draw.randrange(14, 256) for _ in range(draw.randint(1, 9))] for _ in range(100)]
        await asyncio.gather(*(one(batcher, numbers) for numbers in some))

    run(engine, talk, max_queue=1000)
    assert max(map(len, engine.batches)) == 4


def test_a_failure_is_told_to_those_of_its_batch_alone() -> None:
    engine = Engine()

    async def talk(batcher: Batcher) -> None:
        with pytest.raises(FloatingPointError, match="thirteen"):
            await ask(batcher, 12, 13)
        assert await ask(batcher, 14) == [14]

    run(engine, talk)


def test_who_has_given_up_is_not_computed() -> None:
    engine = Engine()
    engine.go.clear()

    async def talk(batcher: Batcher) -> None:
        first = asyncio.create_task(ask(batcher, 1))
        while not engine.batches:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(ask(batcher, 2))
        await asyncio.sleep(0.01)
        second.cancel()
        third = asyncio.create_task(ask(batcher, 3))
        await asyncio.sleep(0.01)
        engine.go.set()
        assert await asyncio.gather(first, third) == [[1], [3]]

    run(engine, talk)
    assert engine.batches == [[1], [3]]


def test_a_full_queue_says_when_to_come_back() -> None:
    engine = Engine()
    engine.go.clear()

    async def talk(batcher: Batcher) -> None:
        first = asyncio.create_task(ask(batcher, 1, 2, 3))
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError, match="at most 4 images .* try again in 1 s"):
            await ask(batcher, 4, 5)
        engine.go.set()
        await first
        assert await ask(batcher, 4, 5) == [4, 5]

    assert run(engine, talk, max_queue=4).num_admitted == 0


def test_stopping_answers_what_has_been_admitted() -> None:
    engine = Engine()
    answers = []

    async def talk(batcher: Batcher) -> None:
        for n in range(9):
            task = asyncio.create_task(ask(batcher, n))
            task.add_done_callback(lambda done: answers.append(done.result()))
        await asyncio.sleep(0)

    run(engine, talk)
    assert sorted(answers) == [[n] for n in range(9)]
