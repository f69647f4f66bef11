"""The routes, and the OpenAPI document that describes them."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from softonce import __version__
from softonce.serving import schema
from softonce.serving.auth import check_token
from softonce.serving.frame import Frame
from softonce.serving.huggingface import huggingface_routes
from softonce.serving.kserve import health_routes_v2, kserve_routes
from softonce.serving.metrics import CONTENT_TYPE
from softonce.serving.pages import page_routes
from softonce.serving.problems import CLIENT_LEFT, ProblemError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp

    from softonce.serving.service import Service

MAX_TOP_K = 1000
TopK = Annotated[
    int, Query(ge=1, le=MAX_TOP_K, description="How many classes to name for each image.")
]
ModelName = Annotated[
    str | None, Query(max_length=100, description="Which model answers, if there are several.")
]
_PROBLEMS = {ClientDisconnect, HTTPException, ProblemError, RequestValidationError, Exception}

Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


def create_app(service: Service, token: str | None = None) -> ASGIApp:
    """Return the application of a service.

    Args:
        service: answers; it is started and stopped with the application.
        token: what `/v1/...` and `/metrics` ask for, if anything.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG001 - FastAPI's signature
        service.start()
        yield
        await service.stop()

    app = FastAPI(
        title="softonce",
        version=__version__,
        description="Images become calibrated predictions.",
        lifespan=lifespan,
        redirect_slashes=False,  # its Location would be made of the client's Host
        docs_url=None,  # FastAPI's own page loads its script from elsewhere
        redoc_url=None,
        exception_handlers=dict.fromkeys(_PROBLEMS, _answer_problem),
    )
    app.routes.extend(pages := page_routes())
    app.include_router(_open_routes(service))
    app.include_router(health_routes_v2(service))
    guards = [] if token is None else [_guard(token)]
    app.include_router(_guarded_routes(service, token))
    app.include_router(huggingface_routes(service), dependencies=guards)
    app.include_router(kserve_routes(service), dependencies=guards)
    document = app.openapi()
    schema.add_schemas(document)
    paths = {*document["paths"], *(page.path for page in pages)}
    return Frame(_with_cors(app, service.config.cors), service, paths)


def _with_cors(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """Let pages of these origins ask from their browser, with the token if there is one."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
        expose_headers=["Retry-After", "X-Request-ID"],
    )


def _open_routes(service: Service) -> APIRouter:
    """Return the routes that everybody may ask."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", response_model=schema.Health)
    async def healthz() -> Response:
        """Say that the process answers."""
        return _json({"status": "ok"})

    @router.get("/readyz", response_model=schema.Health, responses=schema.problems_of(503))
    async def readyz() -> Response:
        """Return whether to send requests: not any more once the service is stopping."""
        if service.is_stopping:
            raise ProblemError(503, "expected a service that goes on, found one that is stopping")
        return _json({"status": "ready"})

    return router


def _guarded_routes(service: Service, token: str | None) -> APIRouter:
    """Return the routes that ask for the token, if there is one."""
    guards, statuses = ([], ()) if token is None else ([_guard(token)], (401,))
    router = APIRouter(dependencies=guards, responses=schema.problems_of(*statuses))

    @router.post(
        "/v1/predict",
        tags=["predict"],
        response_model=schema.PredictionsBody,
        responses=schema.problems_of(400, 404, 408, 413, 415, 422, 429, 500, 503, 504),
        openapi_extra={"requestBody": schema.predict_body()},
    )
    async def predict(request: Request, top_k: TopK = 5, model: ModelName = None) -> Response:
        """Classify one image or several; 200 if at least one of them could be read."""
        async with service.intake.body(request) as body:
            content_type = request.headers.get("content-type", "")
            records = await service.answer(body, content_type, top_k=top_k, model=model)
        return _json({"predictions": records})

    @router.get(
        "/v1/model",
        tags=["predict"],
        response_model=schema.ModelBody,
        responses=schema.problems_of(400, 404),
    )
    async def describe(model: ModelName = None) -> Response:
        """Say what a model is, and what the limits are."""
        return _json(service.describe(model))

    @router.get("/v1/models", tags=["predict"], response_model=schema.ModelsBody)
    async def models() -> Response:
        """Name the models; the first one answers if none is named."""
        listed = [{"name": each.name, "version": each.version} for each in service.models]
        return _json({"models": listed})

    @router.get("/metrics", tags=["health"], response_class=_MetricsResponse)
    async def metrics() -> Response:
        """Count, for Prometheus."""
        return _MetricsResponse(service.metrics.text())

    return router


class _MetricsResponse(Response):
    media_type = CONTENT_TYPE


def _guard(token: str) -> Any:
    """Return the dependency that refuses who does not bring the token."""

    async def guard(found: Bearer) -> None:
        check_token(found.credentials if found else None, token)

    return Depends(guard)


async def _answer_problem(request: Request, error: Exception) -> Response:
    """Return what went wrong as a problem; of our own mistakes the log has the trace."""
    if isinstance(error, ProblemError):
        if request.url.path == "/" or request.url.path.startswith(("/v2", "/models/")):
            error.members.setdefault("error", error.detail)  # where those clients look
        return error.response()
    if isinstance(error, ClientDisconnect):  # nobody reads it, but it is counted
        detail = "expected a client that waits for its answer, found none"
        return ProblemError(CLIENT_LEFT, detail).response()
    if isinstance(error, RequestValidationError):
        first: dict[str, Any] = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return ProblemError(400, f"expected another value in {where}: {first['msg']}").response()
    if isinstance(error, HTTPException):
        found = f"{request.method} {request.url.path[:80]}"
        detail = f"expected one of the routes and methods that /docs shows, found {found}"
        headers = dict(error.headers or {})
        if "GET" in headers.get("Allow", ""):
            headers["Allow"] += ", HEAD"  # which the frame answers
        return ProblemError(error.status_code, detail, headers=headers).response()
    detail = "expected an answer, found a mistake of the service: its log has the trace"
    return ProblemError(500, detail, headers={"Connection": "close"}).response()


def _json(body: dict[str, Any]) -> Response:
    return Response(json.dumps(body, ensure_ascii=False), media_type="application/json")
