"""`softonce serve`."""

from __future__ import annotations

import signal

from softonce.config import ServeConfig
from softonce.errors import MissingExtraError

INTERRUPTED = 130


def serve(config: ServeConfig) -> int:
    """Answer images over HTTP: POST /v1/predict, and a page for people at /.

    SIGTERM and Ctrl-C stop it; requests that were taken before are answered.
    """
    try:
        from softonce.serving.server import serve as run
    except ImportError as error:
        raise MissingExtraError.of(error.name or str(error), "serve") from error
    from softonce.engines import open_engine

    engine = open_engine(
        config.file,
        name=config.engine,
        device=config.device,
        threads=config.threads,
        trust=config.trust,
    )
    return INTERRUPTED if run(engine, config) == signal.SIGINT else 0
