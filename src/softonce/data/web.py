"""One file from an http(s) address, by the standard library: bounded in size and in time."""

from __future__ import annotations

import http.client
import time
import urllib.request

from softonce.data.images import MAX_BYTES
from softonce.errors import ImageError, describe_error

SOCKET_SECONDS = 20.0
"""How long one step of the connection may take."""

TOTAL_SECONDS = 120.0
"""How long a file may take as a whole; a server that sends a byte now and then is given up."""

_CHUNK_BYTES = 1 << 16
"""Read in pieces, between which size and time are looked at."""
_AGENT = "softonce (+https://pypi.org/project/softonce)"  # some sites refuse urllib's own


def fetch_bytes(url: str) -> bytes:
    """Return the file at an http(s) address.

    Args:
        url: redirects are followed, to http(s) addresses only.

    Raises:
        ImageError: if it cannot be had, is too long or takes too long.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise ImageError("no http or https address")
    try:
        request = urllib.request.Request(url, headers={"User-Agent": _AGENT})  # noqa: S310 - as checked
        with _OPENER.open(request, timeout=SOCKET_SECONDS) as response:
            return _read(response, time.monotonic() + TOTAL_SECONDS)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ImageError(describe_error(error, 300)) from error


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := response.read1(_CHUNK_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BYTES:
            raise ImageError(f"more than {MAX_BYTES:,} bytes, the most that is allowed")
        if time.monotonic() > deadline:
            raise ImageError(f"not whole after {TOTAL_SECONDS:g} s ({size:,} bytes)")
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and size < int(announced):
        raise ImageError(f"the connection broke after {size:,} of {announced} bytes")
    return b"".join(chunks)


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects as browsers do; urllib would go on to ftp, too."""

    def redirect_request(self, *args: object) -> urllib.request.Request | None:
        if not str(args[-1]).lower().startswith(("http://", "https://")):
            raise ImageError("redirected to an address that is not http or https")
        return super().redirect_request(*args)  # type: ignore[arg-type] # passed on as they came


_OPENER = urllib.request.build_opener(_WebOnly)
