"""What goes in and out, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from softonce.serving import problems
from softonce.serving.bodies import FIELD, FORM_TYPE, JSON_TYPE, RAW_TYPES, EncodedImages


class CandidateBody(BaseModel):
    """A class and how probable it is."""

    index: int
    class_: str = Field(alias="class")
    prob: float = Field(ge=0, le=1, description="softmax(logits / temperature), calibrated.")
    logit: float = Field(description="The network's own number, before the temperature.")


class RecordBody(BaseModel):
    """The prediction of one image, or why there is none."""

    path: str | None = Field(description="The name that came with the image.")
    pred: int | None
    class_: str | None = Field(alias="class")
    prob: float | None
    top: list[CandidateBody] = Field(description="The most probable classes, the first one first.")
    error: str | None = Field(description="Why this image could not be read.")
    abstain: bool | None = Field(
        None, description="Whether the answer is withheld; only of a classifier with a threshold."
    )
    set: list[str] | None = Field(
        None,
        description="Classes, the most probable one first, of which one is right as often as was "
        "asked for; only of a classifier that makes sets.",
    )
    unlike: bool | None = Field(
        None,
        description="Whether it is unlike the images of training; only of a classifier that marks "
        "these.",
    )


class PredictionsBody(BaseModel):
    """A record for each image, in the order of the request."""

    predictions: list[RecordBody]


class ProblemBody(BaseModel):
    """A problem as in RFC 9457."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What was expected, what was found, what to do.")
    predictions: list[RecordBody] | None = Field(
        None, description="With 422 of /v1/predict: the reason for each image."
    )


class ModelBody(BaseModel):
    """What the model says of itself, and what the service allows."""

    name: str
    version: str = Field(description="The beginning of the SHA-256 of its file.")
    arch: str
    classes: list[str]
    preprocessing: dict[str, Any]
    temperature: float
    training: dict[str, Any]
    decisions: dict[str, Any] = Field(
        description="Rules of abstention, of sets and of novelty, if any."
    )
    engine: str
    limits: dict[str, float]


class ModelName(BaseModel):
    """A model of the service."""

    name: str
    version: str


class ModelsBody(BaseModel):
    """The models of the service."""

    models: list[ModelName]


class Health(BaseModel):
    """Whether all is well."""

    status: str


_WHY = {
    400: "The body or a parameter is not what it should be.",
    401: "The bearer token is missing or wrong.",
    404: "There is no model of this name.",
    408: "The body did not arrive in time.",
    413: "The body is too long, or there are too many images.",
    415: "The Content-Type is none that is taken.",
    422: "None of the images could be read; `predictions` has the reason for each.",
    429: "The queue is full; Retry-After says when to come back, in seconds.",
    500: "The network or the service failed.",
    503: "The service is stopping, or has too many connections.",
    504: "The answer took too long.",
}


def problems_of(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documented answers of these statuses."""
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        found[status] = {"description": _WHY[status], "content": content}
        if status == 429:
            found[status]["headers"] = {
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
            }
    return found


def predict_body() -> dict[str, Any]:
    """Return the three forms of a body with images."""
    raw = {"schema": {"type": "string", "format": "binary", "minLength": 1}}
    files = {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}
    form = {
        "type": "object",
        "properties": {FIELD: files},
        "required": [FIELD],
        "additionalProperties": False,
    }
    return {
        "description": "One raw image; or files in the form's field `images`; or JSON with base64.",
        "required": True,
        "content": {
            **dict.fromkeys(RAW_TYPES, raw),
            FORM_TYPE: {"schema": form},
            JSON_TYPE: {"schema": {"$ref": "#/components/schemas/EncodedImages"}},
        },
    }


def add_schemas(document: dict[str, Any]) -> None:
    """Add the schemas that routes refer to without FastAPI's knowing."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in (EncodedImages, ProblemBody, PredictionsBody):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
