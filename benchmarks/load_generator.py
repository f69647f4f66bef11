"""Requests to a service over persistent connections, as many as it takes or at a fixed rate.

Runs as a process of its own beside the service that `serving.py` measures, and prints one JSON
line: requests, seconds, milliseconds of the median and the 99th percentile, and the statuses.

At a fixed rate the requests come at random (exponential gaps), and each one's time counts from when
it was due, whether a connection was free by then or not: a service that stalls is not spared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections import Counter, deque
from pathlib import Path


class Connection(asyncio.Protocol):
    """One request at a time; `answer` resolves to the status when its answer is whole."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin with nothing received."""
        self.transport, self.received = transport, b""
        self.answer: asyncio.Future[int] | None = None

    def ask(self, request: bytes) -> asyncio.Future[int]:
        """Send a request, and return what becomes its status."""
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.answer

    def data_received(self, data: bytes) -> None:
        """Collect the answer until it is whole."""
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(body) >= length:
            self.received = b""
            self.answer.set_result(int(head[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what waits for an answer."""
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error or ConnectionError("closed"))


class Load:
    """What is asked, and what came back."""

    def __init__(self, requests: list[bytes]) -> None:
        self.requests = requests
        self.seconds: list[float] = []
        self.statuses: Counter[int] = Counter()

    async def ask(self, connection: Connection, due: float) -> None:
        """Send the next request, and note when it was due."""
        request = self.requests[sum(self.statuses.values()) % len(self.requests)]
        self.statuses[await connection.ask(request)] += 1
        self.seconds.append(time.perf_counter() - due)

    async def saturate(self, connections: list[Connection], until: float) -> None:
        """Ask again as soon as there is an answer, on every connection."""

        async def talk(connection: Connection) -> None:
            while (now := time.perf_counter()) < until:
                await self.ask(connection, now)

        await asyncio.gather(*map(talk, connections))

    async def pace(self, connections: list[Connection], until: float, rate: float) -> None:
        """Ask at random times, `rate` a second on average."""
        draw, free = random.Random(0), deque(connections)
        room, asked = asyncio.Semaphore(len(connections)), []

        async def one(due: float) -> None:
            async with room:
                connection = free.popleft()
                await self.ask(connection, due)
                free.append(connection)

        due = time.perf_counter()
        while due < until:
            await asyncio.sleep(max(0, due - time.perf_counter()))
            asked.append(asyncio.create_task(one(due)))
            due += draw.expovariate(rate)
        await asyncio.gather(*asked)


def request_of(data: bytes, path: str, form: str) -> bytes:
    kind = "image/jpeg"
    if form:
        kind = "multipart/form-data; boundary=edge"
        field = f'--edge\r\nContent-Disposition: form-data; name="{form}"; filename="a.jpg"\r\n\r\n'
        data = field.encode() + data + b"\r\n--edge--\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


async def run(asked: argparse.Namespace) -> dict[str, object]:
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(Connection, "127.0.0.1", asked.port))[1]
        for _ in range(asked.connections)
    ]
    load = Load([request_of(p.read_bytes(), asked.path, asked.form) for p in asked.pictures])
    await load.saturate(connections, time.perf_counter() + 0.5)  # warm
    num_before = len(load.seconds)
    load.seconds.clear()
    load.statuses.clear()
    start = time.perf_counter()
    if asked.rate:
        await load.pace(connections, start + asked.seconds, asked.rate)
    else:
        await load.saturate(connections, start + asked.seconds)
    seconds = time.perf_counter() - start
    cuts = statistics.quantiles(load.seconds, n=100)
    return {
        "requests": len(load.seconds),
        "all_requests": num_before + len(load.seconds),
        "seconds": round(seconds, 3),
        "p50_ms": round(1000 * cuts[49], 2),
        "p99_ms": round(1000 * cuts[98], 2),
        "statuses": dict(load.statuses),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=float, default=0, help="requests a second; 0: what it takes")
    parser.add_argument("--path", default="/v1/predict")
    parser.add_argument("--form", default="", help="the field of a form; without one a raw body")
    print(json.dumps(asyncio.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
