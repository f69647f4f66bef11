"""Turns: a request with much work holds up nobody with little, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import io
import struct
import threading
import zlib
from collections.abc import Awaitable, Callable
from functools import partial

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from serving.service_beside import FakeEngine, expected_record, noise, picture, raw, running

from softonce.machine import usable_cores, usable_memory
from softonce.serving.fairness import FairQueue
from softonce.serving.readers import Readers


def test_owners_take_turns_whoever_came_first() -> None:
    queue = FairQueue[str]()
    for owner in "abc":
        for number in range(3):
            queue.push(owner, f"{owner}{number}", cost=1)
    served = [queue.pop() for _ in range(len(queue))]
    assert [sorted(served[at : at + 3]) for at in (0, 3, 6)] == [
        [f"{owner}{number}" for owner in "abc"] for number in range(3)
    ]


def test_a_small_piece_goes_before_large_ones_that_were_there_first() -> None:
    queue = FairQueue[str]()
    for owner in range(50):
        queue.push(owner, "large", cost=49e6)
    assert queue.pop() == "large"
    queue.push("late", "small", cost=1e3)
    assert queue.pop() == "small"


def test_a_large_piece_is_served_at_last_however_many_small_ones_come() -> None:
    queue = FairQueue[str]()
    queue.push("large", "large", cost=1000)
    served = []
    for owner in range(3000):
        queue.push(owner, "small", cost=1)
        served.append(queue.pop())
    assert "large" in served


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 50), st.booleans()), max_size=200)
)
def test_nothing_is_lost_and_an_owner_is_served_in_order(steps) -> None:
    queue, pushed, popped = FairQueue(), [], []
    for number, (owner, cost, takes) in enumerate(steps):
        queue.push(owner, (owner, number), cost=cost)
        pushed.append((owner, number))
        if takes:
            popped.append(queue.pop())
    popped += [queue.pop() for _ in range(len(queue))]
    assert sorted(popped) == sorted(pushed)
    for owner in "abcd":
        assert [one for one in popped if one[0] == owner] == [
            one for one in pushed if one[0] == owner
        ]
    assert not queue._ends
    assert not queue._waiting


# threads


def run(talk: Callable[[Readers], Awaitable[object]], **options: int) -> None:
    async def main() -> None:
        readers = Readers(**options)
        await asyncio.wait_for(talk(readers), 30)
        readers.shutdown()

    asyncio.run(main())


def test_pictures_that_fill_the_memory_are_decoded_one_after_the_other() -> None:
    lock, at_once, most = threading.Lock(), [0], [0]

    def decode(num_pixels: int) -> None:
        with lock:
            at_once[0] += num_pixels
            most[0] = max(most[0], at_once[0])
        threading.Event().wait(0.01)
        with lock:
            at_once[0] -= num_pixels

    async def talk(readers: Readers) -> None:
        sizes = (60, 60, 40, 40, 10, 500)  # the last one has room by itself only
        await asyncio.gather(*(readers.run(n, partial(decode, n), n) for n in sizes))

    run(talk, num_threads=4, pixels_at_once=100)
    assert most[0] == 500
    assert at_once[0] == 0


def test_who_gives_up_is_not_decoded_and_a_failure_is_told() -> None:
    done, go = [], threading.Event()

    async def talk(readers: Readers) -> None:
        first = asyncio.create_task(readers.run(1, go.wait, 1))
        second = asyncio.create_task(readers.run(2, partial(done.append, 2), 1))
        third = asyncio.create_task(readers.run(3, partial(done.append, 3), 1))
        await asyncio.sleep(0)
        second.cancel()
        go.set()
        await asyncio.gather(first, third)
        with pytest.raises(ZeroDivisionError):
            await readers.run(4, lambda: 1 // 0, 1)

    run(talk, num_threads=1)
    assert done == [3]


# requests


def plain_png(side: int) -> bytes:
    """Return a PNG of one colour, which is small as a file and large as a picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = zlib.compress((b"\0" + b"\xff" * side) * side, 1)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def form(data: bytes, count: int) -> list[tuple[str, tuple[str, bytes]]]:
    return [("images", (f"{n}.png", data)) for n in range(count)]


def test_the_pixels_of_a_request_have_a_limit() -> None:
    with running(FakeEngine(), max_pixels=60_000_000) as client:
        large = plain_png(5000)
        answer = client.post("/v1/predict", files=form(large, 5))
        assert answer.status_code == 413
        assert answer.json()["detail"].startswith(
            "expected at most 120,000,000 pixels in a request, found 125,000,000: send several"
        )
        assert raw(client, large).status_code == 200


def test_small_requests_are_answered_while_large_ones_are_decoded() -> None:
    large, answered = plain_png(6000), []

    def send_large(client: httpx.Client) -> None:
        answer = client.post("/v1/predict", files=form(large, 2))
        answered.append(("large", answer.status_code))

    with running(FakeEngine()) as client:
        threads = [threading.Thread(target=send_large, args=(client,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for seed in range(5):
            status = raw(client, noise(seed)).status_code
            answered.append(("small", status))
        for thread in threads:
            thread.join()
    assert [status for _, status in answered] == [200] * 9
    assert answered.index(("small", 200)) < len(answered) - 1 - answered[::-1].index(("large", 200))


def test_a_picture_is_the_same_however_large_it_was_and_whoever_decodes() -> None:
    """Above and below the size from which a picture has a turn of its own."""
    engine = FakeEngine()
    with running(engine) as client:
        for side in (700, 1400):
            file = io.BytesIO()
            Image.effect_noise((side, side), 50).convert("RGB").save(file, "JPEG")
            (record,) = raw(client, file.getvalue()).json()["predictions"]
            assert record == expected_record(file.getvalue(), engine)
        assert raw(client, picture()).status_code == 200


# a container


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "6400000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu.max": "nonsense"}, 8),
        ({"cpu.max": "5 0"}, 8),
    ],
)
def test_the_cores_of_a_container(files, cores, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    write(tmp_path, files)
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory.max": "536870912\n"}, 2**29),
        ({"memory/memory.limit_in_bytes": "1048576\n"}, 2**20),
        ({"memory.max": "max\n"}, None),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({"memory.max": "0"}, None),
    ],
)
def test_the_memory_of_a_container(files, limit, tmp_path) -> None:
    write(tmp_path, files)
    assert usable_memory(tmp_path) == (limit or usable_memory(tmp_path / "nothing"))


def write(folder, files) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
