"""A request that is refused: the answer is a problem of RFC 9457, in words that help."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from softonce.errors import SoftonceError

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE = "application/problem+json"
CLIENT_LEFT = 499
"""Counted for a client that did not wait for its answer, as nginx has made usual."""


class ProblemError(SoftonceError):
    """Why a request is not answered with predictions.

    Args:
        status: the HTTP status.
        detail: what was expected, what was found, what to do.
        headers: further headers of the answer.
        members: further members of the body.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.members = status, detail, headers, members

    def response(self) -> Response:
        """Return the answer."""
        return Response(
            _body(self.status, self.detail, self.members),
            status_code=self.status,
            headers=dict(self.headers or {}),
            media_type=MEDIA_TYPE,
        )


def raw_problem(status: int, detail: str, headers: Mapping[str, str]) -> bytes:
    """Return an answer as it goes over the wire, for what never becomes a request."""
    body = _body(status, detail, {}).encode()
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"content-type: {MEDIA_TYPE}"]
    lines += [f"content-length: {len(body)}", "connection: close"]
    lines += [f"{name.lower()}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _body(status: int, detail: str, members: Mapping[str, Any]) -> str:
    title = "Client Closed Request" if status == CLIENT_LEFT else HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}
    return json.dumps(body, ensure_ascii=False)
