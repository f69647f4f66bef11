"""The routes of the Open Inference Protocol (KServe version 2), which many clients speak."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import APIRouter, Request, Response
from PIL import Image

from softonce import __version__
from softonce.data.images import check_size, fit_image, to_mode, to_pixels
from softonce.errors import ImageError
from softonce.inference import array_probs
from softonce.prediction.predictor import Unreadable
from softonce.serving.bodies import Upload
from softonce.serving.problems import ProblemError
from softonce.serving.service import unreadable
from softonce.serving.tensors_v2 import IMAGES, read_request, write_answer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from softonce.prediction.predictor import Pixels, Row
    from softonce.serving.hosting import Hosted
    from softonce.serving.service import Service
    from softonce.serving.tensors_v2 import InferRequest


def health_routes_v2(service: Service) -> APIRouter:
    """Return the routes that everybody may ask."""
    router = APIRouter(prefix="/v2", include_in_schema=False)

    @router.get("/health/live")
    async def live() -> dict[str, bool]:
        """Say that the process answers."""
        return {"live": True}

    @router.get("/health/ready")
    async def ready() -> dict[str, bool]:
        """Return whether requests may be sent."""
        if service.is_stopping:
            raise ProblemError(503, "expected a service that goes on, found one that is stopping")
        return {"ready": True}

    return router


def kserve_routes(service: Service) -> APIRouter:
    """Return the other routes of the protocol."""
    router = APIRouter(prefix="/v2", include_in_schema=False)

    @router.get("")
    async def server() -> dict[str, Any]:
        """Say what serves."""
        return {"name": "softonce", "version": __version__, "extensions": ["binary_tensor_data"]}

    for version in ("", "/versions/{version}"):

        @router.get(f"/models/{{name}}{version}")
        async def metadata(name: str, version: str | None = None) -> dict[str, Any]:
            """Say what a model takes and gives."""
            return _describe(_of_version(service.models.get(name), version))

        @router.get(f"/models/{{name}}{version}/ready")
        async def is_ready(name: str, version: str | None = None) -> dict[str, Any]:
            """Say that a model answers."""
            return {"name": _of_version(service.models.get(name), version).name, "ready": True}

        @router.post(f"/models/{{name}}{version}/infer")
        async def infer(request: Request, name: str, version: str | None = None) -> Response:
            """Answer."""
            async with service.intake.body(request) as body, service.answering(name) as hosted:
                _of_version(hosted, version)
                return await _infer(service, hosted, body, request)

    return router


def _of_version(hosted: Hosted, version: str | None) -> Hosted:
    if version is not None and version != hosted.version:
        raise ProblemError(
            404, f"expected version {hosted.version} of {hosted.name}, found {version[:40]!r}"
        )
    return hosted


def _describe(hosted: Hosted) -> dict[str, Any]:
    count = len(hosted.engine.metadata.classes)
    scores = [
        {"name": name, "datatype": "FP32", "shape": [-1, count]} for name in ("probs", "logits")
    ]
    return {
        "name": hosted.name,
        "versions": [hosted.version],
        "platform": f"softonce_{hosted.engine.name}",
        "inputs": [{"name": IMAGES, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [*scores, {"name": "labels", "datatype": "BYTES", "shape": [-1]}],
    }


async def _infer(service: Service, hosted: Hosted, body: bytes, request: Request) -> Response:
    head_length = request.headers.get("inference-header-content-length")
    asked = await service.decoder.run(partial(read_request, body, head_length), len(body))
    count = len(asked.files) if asked.pixels is None else len(asked.pixels)
    if count > service.config.max_images:
        limit = service.config.max_images
        raise ProblemError(413, f"expected at most {limit} images in a request, found {count}")
    if asked.pixels is None:
        squares, rows = await service.logits([Upload(file) for file in asked.files], hosted)
        for number, each in enumerate(squares):
            if isinstance(each, Unreadable):
                raise ProblemError(422, f"{IMAGES}[{number}]: {unreadable(each.reason)}")
    else:
        work = partial(_squares, asked.pixels, hosted)
        rows = await service.logits_of_pixels(
            await service.decoder.run(work, asked.pixels.size), hosted
        )
    content, headers = write_answer(
        {"model_name": hosted.name, "model_version": hosted.version}
        | ({} if asked.request_id is None else {"id": asked.request_id}),
        _outputs(asked, hosted, rows),
    )
    return Response(content, headers=headers)


def _squares(pixels: NDArray[np.uint8], hosted: Hosted) -> list[Pixels]:
    """Return what the network sees: squares as they are, and pictures made to fit."""
    wanted = hosted.engine.metadata.preprocessing
    if pixels.shape[1:] == (wanted.in_channels, wanted.size, wanted.size):
        return list(pixels)
    if pixels.shape[3] not in (1, 3) or isinstance(wanted.mode, int):
        raise ProblemError(
            400,
            f"expected pixels [N, {wanted.in_channels}, {wanted.size}, {wanted.size}], or [N, "
            f"height, width, 1 or 3] for a network of colour or grey, found {list(pixels.shape)}",
        )
    pictures = [Image.fromarray(one[..., 0] if one.shape[2] == 1 else one) for one in pixels]
    try:
        for each in pictures:
            check_size(each)
        return [to_pixels(fit_image(to_mode(each, wanted.mode), wanted)) for each in pictures]
    except ImageError as error:
        raise ProblemError(
            422, f"expected pictures that can be made to fit, found {error}"
        ) from error


def _outputs(
    asked: InferRequest, hosted: Hosted, rows: list[Row]
) -> list[tuple[str, NDArray[Any], bool]]:
    metadata = hosted.engine.metadata
    logits = np.stack(rows).astype(np.float32)
    probs = array_probs(logits.astype(np.float64), temperature=metadata.temperature)
    names = np.array(metadata.classes, dtype=object)
    made = {
        "logits": logits,
        "probs": probs.astype(np.float32),
        "labels": names[probs.argmax(1)],
    }
    found = []
    for name, parameters in asked.outputs:
        values = made[name]
        top = parameters.get("classification")
        if isinstance(top, int) and top > 0 and name != "labels":
            values = _classified(values, names, top)
        found.append((name, values, bool(parameters.get("binary_data", asked.is_binary))))
    return found


def _classified(values: NDArray[np.float32], names: NDArray[Any], top: int) -> NDArray[Any]:
    """Return text of the form score:index:label, (N, top), as Triton's extension has it."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :top]
    rows = [
        [f"{row[index]:f}:{index}:{names[index]}" for index in indices]
        for row, indices in zip(values, order, strict=True)
    ]
    return np.array(rows, dtype=object)
