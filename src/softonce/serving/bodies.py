"""A body becomes pictures: a raw image, a form with files, or JSON with base64.

A name that the client gives is a label: no path of a request is ever opened.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from python_multipart import multipart
from python_multipart.exceptions import FormParserError

from softonce.plurals import format_count
from softonce.serving.base64_text import decode_base64
from softonce.serving.problems import ProblemError

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # what it says, we answer

FIELD = "images"
RAW_TYPES = ("application/octet-stream", "image/*")
FORM_TYPE, JSON_TYPE = "multipart/form-data", "application/json"
_MAX_NAME = 255


@dataclass(frozen=True)
class Upload:
    """One picture as it came.

    Args:
        data: the bytes of its file.
        name: the client's name for it, if any.
    """

    data: bytes
    name: str | None = None


class EncodedImage(BaseModel):
    """A picture in JSON."""

    model_config = ConfigDict(extra="forbid")

    data: str = Field(
        description="The bytes of the image file, in base64; a data URL may stand around it."
    )
    name: str | None = Field(None, max_length=_MAX_NAME, description="Comes back as `path`.")


class EncodedImages(BaseModel):
    """Pictures in JSON."""

    model_config = ConfigDict(extra="forbid")

    images: list[EncodedImage] = Field(min_length=1, description="In the order of the answer.")


def uploads_of(body: bytes, content_type: str, *, max_images: int) -> list[Upload]:
    """Return the pictures of a body.

    Args:
        body: as it came.
        content_type: the header; without one the body is a raw image.
        max_images: how many there may be.

    Raises:
        ProblemError: 415 if the type is another, 400 if the body is not of its type, 413
            if there are too many pictures.
    """
    kind = content_type.split(";", maxsplit=1)[0].strip().lower()
    if kind in ("", RAW_TYPES[0]) or kind.startswith("image/"):
        if not body:
            raise ProblemError(400, "expected the bytes of an image in the body, found 0 bytes")
        return [Upload(body)]
    if kind == FORM_TYPE:
        return _from_form(body, content_type, max_images)
    if kind == JSON_TYPE:
        return _from_json(body, max_images)
    raise ProblemError(
        415,
        f"expected a Content-Type of image/..., {FORM_TYPE} or {JSON_TYPE}, found {kind[:80]!r}: "
        'with curl, add -H "Content-Type: image/jpeg" to --data-binary, or use -F images=@FILE',
    )


def _from_form(body: bytes, content_type: str, max_images: int) -> list[Upload]:
    uploads: list[Upload] = []
    ends: list[bool] = []

    def on_file(file: multipart.File) -> None:
        _check_field(file.field_name)
        _check_count(len(uploads) + 1, max_images)
        file.file_object.seek(0)
        name = (file.file_name or b"").decode("utf-8", "replace")[:_MAX_NAME]
        uploads.append(Upload(file.file_object.read(), name or None))

    def on_field(field: multipart.Field) -> None:
        _check_field(field.field_name)
        raise ProblemError(
            400, f"expected files in the form's field {FIELD!r}, found text: use {_HINT}"
        )

    options = multipart.parse_options_header(content_type)[1]
    try:
        parser = multipart.FormParser(
            FORM_TYPE,
            on_field,
            on_file,
            on_end=lambda: ends.append(True),
            boundary=options.get(b"boundary"),
            config={"MAX_MEMORY_FILE_SIZE": len(body) + 1},  # nothing is written to the disk
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise ProblemError(400, f"expected a form as {FORM_TYPE}, found: {_line(error)}") from error
    if not ends:
        raise ProblemError(400, f"expected a whole form as {FORM_TYPE}, found one that ends early")
    if not uploads:
        raise ProblemError(
            400, f"expected files in the form's field {FIELD!r}, found none: use {_HINT}"
        )
    return uploads


_HINT = f"curl -F {FIELD}=@FILE"


def _check_field(name: bytes | None) -> None:
    if name != FIELD.encode():
        found = (name or b"").decode("utf-8", "replace")[:80]
        raise ProblemError(
            400, f"expected the form's field {FIELD!r}, found {found!r}: use {_HINT}"
        )


def _from_json(body: bytes, max_images: int) -> list[Upload]:
    try:
        images = EncodedImages.model_validate_json(body).images
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise ProblemError(
            400,
            'expected {"images": [{"data": "<base64>", "name": "optional"}]}, found at '
            f"{where[:80]}: {_line(first['msg'])}",
        ) from error
    _check_count(len(images), max_images)
    return [
        Upload(_decode_base64(image.data, index), image.name) for index, image in enumerate(images)
    ]


def _decode_base64(data: str, index: int) -> bytes:
    try:
        return decode_base64(data)
    except ValueError as error:
        raise ProblemError(
            400, f"expected base64 in images.{index}.data, found: {_line(error)}"
        ) from error


def _check_count(found: int, max_images: int) -> None:
    if found > max_images:
        raise ProblemError(
            413,
            f"expected at most {format_count(max_images, 'image')} in a request, found more: "
            "send several",
        )


def _line(error: object) -> str:
    return " ".join(str(error).split())[:200]
