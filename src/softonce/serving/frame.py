"""What every request has: an id, headers that make a browser careful, a line of log, a metric."""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import TYPE_CHECKING

from softonce.console import LOG
from softonce.serving.connection import connection_of
from softonce.serving.logs import ACCESS, describe_request
from softonce.serving.pages import POLICY
from softonce.serving.problems import CLIENT_LEFT, ProblemError

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
_ID = b"x-request-id"
_USABLE_ID = re.compile(rb"[\x21-\x7e]{1,128}")

PROBES = ("/healthz", "/readyz", "/metrics")
"""What is answered however many connections there are, and logged only if it fails."""


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
        connection, request_id = connection_of(scope), _id_of(scope)

        async def send_framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                lost = None if connection is None else connection.lost_status
                status = lost or message["status"]
                message["headers"] = [*message["headers"], *_HEADERS, (_ID, request_id.encode())]
                if self.service.is_stopping:
                    message["headers"].append(_CLOSE)
            await send(message)

        is_refused = connection and connection.in_reserve and scope["path"] not in PROBES
        try:
            await (_no_place() if is_refused else self.app)(_as_get(scope), receive, send_framed)
        finally:
            self._note(scope, status, time.perf_counter() - start, request_id)

    def _note(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        path = scope["path"]
        self.service.metrics.request(path if path in self.paths else "other", status, seconds)
        if status < 400 and (path in PROBES or path.startswith("/v2/health/")):
            return
        fields = {
            "request_id": request_id,
            "client": (scope.get("client") or ("-",))[0],
            "method": scope["method"],
            "path": path,
            "status": status,
            "seconds": round(seconds, 6),
        }
        if self.service.config.logs_requests:
            if ACCESS.isEnabledFor(logging.INFO):
                ACCESS.info("request", extra={"request": fields})
        elif status == CLIENT_LEFT:
            LOG.info("a client left: %s", describe_request(fields))


def _id_of(scope: Scope) -> str:
    """Return the id that came with the request, if it can be a header and a word of a log."""
    found = next((value for name, value in scope["headers"] if name == _ID), b"")
    return found.decode() if _USABLE_ID.fullmatch(found) else secrets.token_hex(8)


def _as_get(scope: Scope) -> Scope:
    """Let HEAD be answered as GET; the connection knows what was asked, and leaves the body out."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


def _no_place() -> ASGIApp:
    return ProblemError(
        503,
        f"expected one of {', '.join(PROBES)} while as many connections are open as are allowed, "
        "found another request: try again in 1 s",
        headers={"Retry-After": "1", "Connection": "close"},
    ).response()
