"""The process: a socket, uvicorn, and an orderly end."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import ssl
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from softonce.console import LOG
from softonce.engines import open_as_asked
from softonce.errors import ConfigError
from softonce.machine import usable_cores
from softonce.serving.app import create_app
from softonce.serving.auth import read_token
from softonce.serving.catalog import catalog_of
from softonce.serving.connection import HEAD_SECONDS, Connection, Deadlines
from softonce.serving.crowd import RESERVE
from softonce.serving.hosting import version_of, warm_up
from softonce.serving.logs import service_logs
from softonce.serving.service import Service
from softonce.serving.watching import Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from softonce.config import ServeConfig
    from softonce.engines import Engine

LINGER = 0.5
"""Seconds between the signal and the end of listening: who talks is told to come elsewhere."""

_SPARE_FILES = 128
"""Open files beside the connections: the listener, the model, libraries, pipes."""


def serve(engines: Mapping[str, Engine], config: ServeConfig) -> int:
    """Answer until a signal asks to stop, or in a notebook an interrupt.

    What was taken before is answered.

    Returns:
        The signal.

    Raises:
        ConfigError: if the port is taken, or the token cannot be read.
    """
    token = read_token(config.token_file)
    check_certificate(config)
    with service_logs(config), listening(config.host, config.port) as listener:
        allow_files(config.max_connections + RESERVE + _SPARE_FILES)
        for engine in engines.values():
            warm_up(engine, config.max_batch)
        server = build_server(engines, config, token)
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


def within_container(config: ServeConfig) -> ServeConfig:
    """Let networks compute in as many threads as a container may use, unless that is asked for."""
    cores = usable_cores()
    if config.threads is not None or cores == os.cpu_count():
        return config
    return replace(config, threads=cores)


def build_server(
    engines: Mapping[str, Engine], config: ServeConfig, token: str | None = None
) -> Server:
    """Return the server of engines by name, which answers once it runs with a socket."""
    service, files = Service(config), catalog_of(config.words)
    for name, engine in engines.items():
        service.models.host(name, engine, version_of(files[name]) if name in files else "")
    if config.watch is not None:
        service.watcher = Watcher(
            config.watch,
            service.models,
            lambda path: open_as_asked(path, config),
            config.max_batch,
        )
    settings = uvicorn.Config(
        create_app(service, token),
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        ssl_certfile=config.certfile,
        ssl_keyfile=config.keyfile,
        timeout_graceful_shutdown=int(config.timeout + config.body_seconds) + 1,
    )
    return Server(settings, service)


def check_certificate(config: ServeConfig) -> None:
    """Raise a `ConfigError` if TLS is asked for and its files cannot be used."""
    if config.certfile is None:
        if config.keyfile is not None:
            raise ConfigError("expected --certfile beside --keyfile, found none")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            config.certfile, config.keyfile, password=lambda: ""
        )
    except (OSError, ValueError) as error:  # the latter for an empty password of an encrypted key
        files = " and ".join(str(path) for path in (config.certfile, config.keyfile) if path)
        raise ConfigError(
            f"expected a certificate and its key, unencrypted, as PEM in {files}, found: "
            f"{getattr(error, 'strerror', None) or error}"
        ) from error


def allow_files(number: int) -> None:
    """Let the process open so many files: usual is 1,024, and a connection is one.

    Raises:
        ConfigError: if the system does not allow so many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= number:
        return
    if hard != resource.RLIM_INFINITY and hard < number:
        raise ConfigError(
            f"expected room for {number:,} open files, found a limit of {hard:,}: lower "
            "--max-connections, or raise the limit with ulimit -n"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Take the port before anything is loaded for it.

    Raises:
        ConfigError: if it is not to be had.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=2048)
        # asyncio does this itself only for sockets that name their protocol; without it the body of
        # an answer waits 40 ms for the client to acknowledge its head. Connections inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise ConfigError(
            f"expected to listen at {host}, port {port}, found: {error.strerror or error}; choose "
            "another with --port or --host"
        ) from error
    with listener:
        yield listener


def address_of(listener: socket.socket, scheme: str = "http") -> str:
    """Return the URL to open."""
    host, port = listener.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{port}"


class Server(uvicorn.Server):
    """One that lingers before it stops listening, and leaves the exit status to us."""

    def __init__(self, settings: uvicorn.Config, service: Service) -> None:
        super().__init__(settings)
        self._service, self.signal = service, 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say where, once it answers and hears signals."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        loop, config = asyncio.get_running_loop(), self.config
        self.servers = [
            await loop.create_server(
                self._connection,
                sock=listener,
                ssl=config.ssl,
                ssl_handshake_timeout=HEAD_SECONDS if config.ssl else None,
                backlog=config.backlog,
            )
            for listener in sockets or []
        ]
        self.started = True
        for listener in sockets or []:
            address = address_of(listener, "https" if self.config.is_ssl else "http")
            models = ", ".join(f"{each.name} ({each.engine.name})" for each in self._service.models)
            LOG.info("serving %s at %s", models, address)

    def _connection(self) -> Connection:
        options, service = self._service.config, self._service
        return Connection(
            service.crowd,
            Deadlines(body=options.body_seconds, answer=options.timeout),
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

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
