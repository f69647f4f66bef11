"""From the body of a request to its records, whatever brings the one and takes the other."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from softonce.prediction.predictor import Unreadable
from softonce.serving.batching import QueueFullError
from softonce.serving.bodies import FORM_TYPE, JSON_TYPE, Upload, uploads_of
from softonce.serving.crowd import Crowd
from softonce.serving.decoding import FORMATS, Decoder
from softonce.serving.hosting import Models
from softonce.serving.intake import Intake
from softonce.serving.metrics import Metrics
from softonce.serving.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from softonce.config import ServeConfig
    from softonce.prediction.predictor import Pixels, Record, Row
    from softonce.serving.decoding import Square
    from softonce.serving.hosting import Hosted
    from softonce.serving.watching import Watcher


class Service:
    """Models that answer requests, within limits; `models.host` gives it the first one.

    Args:
        config: the options of `softonce serve`.
    """

    def __init__(self, config: ServeConfig) -> None:
        self.config = config
        self.metrics = Metrics()
        self.intake = Intake(max_bytes=config.max_bytes, seconds=config.body_seconds)
        self.models = Models(config, self.metrics)
        self.crowd = Crowd(config.max_connections, self.metrics)
        self.decoder = Decoder(config.max_pixels)
        self.metrics.show(
            "softonce_queue_images",
            "Images that are being read, wait or are computed.",
            lambda: self.models.num_admitted,
        )
        self.metrics.show(
            "softonce_connections", "Connections that are open.", lambda: self.crowd.size
        )
        self.is_stopping = False
        self.watcher: Watcher | None = None
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer, and to watch."""
        self.models.start()
        if self.watcher is not None:
            self._watching = asyncio.get_running_loop().create_task(self.watcher.watch())

    async def stop(self) -> None:
        """Answer what has been taken, then end."""
        if self._watching is not None:
            self._watching.cancel()
        await self.models.stop()
        self.decoder.shutdown()

    def describe(self, name: str | None = None) -> dict[str, Any]:
        """Return what a model says of itself, and the limits."""
        config, hosted = self.config, self.models.get(name)
        record = hosted.engine.metadata.to_dict()
        names = ("arch", "classes", "preprocessing", "temperature", "training")
        limits = {each: getattr(config, each) for each in ("max_bytes", "max_pixels", "max_images")}
        return {
            "name": hosted.name,
            "version": hosted.version,
            **{each: record[each] for each in names},
            "decisions": hosted.engine.metadata.decisions.to_dict(),
            "engine": hosted.engine.name,
            "limits": limits,
        }

    async def answer(
        self, body: bytes, content_type: str, *, top_k: int, model: str | None = None
    ) -> list[Record]:
        """Return a record for each image of the body.

        Raises:
            ProblemError: if the body is refused, the queue is full or the answer takes too long.
        """
        async with self.answering(model) as hosted:
            uploads = await self._uploads(body, content_type)
            squares, rows = await self.logits(uploads, hosted)
            names = [upload.name for upload in uploads]
            records = hosted.predictor.records(names, squares, rows, top_k=top_k)
        if not rows:
            raise ProblemError(422, unreadable(records[0]["error"]), predictions=records)
        return records

    @asynccontextmanager
    async def answering(self, model: str | None) -> AsyncIterator[Hosted]:
        """Hold a model while a request is answered, in the time that it may take.

        Raises:
            ProblemError: 404 if there is no such model, 429 if the queue is full, 504 if the answer
                takes too long.
        """
        try:
            async with asyncio.timeout(self.config.timeout):
                with self.models.using(model) as hosted:
                    yield hosted
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

    async def logits(
        self, uploads: Sequence[Upload], hosted: Hosted
    ) -> tuple[list[Square], list[Row]]:
        """Return the pixels of each upload, or why there are none, and the logits of those."""
        with hosted.batcher.admitted(len(uploads)):
            with hosted.batcher.reading():
                preprocessing = hosted.engine.metadata.preprocessing
                squares = await self.decoder.squares(uploads, preprocessing)
            pixels = [each for each in squares if not isinstance(each, Unreadable)]
            rows = await hosted.batcher.logits(pixels) if pixels else []
        self.metrics.images(hosted.name, "predicted", len(pixels))
        self.metrics.images(hosted.name, "unreadable", len(uploads) - len(pixels))
        return squares, rows

    async def logits_of_pixels(self, pixels: Sequence[Pixels], hosted: Hosted) -> list[Row]:
        """Return the logits of squares that the client has made."""
        with hosted.batcher.admitted(len(pixels)):
            rows = await hosted.batcher.logits(pixels)
        self.metrics.images(hosted.name, "predicted", len(pixels))
        return rows

    async def _uploads(self, body: bytes, content_type: str) -> list[Upload]:
        read = partial(uploads_of, body, content_type, max_images=self.config.max_images)
        if content_type.lower().startswith((FORM_TYPE, JSON_TYPE)):  # a raw image takes no time
            return await self.decoder.run(read, len(body))
        return read()


def unreadable(reason: str | None) -> str:
    """Return what to say of an image that cannot be read."""
    return (
        f"expected an image that can be read, found: {reason}; formats that are read: "
        f"{', '.join(FORMATS)}"
    )
