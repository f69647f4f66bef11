"""What every answer has: headers that make a browser careful, and its place among the metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from softonce.serving.connection import connection_of
from softonce.serving.pages import POLICY
from softonce.serving.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Container

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from softonce.serving.service import Service

_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
_CLOSE = (b"connection", b"close")

PROBES = ("/healthz", "/readyz", "/metrics")
"""What is answered however many connections there are."""


class Frame:
    """Wraps the application; while the service stops, each connection ends with its answer.

    Args:
        app: the application.
        service: is asked whether it stops, and counts.
        paths: that are counted by name; the others together.
    """

    def __init__(self, app: ASGIApp, service: Service, paths: Container[str]) -> None:
        self.app, self.service, self.paths = app, service, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500
        connection = connection_of(scope)

        async def send_framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                lost = None if connection is None else connection.lost_status
                status = lost or message["status"]
                message["headers"] = [*message["headers"], *_HEADERS]
                if self.service.is_stopping:
                    message["headers"].append(_CLOSE)
            await send(message)

        is_refused = connection and connection.in_reserve and scope["path"] not in PROBES
        try:
            await (_no_place() if is_refused else self.app)(scope, receive, send_framed)
        finally:
            route = scope["path"] if scope["path"] in self.paths else "other"
            self.service.metrics.request(route, status, time.perf_counter() - start)


def _no_place() -> ASGIApp:
    return ProblemError(
        503,
        f"expected one of {', '.join(PROBES)} while as many connections are open as are allowed, "
        "found another request: try again in 1 s",
        headers={"Retry-After": "1", "Connection": "close"},
    ).response()
