"""From the body of a request to its records, whatever brings the one and takes the other."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from softonce.data.images import decode, fit_image, open_image, to_pixels
from softonce.errors import ImageError
from softonce.inference import top_predictions
from softonce.serving.batching import Batcher, QueueFullError
from softonce.serving.bodies import FORM_TYPE, JSON_TYPE, Upload, uploads_of
from softonce.serving.intake import Intake
from softonce.serving.metrics import Metrics
from softonce.serving.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from softonce.config import ServeConfig
    from softonce.engines import Engine
    from softonce.serving.batching import Picture

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
"""What is decoded for strangers; some of Pillow's other formats start programs, as EPS does."""

Found = TypeVar("Found")

_NOTHING: dict[str, Any] = {"pred": None, "class": None, "prob": None, "top": []}


class Service:
    """An engine that answers requests, within limits.

    Args:
        engine: answers uint8 pixels with logits.
        config: the options of `softonce serve`.
    """

    def __init__(self, engine: Engine, config: ServeConfig) -> None:
        self.engine, self.config = engine, config
        self.metrics = Metrics()
        self.intake = Intake(max_bytes=config.max_bytes, seconds=config.body_seconds)
        self.batcher = Batcher(
            engine.logits,
            max_batch=config.max_batch,
            max_wait=config.max_wait_ms / 1000,
            max_queue=config.max_queue,
            watch=self.metrics.batch,
        )
        self.metrics.show_queue(lambda: self.batcher.num_admitted)
        self.is_stopping = False
        self._readers = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="reader")

    def start(self) -> None:
        """Begin to answer."""
        self.batcher.start()

    async def stop(self) -> None:
        """Answer what has been taken, then end."""
        await self.batcher.stop()
        self._readers.shutdown()

    def describe(self) -> dict[str, Any]:
        """Return what the model says of itself, and the limits."""
        config, record = self.config, self.engine.metadata.to_dict()
        names = ("arch", "classes", "preprocessing", "temperature", "training")
        limits = {name: getattr(config, name) for name in ("max_bytes", "max_pixels", "max_images")}
        return {
            **{name: record[name] for name in names},
            "engine": self.engine.name,
            "limits": limits,
        }

    async def answer(self, body: bytes, content_type: str, *, top_k: int) -> list[dict[str, Any]]:
        """Return a record for each image of the body.

        Raises:
            ProblemError: where the body is refused, the queue is full or the answer takes too long.
        """
        try:
            async with asyncio.timeout(self.config.timeout):
                uploads = await self._uploads(body, content_type)
                return await self._records(uploads, top_k)
        except QueueFullError as error:
            headers = {"Retry-After": str(error.retry_after)}
            raise ProblemError(429, str(error), headers=headers) from error
        except TimeoutError:
            raise ProblemError(
                504,
                f"expected an answer within {self.config.timeout:g} s, found none: try again "
                "later, or with fewer images",
                headers={"Retry-After": "1"},
            ) from None

    async def _uploads(self, body: bytes, content_type: str) -> list[Upload]:
        read = partial(uploads_of, body, content_type, max_images=self.config.max_images)
        if content_type.lower().startswith((FORM_TYPE, JSON_TYPE)):  # a raw image takes no time
            return await self._in_thread(read)
        return read()

    async def _records(self, uploads: list[Upload], top_k: int) -> list[dict[str, Any]]:
        with self.batcher.admitted(len(uploads)):
            with self.batcher.reading():
                work = (self._in_thread(partial(self._read, upload.data)) for upload in uploads)
                read = await asyncio.gather(*work)
            pictures = [found for found in read if not isinstance(found, str)]
            rows = await self.batcher.logits(pictures) if pictures else []
        self.metrics.images("predicted", len(pictures))
        self.metrics.images("unreadable", len(uploads) - len(pictures))
        records = self._named(uploads, read, rows, top_k)
        if not pictures:
            raise ProblemError(
                422,
                f"expected an image that can be read, found: {read[0]}; formats that are read: "
                f"{', '.join(FORMATS)}",
                predictions=records,
            )
        return records

    def _named(
        self, uploads: list[Upload], read: Sequence[Picture | str], rows: Sequence[Any], top_k: int
    ) -> list[dict[str, Any]]:
        """Put names to the logits: the softmax at the door."""
        metadata = self.engine.metadata
        named = iter(
            top_predictions(
                np.stack(rows), metadata.classes, temperature=metadata.temperature, top_k=top_k
            )
            if rows
            else ()
        )
        return [
            {"path": upload.name, **_NOTHING, "error": found}
            if isinstance(found, str)
            else {"path": upload.name, **next(named), "error": None}
            for upload, found in zip(uploads, read, strict=True)
        ]

    def _read(self, data: bytes) -> Picture | str:
        """Return the network's square, or the reason why there is none; runs in a thread."""
        preprocessing = self.engine.metadata.preprocessing
        try:
            image = open_image(data, formats=FORMATS, max_pixels=self.config.max_pixels)
            return to_pixels(fit_image(decode(image, preprocessing.mode), preprocessing))
        except ImageError as error:
            return str(error)

    async def _in_thread(self, work: partial[Found]) -> Found:
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)
