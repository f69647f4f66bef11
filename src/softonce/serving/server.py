"""The process: a socket, uvicorn, and an orderly end."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from softonce.console import LOG
from softonce.errors import ConfigError
from softonce.serving.app import create_app
from softonce.serving.auth import read_token
from softonce.serving.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from softonce.config import ServeConfig
    from softonce.engines import Engine

LINGER = 0.5
"""Seconds between the signal and the end of listening: who talks is told to come elsewhere."""

IDLE = 65
"""Seconds that a connection may say nothing: more than the minute of most proxies."""

MAX_HEAD = 64 * 2**10


def serve(engine: Engine, config: ServeConfig) -> int:
    """Answer until a signal asks to stop, or in a notebook an interrupt.

    What was taken before is answered.

    Returns:
        The signal.

    Raises:
        ConfigError: if the port is taken, or the token cannot be read.
    """
    token = read_token(config.token_file)
    with listening(config.host, config.port) as listener:
        warm_up(engine, config.max_batch)
        server = build_server(engine, config, token)
        _run(server, listener)
    return server.signal


def _run(server: Server, listener: socket.socket) -> None:
    """Run until it is told to stop; a notebook has a loop in this thread, so it gets another."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        server.run(sockets=[listener])
        return
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        server.signal = signal.SIGINT
        server.should_exit = True
        thread.join()


def build_server(engine: Engine, config: ServeConfig, token: str | None = None) -> Server:
    """Return the server of an engine, which answers once it runs with a socket."""
    service = Service(engine, config)
    settings = uvicorn.Config(
        create_app(service, token),
        http=LimitedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        limit_concurrency=config.max_connections,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=int(config.timeout + config.body_seconds) + 1,
    )
    return Server(settings, service)


def warm_up(engine: Engine, max_batch: int) -> None:
    """Compute the smallest and the largest batch, so that no request is the first of its size."""
    preprocessing = engine.metadata.preprocessing
    shape = (preprocessing.in_channels, preprocessing.size, preprocessing.size)
    for size in {1, max_batch}:
        engine.logits(np.zeros((size, *shape), np.uint8))


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Take the port before anything is loaded for it.

    Raises:
        ConfigError: if it is not to be had.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"expected to listen at {host}, port {port}, found: {error.strerror or error}; choose "
            "another with --port or --host"
        ) from error
    with listener:
        yield listener


def address_of(listener: socket.socket) -> str:
    """Return the URL to open."""
    host, port = listener.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}"


class LimitedProtocol(HttpToolsProtocol):
    """A connection whose requests have heads of bounded length, that begin in bounded time."""

    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the client as long for the first request as for the next."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(IDLE, transport.close)

    def data_received(self, data: bytes) -> None:
        """Read on, unless a head has no end."""
        self._head += len(data)
        super().data_received(data)
        if self._head > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response(f"expected a head of at most {MAX_HEAD} bytes")

    def on_body(self, body: bytes) -> None:
        """Read on; what belongs to a body is limited elsewhere."""
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to count anew."""
        self._head = 0
        super().on_message_complete()


class Server(uvicorn.Server):
    """One that lingers before it stops listening, and leaves the exit status to us."""

    def __init__(self, settings: uvicorn.Config, service: Service) -> None:
        super().__init__(settings)
        self._service, self.signal = service, 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say where, once it answers and hears signals."""
        await super().startup(sockets)
        engine, file = self._service.engine, self._service.config.file
        for listener in sockets or []:
            LOG.info("serving %s (%s) at %s", file, engine.name, address_of(listener))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at the first signal, at once at the second; outside the main thread hear none."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self._stop, number)
        yield
        for number in numbers:
            loop.remove_signal_handler(number)

    def _stop(self, number: int) -> None:
        if self.signal:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.signal, self._service.is_stopping = number, True
        LOG.info("stopping: what was taken is answered first; a second signal does not wait")
        asyncio.get_running_loop().call_later(LINGER, setattr, self, "should_exit", True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, read what has arrived by then, and answer it."""
        for listener in sockets or []:
            listener.listen(0)  # who comes now is not let in, instead of being thrown out
        await _turns()
        for server in self.servers:
            server.close()
        await _turns()
        await super().shutdown(sockets)


async def _turns() -> None:
    """Let the loop accept and read whatever has arrived, however late it is."""
    for _ in range(10):
        await asyncio.sleep(0)
