"""`softonce serve`."""

from __future__ import annotations

import signal

from softonce.config import ServeConfig

INTERRUPTED = 130


def serve(config: ServeConfig | None = None) -> int:
    """Answer requests with images over HTTP: POST /v1/predict, and a web page at /.

    SIGTERM and Ctrl-C stop it; requests that were taken before are answered.
    """
    from softonce.verbs import serve as run_service

    return INTERRUPTED if run_service(config or ServeConfig()) == signal.SIGINT else 0
