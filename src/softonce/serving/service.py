"""From the body of a request to its records, whatever brings the one and takes the other."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from softonce.prediction.predictor import Predictor, Unreadable
from softonce.serving.batching import Batcher, QueueFullError
from softonce.serving.bodies import FORM_TYPE, JSON_TYPE, Upload, uploads_of
from softonce.serving.crowd import Crowd
from softonce.serving.decoding import FORMATS, Decoder
from softonce.serving.intake import Intake
from softonce.serving.metrics import Metrics
from softonce.serving.problems import ProblemError

if TYPE_CHECKING:
    from softonce.config import ServeConfig
    from softonce.engines import Engine
    from softonce.prediction.predictor import Record


class Service:
    """An engine that answers requests, within limits.

    Args:
        engine: answers uint8 pixels with logits.
        config: the options of `softonce serve`.
    """

    def __init__(self, engine: Engine, config: ServeConfig) -> None:
        self.engine, self.config = engine, config
        self.predictor = Predictor(engine)
        self.metrics = Metrics()
        self.intake = Intake(max_bytes=config.max_bytes, seconds=config.body_seconds)
        self.batcher = Batcher(
            engine.logits,
            max_batch=config.max_batch,
            max_wait=config.max_wait_ms / 1000,
            max_queue=config.max_queue,
            watch=self.metrics.batch,
        )
        self.crowd = Crowd(config.max_connections, self.metrics)
        self.metrics.show(
            "softonce_queue_images",
            "Images that are being read, wait or are computed.",
            lambda: self.batcher.num_admitted,
        )
        self.metrics.show(
            "softonce_connections", "Connections that are open.", lambda: self.crowd.size
        )
        self.is_stopping = False
        self._decoder = Decoder(config.max_pixels)

    def start(self) -> None:
        """Begin to answer."""
        self.batcher.start()

    async def stop(self) -> None:
        """Answer what has been taken, then end."""
        await self.batcher.stop()
        self._decoder.shutdown()

    def describe(self) -> dict[str, Any]:
        """Return what the model says of itself, and the limits."""
        config, record = self.config, self.engine.metadata.to_dict()
        names = ("arch", "classes", "preprocessing", "temperature", "training")
        limits = {name: getattr(config, name) for name in ("max_bytes", "max_pixels", "max_images")}
        return {
            **{name: record[name] for name in names},
            "decisions": self.engine.metadata.decisions.to_dict(),
            "engine": self.engine.name,
            "limits": limits,
        }

    async def answer(self, body: bytes, content_type: str, *, top_k: int) -> list[Record]:
        """Return a record for each image of the body.

        Raises:
            ProblemError: if the body is refused, the queue is full or the answer takes too long.
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
            return await self._decoder.run(read, len(body))
        return read()

    async def _records(self, uploads: list[Upload], top_k: int) -> list[Record]:
        with self.batcher.admitted(len(uploads)):
            with self.batcher.reading():
                preprocessing = self.engine.metadata.preprocessing
                prepared = await self._decoder.squares(uploads, preprocessing)
            pictures = [each for each in prepared if not isinstance(each, Unreadable)]
            rows = await self.batcher.logits(pictures) if pictures else []
        self.metrics.images("predicted", len(pictures))
        self.metrics.images("unreadable", len(uploads) - len(pictures))
        names = [upload.name for upload in uploads]
        records = self.predictor.records(names, prepared, rows, top_k=top_k)
        if not pictures:
            raise ProblemError(
                422,
                f"expected an image that can be read, found: {records[0]['error']}; formats that "
                f"are read: {', '.join(FORMATS)}",
                predictions=records,
            )
        return records
