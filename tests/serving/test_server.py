"""The process: a port, a token, connections that say nothing, and an orderly end."""

from __future__ import annotations

import http.client
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
from serving.service_beside import FakeEngine, noise, options, raw, running

from softonce.errors import ConfigError
from softonce.serving.auth import read_token
from softonce.serving.connection import MAX_HEAD
from softonce.serving.server import allow_files, listening

BESIDE = Path(__file__).with_name("service_beside.py")
HEADERS = {"Content-Type": "image/jpeg"}


@contextmanager
def process(
    seconds: float, *options: str, linger: float = 0.5
) -> Iterator[tuple[subprocess.Popen, int]]:
    """Serve in a process of its own, and give it and its port."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(BESIDE), str(seconds), str(linger), *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as started:
        try:
            line = started.stderr.readline()
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            assert found, line + started.stderr.read()
            yield started, int(found[1])
        finally:
            started.kill()


def talking(port: int) -> closing[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30))


# before it starts


def test_the_body_of_an_answer_waits_for_no_acknowledgement_of_its_head() -> None:
    with listening("127.0.0.1", 0) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        with client, accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_that_is_taken() -> None:
    with listening("127.0.0.1", 0) as other:
        port = other.getsockname()[1]
        message = f"expected to listen at 127.0.0.1, port {port}, found: .*--port"
        with pytest.raises(ConfigError, match=message), listening("127.0.0.1", port):
            pass


def test_an_address_that_is_not_ours() -> None:
    message = r"expected to listen at no\.such\.host\.invalid"
    with pytest.raises(ConfigError, match=message), listening("no.such.host.invalid", 0):
        pass


def test_the_token_is_read_from_a_file_or_the_environment(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("SOFTONCE_TOKEN", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("SOFTONCE_TOKEN", "from-the-environment")
    assert read_token(None) == "from-the-environment"
    (tmp_path / "token").write_text("from-the-file\n")
    assert read_token(tmp_path / "token") == "from-the-file"


@pytest.mark.parametrize("text", ["", "short", "with a space", "ümlautümlaut"])
def test_a_token_that_is_none(text: str, tmp_path) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(ConfigError, match="expected a token of at least 8 ASCII characters"):
        read_token(tmp_path / "token")
    with pytest.raises(ConfigError, match=r"expected a token in .*none, found"):
        read_token(tmp_path / "none")


def test_a_full_request_has_to_find_room_in_the_queue() -> None:
    with pytest.raises(ConfigError, match="--max-queue of at least --max-images, found 2 below 4"):
        options(max_queue=2, max_images=4)


# connections


def test_idle_connections_and_slow_clients_hold_nobody_up() -> None:
    with running(FakeEngine()) as client, ExitStack() as others:
        address = (client.base_url.host, client.base_url.port)
        for number in range(200):
            other = others.enter_context(socket.create_connection(address))
            if number % 2:
                other.sendall(
                    b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\nx"
                )
        for seed in range(20):
            assert raw(client, noise(seed)).status_code == 200


def test_a_head_without_end_is_refused() -> None:
    with running(FakeEngine()) as client:
        address = (client.base_url.host, client.base_url.port)
        with socket.create_connection(address) as other:
            other.sendall(b"GET / HTTP/1.1\r\nX: ".ljust(MAX_HEAD + 1, b"x"))
            assert other.recv(12) == b"HTTP/1.1 400"
        assert raw(client, b"x" * (3 * MAX_HEAD)).status_code == 422  # a body may be longer


def test_as_many_files_may_be_open_as_there_may_be_connections() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        allow_files(400)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (400, before[1])
        allow_files(300)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 400
        with pytest.raises(ConfigError, match="lower --max-connections, or raise the limit"):
            allow_files(before[1] + 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# the end


def talk(port: int, seed: int, answered: list[int]) -> None:
    """Ask again and again, until the service says goodbye."""
    data, again = noise(seed), True
    with talking(port) as talker, suppress(OSError, http.client.HTTPException):
        while again:
            talker.request("POST", "/v1/predict", data, HEADERS)
            response = talker.getresponse()
            response.read()
            answered.append(response.status)
            again = response.getheader("connection") != "close"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_in_the_middle_loses_no_request_that_was_taken(number: int, status: int) -> None:
    answered: list[int] = []
    with process(0.02, "--max-batch", "4") as (service, port):
        talks = [threading.Thread(target=talk, args=(port, n, answered)) for n in range(16)]
        for thread in talks:
            thread.start()
        while len(answered) < 100:
            time.sleep(0.01)
        service.send_signal(number)
        for thread in talks:
            thread.join()
        assert service.wait(30) == status
        num_taken = int(service.stdout.read())
    assert answered == [200] * num_taken


def until_it_stops(port: int) -> None:
    """Ask whether it is ready until it is not."""
    with talking(port) as asks:
        status = 200
        while status == 200:
            asks.request("GET", "/readyz")
            response = asks.getresponse()
            status = response.status
            response.read()
    assert status == 503


def test_while_it_stops_it_is_not_ready_but_answers() -> None:
    with process(0.5, linger=3) as (service, port), talking(port) as busy:
        busy.request("POST", "/v1/predict", noise(0), HEADERS)
        service.send_signal(signal.SIGTERM)
        until_it_stops(port)
        assert busy.getresponse().status == 200
        assert service.wait(30) == 0


def test_a_second_signal_does_not_wait() -> None:
    with process(60.0, linger=60) as (service, port), talking(port) as busy:
        busy.request("POST", "/v1/predict", noise(0), HEADERS)
        service.send_signal(signal.SIGTERM)
        until_it_stops(port)
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == -signal.SIGTERM


# what it needs


def test_an_exported_file_is_served_without_torch() -> None:
    needed = (
        "softonce.serving.server, softonce.engines.onnx_engine, softonce.engines.openvino_engine"
    )
    code = f"import sys; sys.modules['torch'] = None; import {needed}"
    subprocess.run([sys.executable, "-c", code], check=True)
