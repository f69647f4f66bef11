"""The models that one service answers with, by name; each can be replaced while it answers."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from softonce.prediction.predictor import Predictor
from softonce.serving.batching import Batcher
from softonce.serving.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from softonce.config import ServeConfig
    from softonce.engines import Engine
    from softonce.serving.metrics import Metrics

_VERSION_LETTERS = 12


@dataclass(eq=False)
class Hosted:
    """A model in service: what computes, and those who wait for it.

    Args:
        name: how requests call it.
        engine: answers pixels with logits.
        batcher: computes with it.
        version: of its file, so that a replacement can be told from what was before.
    """

    name: str
    engine: Engine
    batcher: Batcher
    version: str
    predictor: Predictor = field(init=False)
    num_users: int = 0

    def __post_init__(self) -> None:
        """Name classes as the engine's own record does."""
        self.predictor = Predictor(self.engine)

    async def retire(self) -> None:
        """End when the last request that began with it has been answered."""
        while self.num_users:
            await asyncio.sleep(0.01)
        await self.batcher.stop()


class Models:
    """The models by name; the first one answers where no name is given."""

    def __init__(self, config: ServeConfig, metrics: Metrics) -> None:
        self._config, self._metrics = config, metrics
        self._hosted: dict[str, Hosted] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._is_running = False

    def __iter__(self) -> Iterator[Hosted]:
        return iter(self._hosted.values())

    @property
    def num_admitted(self) -> int:
        """Images that are being read, wait or are computed."""
        return sum(hosted.batcher.num_admitted for hosted in self)

    def host(self, name: str, engine: Engine, version: str) -> None:
        """Take a model into service; one of the same name answers what it has begun, and goes.

        A request keeps the model that it began with, so no answer is a mixture.
        """
        batcher = Batcher(
            engine.logits,
            max_batch=self._config.max_batch,
            max_wait=self._config.max_wait_ms / 1000,
            max_queue=self._config.max_queue,
            watch=lambda size, seconds: self._metrics.batch(name, size, seconds),
        )
        before = self._hosted.get(name)
        self._hosted[name] = Hosted(name, engine, batcher, version)
        if self._is_running:
            batcher.start()
        if before is not None:
            task = asyncio.get_running_loop().create_task(before.retire())
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    def get(self, name: str | None) -> Hosted:
        """Return the model of this name, or the first one.

        Raises:
            ProblemError: 404 if there is none.
        """
        found = next(iter(self)) if name is None else self._hosted.get(name)
        if found is None:
            known = ", ".join(self._hosted)
            raise ProblemError(404, f"expected one of the models {known}, found {name!r:.80}")
        return found

    @contextmanager
    def using(self, name: str | None) -> Iterator[Hosted]:
        """Hold on to a model while a request is answered, whatever replaces it."""
        hosted = self.get(name)
        hosted.num_users += 1
        try:
            yield hosted
        finally:
            hosted.num_users -= 1

    def start(self) -> None:
        """Begin to answer."""
        self._is_running = True
        for hosted in self:
            hosted.batcher.start()

    async def stop(self) -> None:
        """Answer what has been taken, then end."""
        await asyncio.gather(*(hosted.batcher.stop() for hosted in self), *self._retiring)


def version_of(path: Path) -> str:
    """Return the beginning of the SHA-256 of a model file, or nothing if it is not there.

    Example:
        >>> from pathlib import Path
        >>> version_of(Path("no.onnx"))
        ''
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:_VERSION_LETTERS]
    except OSError:
        return ""


def warm_up(engine: Engine, max_batch: int) -> None:
    """Compute the smallest and the largest batch, so that no request is the first of its size."""
    preprocessing = engine.metadata.preprocessing
    shape = (preprocessing.in_channels, preprocessing.size, preprocessing.size)
    for size in {1, max_batch}:
        engine.logits(np.zeros((size, *shape), np.uint8))
