"""Bad clients beside good ones: what the good ones notice of it, as a ratio to being alone."""

from __future__ import annotations

import math
import random
import socket
import statistics
import struct
import sys
import threading
import time
from contextlib import suppress

import httpx
import pytest
from serving.raw_http import PREDICT, connect, predict_request
from serving.service_beside import FakeEngine, noise, raw, running
from serving.test_fairness import form, plain_png

pytestmark = pytest.mark.slow

ENOUGH = 120


def latencies(client: httpx.Client, seconds: float) -> list[float]:
    """Ask again and again, and return how long each answer took, in seconds."""
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.perf_counter()
        assert raw(client, noise(len(found) % 30)).status_code == 200
        found.append(time.perf_counter() - begin)
        time.sleep(0.02)
    return found


def p99(values: list[float]) -> float:
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


def gone(other: socket.socket) -> bool:
    other.setblocking(False)
    try:
        return other.recv(65536) == b"" or gone(other)
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_a_thousand_connections_of_one_byte_harm_nobody() -> None:
    with running(FakeEngine(0.005)) as client:
        alone = latencies(client, 20)
        others, begin, statuses, all_gone = [], time.monotonic(), [], None
        for _ in range(1000):
            others.append(connect(client))
            others[-1].sendall(b"G")
        beside = []
        while (passed := time.monotonic() - begin) < ENOUGH:
            statuses.append(httpx.get(f"{client.base_url}/healthz").status_code)
            beside += latencies(client, 2)
            if all_gone is None and all(gone(other) for other in others):
                all_gone = passed
        for other in others:
            other.close()
    sys.stdout.write(
        f"health {set(statuses)} x {len(statuses)}, gone after {all_gone} s, p99 alone "
        f"{1000 * p99(alone):.1f} ms of {len(alone)}, beside {1000 * p99(beside):.1f} ms of "
        f"{len(beside)}\n"
    )
    assert set(statuses) == {200}
    assert all_gone is not None
    assert all_gone < 70
    assert p99(beside) <= 2 * p99(alone)


def test_sixty_four_huge_pictures_are_refused_or_wait_for_small_ones() -> None:
    huge, answer, small = plain_png(7000), [], []

    def send(client: httpx.Client) -> None:
        answer.append(client.post("/v1/predict", files=form(huge, 64)).status_code)

    with running(FakeEngine(), timeout=60) as client:
        thread = threading.Thread(target=send, args=(client,))
        thread.start()
        time.sleep(0.5)
        for seed in range(10):
            begin = time.perf_counter()
            assert raw(client, noise(seed)).status_code == 200
            small.append(time.perf_counter() - begin)
        thread.join()
    sys.stdout.write(f"the form: {answer}, small ones at most {max(small):.3f} s\n")
    assert answer == [413] or max(small) < 2


def leave(client: httpx.Client) -> None:
    with connect(client) as other:
        other.sendall(PREDICT + b"999\r\n\r\nx")
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def drip(client: httpx.Client) -> None:
    with connect(client) as other:
        for letter in b"POST /v1/predict HT":
            other.sendall(bytes([letter]))
            time.sleep(0.02)


def flood(client: httpx.Client) -> None:
    for _ in range(50):
        connect(client).close()


def lie(client: httpx.Client) -> None:
    with connect(client) as other:
        other.sendall(predict_request(noise(0))[:-40] + b"\r\n\r\nGET / HTTP/9.9\r\n\r\n")
        other.shutdown(socket.SHUT_WR)


def test_clients_that_leave_drip_flood_and_lie_harm_nobody() -> None:
    stop = threading.Event()

    def misbehave(client: httpx.Client, seed: int) -> None:
        draw = random.Random(seed)
        while not stop.is_set():
            with suppress(OSError):
                draw.choice((leave, drip, flood, lie))(client)
            time.sleep(0.05)

    with running(FakeEngine(0.005)) as client:
        alone = latencies(client, 20)
        bad = [threading.Thread(target=misbehave, args=(client, seed)) for seed in range(8)]
        for thread in bad:
            thread.start()
        beside = latencies(client, 40)
        stop.set()
        for thread in bad:
            thread.join()
        text = client.get("/metrics").text
    ratio = statistics.median(beside) / statistics.median(alone)
    sys.stdout.write(f"median beside bad clients: {ratio:.2f} of alone, {len(beside)} answers\n")
    assert ratio < 3
    assert 'status="500"' not in text
