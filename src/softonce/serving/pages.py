"""The page at `/` and the one at `/docs`: files of this package, and nothing from elsewhere."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a browser may load for a page: what comes from here, and the picture just chosen."""

_FILES = {
    "/": ("index.html", "text/html"),
    "/docs": ("docs.html", "text/html"),
    "/web/style.css": ("style.css", "text/css"),
    "/web/page.js": ("page.js", "text/javascript"),
    "/web/docs.js": ("docs.js", "text/javascript"),
    "/favicon.ico": ("icon.svg", "image/svg+xml"),
}


def page_routes() -> list[Route]:
    """Return a route for each file; all are read once, so that no request opens any."""
    return [_route(path, *file) for path, file in _FILES.items()]


def _route(path: str, name: str, media_type: str) -> Route:
    content = (resources.files(__package__) / "web" / name).read_bytes()

    async def page(request: Request) -> Response:  # noqa: ARG001 - Starlette's signature
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return Route(path, page)
