"""A folder that is watched: a model whose file changes is replaced while it answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from softonce.console import LOG
from softonce.errors import SoftonceError, describe_error
from softonce.serving.catalog import models_in
from softonce.serving.hosting import version_of, warm_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from softonce.engines import Engine
    from softonce.serving.hosting import Models

    Stamp: TypeAlias = tuple[tuple[int, int, int], ...]

SECONDS = 1.0
"""Between two looks; a file that has changed is opened when two looks have found it the same, since
it may be written slowly, and in place."""


class Watcher:
    """Looks at a folder again and again.

    A file that cannot be opened changes nothing: what answered before goes on, and a line says why.
    It is tried again when it changes; putting the old file back is the way back.

    Args:
        folder: a folder of models, or of one run.
        models: where they are hosted.
        open_engine: opens a file, in a thread.
        max_batch: of the largest batch, for which a model is warmed up.
    """

    def __init__(
        self,
        folder: Path,
        models: Models,
        open_engine: Callable[[Path], Engine],
        max_batch: int,
    ) -> None:
        self.folder, self.models = folder, models
        self._open, self._max_batch = open_engine, max_batch
        self._tried = {name: stamp_of(path) for name, path in models_in(folder).items()}
        self._seen = dict(self._tried)

    async def watch(self) -> None:
        """Look until it is cancelled; nothing that goes wrong ends it."""
        while True:
            await asyncio.sleep(SECONDS)
            try:
                await self.look()
            except (OSError, SoftonceError) as error:
                LOG.warning("%s cannot be watched: %s", self.folder, error)

    async def look(self) -> None:
        """Replace the models whose files have changed, and have been the same for two looks."""
        for name, path in models_in(self.folder).items():
            stamp = stamp_of(path)
            if stamp == self._tried.get(name) or not stamp:
                continue
            if stamp == self._seen.get(name):
                self._tried[name] = stamp
                await self._replace(name, path, stamp)
            self._seen[name] = stamp

    async def _replace(self, name: str, path: Path, stamp: Stamp) -> None:
        try:
            version, engine = await asyncio.to_thread(self._opened, path)
        except Exception as error:  # noqa: BLE001 - a damaged file may make a library raise anything
            known = any(hosted.name == name for hosted in self.models)
            kept = "the model of before goes on" if known else "it is not served"
            LOG.warning("%s: %s; %s", path, describe_error(error, 300), kept)
            return
        if stamp_of(path) != stamp:  # written to meanwhile: what was read may be a mixture
            self._tried.pop(name)
            return
        self.models.host(name, engine, version)
        LOG.info("model %s is now version %s, of %s", name, version, path)

    def _opened(self, path: Path) -> tuple[str, Engine]:
        engine = self._open(path)
        warm_up(engine, self._max_batch)
        return version_of(path), engine


def stamp_of(path: Path) -> Stamp:
    """Return what changes when a model's file does; OpenVINO's weights lie beside the graph."""
    files = (path, path.with_suffix(".bin")) if path.suffix == ".xml" else (path,)
    try:
        return tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in (f.stat() for f in files))
    except OSError:
        return ()
