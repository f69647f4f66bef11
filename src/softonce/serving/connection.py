"""One connection: HTTP as uvicorn speaks it, with an end to everything that a client may delay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from softonce.serving.crowd import Crowd, Stage
from softonce.serving.problems import CLIENT_LEFT, raw_problem

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from starlette.types import Scope

IDLE_SECONDS = 65.0
"""That a connection may say nothing: more than the minute of most proxies."""

HEAD_SECONDS = 10.0
"""From the first byte of a request to the end of its head, which most clients send at once."""

RESERVE_SECONDS = 2.0
"""The same, from the connection, in the reserve: a probe has nothing to think about."""

DRAIN_SECONDS = 10.0
"""In which a client takes what is left of its answer, once the connection is to end."""

MAX_HEAD = 64 * 2**10
_RESERVE_HEAD = 8 * 2**10
_EXTENSION = "softonce.connection"


@dataclass(frozen=True)
class Deadlines:
    """Seconds that the stages of a connection may take.

    Args:
        body: for a body.
        answer: from the body to its answer.
        idle: without a word.
        head: from the first byte of a request to the end of its head.
    """

    body: float
    answer: float
    idle: float = IDLE_SECONDS
    head: float = HEAD_SECONDS

    @property
    def whole(self) -> float:
        """From the head of a request until its answer is taken."""
        return self.body + self.answer + self.idle


class Connection(HttpToolsProtocol):
    """A connection each of whose stages has one deadline, which no further byte puts off.

    Args:
        crowd: gives it its place.
        deadlines: of its stages.
        options: of uvicorn's protocol.
    """

    def __init__(self, crowd: Crowd, deadlines: Deadlines, **options: Any) -> None:
        super().__init__(**options)
        self._crowd, self._deadlines = crowd, deadlines
        self._timer: asyncio.TimerHandle | None = None
        self._head = 0
        self._is_waiting = self.in_reserve = False
        self._fault = ""
        self.lost_status: int | None = None
        """What to count for a request whose connection has gone: 499 if the client left."""

    # Stages

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, and wait for a request."""
        super().connection_made(transport)
        self.in_reserve = not self._crowd.enter(self)
        self._wait(RESERVE_SECONDS if self.in_reserve else self._deadlines.idle)

    def _wait(self, seconds: float) -> None:
        self._is_waiting = True
        self._head = 0
        self._end_in(seconds, self._end_idle)

    def data_received(self, data: bytes) -> None:
        """Read on, unless a head has no end."""
        if self._is_waiting:
            self._is_waiting = False
            if not self.in_reserve:
                self._end_in(self._deadlines.head, self._end_late)
        self._head += len(data)
        super().data_received(data)
        if self._head > (limit := _RESERVE_HEAD if self.in_reserve else MAX_HEAD):
            self.send_400_response(
                f"expected a head of at most {limit:,} bytes, found a longer one"
            )

    def on_message_begin(self) -> None:
        """Let the application ask for the connection of a request."""
        super().on_message_begin()
        self.scope["extensions"] = {_EXTENSION: {"connection": self}}

    def on_headers_complete(self) -> None:
        """Check what uvicorn does not, and hand the request over."""
        self._check_host()
        super().on_headers_complete()
        self._is_waiting = False
        if self.in_reserve:
            self.cycle.keep_alive = False
        self._crowd.move(self, Stage.ANSWERING if self.pipeline else Stage.SENDING)
        self._end_in(self._deadlines.whole, self._end_stuck)

    def on_body(self, body: bytes) -> None:
        """Read on; what belongs to a body is limited elsewhere."""
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to count the next head."""
        self._head = 0
        super().on_message_complete()
        if not self.cycle.response_complete:
            self._crowd.move(self, Stage.ANSWERING)
        elif not self._is_waiting:  # it was answered before its body had arrived
            self._wait(self._deadlines.idle)

    def on_response_complete(self) -> None:
        """Wait for the next request; what is left of the body of this one has as long as any."""
        super().on_response_complete()
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            self._end_in(self._deadlines.idle, self._end_stuck)
        elif not self.cycle.response_complete:  # one that was pipelined begins
            self._end_in(self._deadlines.whole, self._end_stuck)
        elif self.cycle.more_body:
            self._crowd.move(self, Stage.IDLE)
            self._end_in(self._deadlines.body, self._end_idle)
        else:
            self._crowd.move(self, Stage.IDLE)
            self._wait(self._deadlines.idle)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a client that only writes no more; TLS knows no such thing."""
        is_asking = self.cycle is not None and not self.cycle.response_complete
        if not is_asking or self.cycle.more_body or self.scheme == "https":
            return False
        self.cycle.keep_alive = False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        if self._timer is not None:
            self._timer.cancel()
        self._crowd.leave(self)
        self.lost_status = self.lost_status or CLIENT_LEFT
        super().connection_lost(exc)

    # Ends

    def _end_in(self, seconds: float, end: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, end)

    def _end_idle(self) -> None:
        self._crowd.note("idle")
        self._close()

    def _end_late(self) -> None:
        self._crowd.note("head")
        self._refuse(
            408, f"expected the head of a request within {self._deadlines.head:g} s, found a part"
        )

    def _end_stuck(self) -> None:
        self._crowd.note("stuck")
        self.transport.abort()

    def shed(self) -> None:
        """End at once; a client whose body is arriving is told to come back."""
        if self.cycle is not None and not self.cycle.response_complete:
            detail = "expected fewer connections, found too many: try again in 1 s"
            self._refuse(503, detail, {"Retry-After": "1"})
        else:
            self._close()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; requests before it are answered first."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if self.pipeline or (cycle and not cycle.response_complete and not cycle.more_body):
            cycle.keep_alive = False
            self.transport.pause_reading()
            return
        other = "expected a request of HTTP/1.1, found one that cannot be parsed"
        self._refuse(400, self._fault or (msg if msg.startswith("expected") else other))

    def _refuse(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        if not self.transport.is_closing() and not self._has_begun_answer():
            self.transport.write(raw_problem(status, detail, headers or {}))
            self.lost_status = status
        self._close()

    def _has_begun_answer(self) -> bool:
        cycle = self.cycle
        return cycle is not None and cycle.response_started and not cycle.response_complete

    def _close(self) -> None:
        """Close; who does not take what is left to write is thrown out."""
        self.transport.close()
        self._end_in(DRAIN_SECONDS, self._end_stuck)

    def _check_host(self) -> None:
        """Raise unless there is one Host, as RFC 9112 section 3.2 asks of HTTP/1.1."""
        num_hosts = sum(name == b"host" for name, _ in self.headers)
        if num_hosts > 1 or (num_hosts == 0 and self.parser.get_http_version() == "1.1"):
            self._fault = f"expected one Host header, found {num_hosts}"
            raise ValueError(self._fault)


def connection_of(scope: Scope) -> Connection | None:
    """Return the connection of a request; there is none in front of an application by itself."""
    found: Connection | None = scope.get("extensions", {}).get(_EXTENSION, {}).get("connection")
    return found
