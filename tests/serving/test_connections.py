"""Connections that delay, flood, leave or send what is no HTTP: each ends, and harms nobody."""

from __future__ import annotations

import logging
import re
import socket
import struct
import threading
import time
from contextlib import ExitStack
from functools import partial
from itertools import repeat

import pytest
from serving.raw_http import (
    HEALTH,
    PREDICT,
    connected,
    predict_request,
    read_all,
    read_answer,
    read_problem,
    wait_until,
)
from serving.service_beside import FakeEngine, noise, raw, running

from softonce.serving import crowd, server
from softonce.serving.connection import Deadlines
from softonce.serving.crowd import Crowd, Stage

HALF = b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nX-"
EARLY = b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the service lose patience after half a second."""
    monkeypatch.setattr(server, "Deadlines", partial(Deadlines, idle=0.5, head=0.3))


def ended(client, reason: str) -> float:
    """Return how many connections the service has ended for this reason."""
    text = client.get("/metrics").text
    found = [line for line in text.splitlines() if f'ended_total{{reason="{reason}"}}' in line]
    return float(found[0].split()[-1]) if found else 0.0


def drip(other: socket.socket, piece: bytes) -> None:
    """Send a piece again and again, until the connection is gone."""
    try:
        for part in repeat(piece):
            other.sendall(part)
            time.sleep(0.02)
    except OSError:
        pass


def asking(length: int) -> bytes:
    """Return the head of a request whose client waits until its body is asked for."""
    head = PREDICT.replace(b"Content-Length", b"Expect: 100-continue\r\nContent-Length")
    return head + f"{length}\r\n\r\n".encode()


def wait_to_be_asked(other: socket.socket) -> None:
    assert other.recv(100).startswith(b"HTTP/1.1 100")


# what delays


@pytest.mark.parametrize("before", [b"", HEALTH], ids=["new", "answered"])
@pytest.mark.parametrize(
    ("sent", "dripped", "reason"),
    [
        (b"", b"", "idle"),
        (b"G", b"", "head"),
        (HALF, b"", "head"),
        (b"", b"\r\n", "head"),
        (HALF, b"x", "head"),
        (HALF, b"a: b\r\nX-", "head"),
    ],
    ids=["nothing", "one byte", "half a head", "blank lines", "a dripped name", "dripped lines"],
)
def test_a_head_has_one_deadline_however_it_is_delayed(
    hasty, before: bytes, sent: bytes, dripped: bytes, reason: str
) -> None:
    with running(FakeEngine()) as client, connected(client, before) as other:
        if before:
            assert read_answer(other)[0] == 200
        other.sendall(sent)
        if dripped:
            threading.Thread(target=drip, args=(other, dripped), daemon=True).start()
        answer = read_all(other)
        assert answer[:12] == (b"HTTP/1.1 408" if reason == "head" else b"")
        assert ended(client, reason) == 1


def test_a_body_that_nobody_waits_for_has_a_deadline_too(hasty) -> None:
    with (
        running(FakeEngine(), body_seconds=0.5) as client,
        connected(client, EARLY) as other,
    ):
        assert read_answer(other)[0] == 405
        threading.Thread(target=drip, args=(other, b"x"), daemon=True).start()
        assert read_all(other) == b""


def test_an_answer_that_nobody_takes_is_given_up(hasty) -> None:
    wide = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
    with (
        running(FakeEngine(), body_seconds=0.1, timeout=0.2) as client,
        connected(client) as other,
    ):
        other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        threading.Thread(target=drip, args=(other, wide * 100), daemon=True).start()
        for number in (2, 1):
            line = f"softonce_connections {number}.0"
            wait_until(lambda line=line: line in client.get("/metrics").text)
        assert raw(client, noise(0)).status_code == 200


def test_requests_one_behind_the_other_are_all_answered() -> None:
    with running(FakeEngine()) as client, connected(client, HEALTH * 3 + HALF) as other:
        assert [read_one(other) for _ in range(3)] == [200] * 3


def read_one(other: socket.socket) -> int:
    """Read one answer of /healthz, byte by byte: the next may be behind it."""
    data = b""
    while not data.endswith(b'{"status": "ok"}'):
        data += other.recv(1)
    return int(data.split()[1])


# too many


def test_a_new_connection_takes_the_place_of_the_oldest_idle_one() -> None:
    with running(FakeEngine(), max_connections=3) as client, ExitStack() as others:
        opened = [others.enter_context(connected(client, b"G")) for _ in range(3)]
        assert raw(client, noise(0)).status_code == 200
        assert read_all(opened[0]) == b""
        for _ in range(9):  # who talks stays; strangers push each other out
            others.enter_context(connected(client, b"G"))
            assert raw(client, noise(0)).status_code == 200
        assert ended(client, "shed") == 10


def test_probes_are_answered_where_every_place_is_busy(caplog: pytest.LogCaptureFixture) -> None:
    with (
        running(FakeEngine(1.0), max_connections=2, max_batch=1) as client,
        ExitStack() as others,
        caplog.at_level(logging.WARNING, "softonce"),
    ):
        for seed in range(2):
            other = others.enter_context(connected(client, asking(len(noise(seed)))))
            wait_to_be_asked(other)
            other.sendall(noise(seed))
        wait_until(lambda: "queue_images 2.0" in client.get("/metrics").text)
        for path in ("/healthz", "/readyz", "/metrics"):
            answer = client.get(path)
            assert answer.status_code == 200
            assert answer.headers["connection"] == "close"
        for path in ("/v1/model", "/", "/healthz/"):
            with connected(client, f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()) as other:
                status, headers, problem = read_problem(other)
                assert (status, headers["retry-after"]) == (503, "1")
                assert "as many connections are open as are allowed" in problem["detail"]
        text = client.get("/metrics").text
        assert 'request_seconds_count{route="/v1/model",status="503"} 1.0' in text


def test_a_body_that_drips_gives_way_and_is_told_so() -> None:
    with running(FakeEngine(), max_connections=2) as client, ExitStack() as others:
        slow = [others.enter_context(connected(client, asking(9))) for _ in range(2)]
        for other in slow:
            wait_to_be_asked(other)
            other.sendall(b"x")
        assert raw(client, noise(0)).status_code == 200
        status, headers, _ = read_problem(slow[0])
        assert (status, headers["retry-after"]) == (503, "1")


class Guest:
    def __init__(self, name: str) -> None:
        self.name, self.is_shed = name, False

    def shed(self) -> None:
        self.is_shed = True

    def __repr__(self) -> str:
        return self.name


class Ends(list):
    ended = list.append


def test_who_goes_first() -> None:
    crowd, guests = Crowd(4, Ends(), reserve=0), [Guest(name) for name in "abcd"]
    stages = (Stage.SENDING, Stage.IDLE, Stage.STRANGER, Stage.ANSWERING)
    crowd._say = lambda: None
    for guest, stage in zip(guests, stages, strict=True):
        assert crowd.enter(guest)
        crowd.move(guest, stage)
    gone = []
    for name in "efg":
        newest = Guest(name)
        assert crowd.enter(newest)
        crowd.move(newest, Stage.ANSWERING)
        gone += [g.name for g in guests if g.is_shed and g.name not in gone]
    assert gone == ["c", "b", "a"]
    late = Guest("late")
    assert not crowd.enter(late)
    assert late.is_shed
    assert crowd.size == 4
    assert crowd._metrics == ["shed"] * 3 + ["full"]


def test_a_flood_is_a_few_lines_of_log(caplog, monkeypatch) -> None:
    monkeypatch.setattr(crowd, "_QUIET_SECONDS", 0.2)
    with (
        running(FakeEngine(), max_connections=2) as client,
        ExitStack() as others,
        caplog.at_level(logging.WARNING, "softonce"),
    ):
        for _ in range(60):
            others.enter_context(connected(client, b"G"))
        wait_until(lambda: sum(map(int, re.findall(r"(\d+) gave", caplog.text))) == 58)
    assert len(caplog.records) < 30
    assert "--max-connections 2" in caplog.records[0].getMessage()


# who leaves


def test_a_client_that_writes_no_more_is_answered() -> None:
    with running(FakeEngine(0.1)) as client:
        for request in (HEALTH, predict_request(noise(0)), HEALTH * 2):
            with connected(client, request) as other:
                other.shutdown(socket.SHUT_WR)
                answer = read_all(other)
                assert answer.count(b"HTTP/1.1 200 OK") == request.count(b"Host")


@pytest.mark.parametrize("how", ["in its body", "before its answer", "in a chunk"])
def test_a_client_that_leaves_is_a_499_and_no_traceback(how: str, capfd) -> None:
    chunked = PREDICT.replace(b"Content-Length: ", b"Transfer-Encoding: chunked\r\n\r\n9\r\nx")
    sent = {
        "in its body": PREDICT + b"9\r\n\r\nx",
        "before its answer": predict_request(noise(0)),
        "in a chunk": chunked,
    }[how]
    with running(FakeEngine(0.3)) as client:
        with connected(client, sent) as other:
            time.sleep(0.1)
            # As a client that crashes: without a word.
            other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: 'route="/v1/predict"' in client.get("/metrics").text)
        text = client.get("/metrics").text
    assert 'softonce_request_seconds_count{route="/v1/predict",status="499"} 1.0' in text
    assert 'status="500"' not in text
    assert "Traceback" not in capfd.readouterr().err


# what is no HTTP


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        (b"GET /healthz HTTP/1.1\r\n\r\n", "found 0"),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "found 2"),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", "found 2"),
        (b"nonsense\r\n\r\n", "cannot be parsed"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "cannot be parsed"),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", "cannot be parsed"),
        (HEALTH[:-2] + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "be parsed"),
        (HEALTH[:-2] + b"Content-Length: +1\r\n\r\n", "cannot be parsed"),
        (
            PREDICT.replace(b"Content-Length: ", b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
            "be par",
        ),
    ],
)
def test_what_is_no_request_is_a_problem(request_: bytes, found: str) -> None:
    with running(FakeEngine()) as client, connected(client, request_) as other:
        status, headers, problem = read_problem(other)
        assert (status, headers["connection"]) == (400, "close")
        assert found in problem["detail"]
        assert read_all(other) == b""


def test_http_1_0_needs_no_host() -> None:
    with running(FakeEngine()) as client, connected(client, b"GET /healthz HTTP/1.0\r\n\r\n") as a:
        assert read_answer(a)[0] == 200


def test_nonsense_behind_a_request_spoils_no_answer() -> None:
    both = predict_request(noise(0)) + b"nonsense\r\n\r\n"
    with running(FakeEngine(0.1)) as client, connected(client, both) as other:
        assert read_answer(other)[0] == 200
        assert read_all(other) == b""
