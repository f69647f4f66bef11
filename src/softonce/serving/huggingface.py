"""The shape of Hugging Face's inference service for image classification.

Source:
    https://huggingface.co/docs/inference-providers/tasks/image-classification
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ValidationError

from softonce.prediction.predictor import Unreadable
from softonce.serving.base64_text import decode_base64
from softonce.serving.bodies import JSON_TYPE, Upload, uploads_of
from softonce.serving.problems import ProblemError
from softonce.serving.service import unreadable

if TYPE_CHECKING:
    from softonce.prediction.predictor import Record
    from softonce.serving.service import Service

_TOP_K = 5  # as their pipeline has it


class _Parameters(BaseModel):
    top_k: int | None = None
    function_to_apply: Literal["softmax", "none", "sigmoid"] | None = None


class _Inputs(BaseModel):
    inputs: str
    parameters: _Parameters | None = None


def huggingface_routes(service: Service) -> APIRouter:
    """Return `POST /` and `POST /models/NAME`: bytes, or base64 in JSON, to labels with scores."""
    router = APIRouter(include_in_schema=False)

    @router.post("/")
    async def classify(request: Request) -> Response:
        """Classify with the first model."""
        return await _classify(service, request, None)

    @router.post("/models/{name}")
    async def classify_with(request: Request, name: str) -> Response:
        """Classify with the model of this name."""
        return await _classify(service, request, name)

    return router


async def _classify(service: Service, request: Request, name: str | None) -> Response:
    async with service.intake.body(request) as body, service.answering(name) as hosted:
        content_type = request.headers.get("content-type", "")
        is_json = content_type.lower().startswith(JSON_TYPE)
        read = lambda: _read(body) if is_json else (_raw(body, content_type), _Parameters())  # noqa: E731 - of two forms
        upload, asked = await service.decoder.run(read, len(body))
        squares, rows = await service.logits([upload], hosted)
        if isinstance(squares[0], Unreadable):
            raise ProblemError(422, unreadable(squares[0].reason))
        top_k = max(1, asked.top_k or _TOP_K)
        (record,) = hosted.predictor.records([None], squares, rows, top_k=top_k)
    return Response(json.dumps(_labels(record, asked)), media_type=JSON_TYPE)


def _labels(record: Record, asked: _Parameters) -> list[dict[str, object]]:
    key: Literal["logit", "prob"] = "logit" if asked.function_to_apply == "none" else "prob"
    return [{"label": each["class"], "score": each[key]} for each in record["top"]]


def _raw(body: bytes, content_type: str) -> Upload:
    return uploads_of(body, content_type, max_images=1)[0]


def _read(body: bytes) -> tuple[Upload, _Parameters]:
    try:
        found = _Inputs.model_validate_json(body)
        upload = Upload(decode_base64(found.inputs))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))[:80] or "the body"
        raise ProblemError(
            400,
            'expected {"inputs": "<base64>", "parameters": {"top_k": 5}}, found at '
            f"{where}: {first['msg'][:200]}",
        ) from error
    except ValueError as error:
        raise ProblemError(400, f"expected base64 in inputs, found: {error}") from error
    asked = found.parameters or _Parameters()
    if asked.function_to_apply == "sigmoid":
        raise ProblemError(
            400,
            "expected function_to_apply softmax or none, found sigmoid: the classes exclude each "
            "other, and their logits are no log-odds of each by itself",
        )
    return upload, asked
