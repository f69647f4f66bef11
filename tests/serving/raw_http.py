"""HTTP as bytes on a socket, for clients that no library would be."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

PREDICT = b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: "
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
SECONDS = 20


def wait_until(is_so: Callable[[], object]) -> None:
    """Look again and again, and fail if it does not become so."""
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end, "it did not become so"
        time.sleep(0.01)


def connect(client: httpx.Client) -> socket.socket:
    address = (client.base_url.host, client.base_url.port)
    return socket.create_connection(address, timeout=SECONDS)


@contextmanager
def connected(client: httpx.Client, *sent: bytes) -> Iterator[socket.socket]:
    with connect(client) as other:
        for data in sent:
            other.sendall(data)
        yield other


def read_all(other: socket.socket) -> bytes:
    """Read until the other side ends the connection."""
    parts = []
    try:
        while part := other.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def read_answer(other: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer that has a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = other.recv(65536)
        assert part, data
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += other.recv(65536)
    return int(status.split()[1]), headers, body


def read_problem(other: socket.socket) -> tuple[int, dict[str, str], dict[str, Any]]:
    status, headers, body = read_answer(other)
    assert headers["content-type"] == "application/problem+json"
    return status, headers, json.loads(body)


def predict_request(data: bytes) -> bytes:
    return PREDICT + f"{len(data)}\r\n\r\n".encode() + data
