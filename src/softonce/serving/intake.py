"""The bytes of requests: none longer, slower or in larger number than the service can bear."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from softonce.serving.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

BODIES_AT_ONCE = 16
"""All bodies in memory together are at most as long as this many of the longest."""


class Intake:
    """Reads the bodies of requests, and counts the bytes that are in memory.

    Args:
        max_bytes: length of the longest body.
        seconds: in which a body has to arrive.
    """

    def __init__(self, *, max_bytes: int, seconds: float) -> None:
        self.max_bytes, self.seconds = max_bytes, seconds
        self.num_bytes = 0

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """Read the body; its bytes count until the block ends.

        Raises:
            ProblemError: 413 if it is too long, 408 if it is too slow, 429 if others fill
                the memory.
        """
        chunks: list[bytes] = []
        try:
            await self._read(request, chunks)
            yield b"".join(chunks)
        finally:
            self.num_bytes -= sum(map(len, chunks))

    async def _read(self, request: Request, chunks: list[bytes]) -> None:
        try:
            async with asyncio.timeout(self.seconds):
                await self._collect(request, chunks)
        except TimeoutError:
            raise ProblemError(
                408,
                f"expected the whole body within {self.seconds:g} s, found a part of it: send "
                "fewer or smaller images at once",
                headers={"Connection": "close"},
            ) from None

    async def _collect(self, request: Request, chunks: list[bytes]) -> None:
        _check_encoding(request.headers.get("content-encoding", ""))
        declared = request.headers.get("content-length", "")
        length = 0
        if declared.isdecimal() and int(declared) > 2 * self.max_bytes:
            raise self._too_long()
        async for chunk in request.stream():
            length += len(chunk)
            if length <= self.max_bytes:
                self._count(chunk, chunks)
            elif length > 2 * self.max_bytes:
                raise self._too_long()
            # In between it is heard to its end: a client that still writes would miss the answer.
        if length > self.max_bytes:
            raise self._too_long()

    def _count(self, chunk: bytes, chunks: list[bytes]) -> None:
        if self.num_bytes + len(chunk) > BODIES_AT_ONCE * self.max_bytes:
            raise ProblemError(
                429,
                "expected fewer bytes of images at a time in the service, found its memory full: "
                "try again in 1 s",
                headers={"Retry-After": "1", "Connection": "close"},
            )
        self.num_bytes += len(chunk)
        chunks.append(chunk)

    def _too_long(self) -> ProblemError:
        return ProblemError(
            413,
            f"expected a body of at most {self.max_bytes:,} bytes, found a longer one: send fewer "
            "or smaller images",
            headers={"Connection": "close"},
        )


def _check_encoding(coding: str) -> None:
    """Refuse compressed bodies: pictures are compressed, and a small body could be a large one."""
    if coding.strip().lower() not in ("", "identity"):
        raise ProblemError(
            415,
            f"expected a body without Content-Encoding, found {coding[:40]!r}: send the images as "
            "they are, which are compressed already",
            headers={"Accept-Encoding": "identity"},
        )
