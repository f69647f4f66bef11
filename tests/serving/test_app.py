"""The interface: three forms of a body, stable records, and a refusal that says what to do."""

from __future__ import annotations

import base64
import re
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
from serving.service_beside import (
    CLASSES,
    FakeEngine,
    expected_record,
    noise,
    picture,
    raw,
    running,
)

from softonce.serving import pages

PREDICTION_KEYS = ["path", "pred", "class", "prob", "top", "error"]
TOKEN = "open-sesame"
WEB = Path(pages.__file__).parent / "web"


@pytest.fixture(scope="module")
def client():
    with running(FakeEngine(), max_bytes=100_000, max_images=4, max_pixels=10_000) as found:
        yield found


def problem(response: httpx.Response, status: int) -> str:
    """Return the detail of an answer that has to be a problem of this status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert {"type", "title", "detail"} <= set(body)
    return body["detail"]


def encoded(*images: bytes) -> dict:
    return {"images": [{"data": base64.b64encode(data).decode()} for data in images]}


# predictions


def test_a_record_is_that_of_a_direct_prediction(client) -> None:
    for seed in range(6):
        data = noise(seed)
        (record,) = raw(client, data).json()["predictions"]
        assert list(record) == PREDICTION_KEYS
        assert record == expected_record(data, FakeEngine())
        assert record["class"] == CLASSES[seed % 3]


def test_all_forms_of_a_body_say_the_same(client) -> None:
    data = noise(1)
    answers = [
        raw(client, data),
        client.post("/v1/predict", content=data, headers={"Content-Type": "image/jpeg"}),
        client.post("/v1/predict", content=data),
        client.post("/v1/predict", files={"images": ("a.jpg", data)}),
        client.post("/v1/predict", json=encoded(data)),
    ]
    found = [answer.json()["predictions"][0] for answer in answers]
    assert [record.pop("path") for record in found] == [None, None, None, "a.jpg", None]
    assert found == [found[0]] * len(found)


def test_images_are_answered_in_order_and_a_bad_one_has_its_reason(client) -> None:
    files = [("images", (f"{n}.jpg", noise(n))) for n in range(3)]
    files.insert(1, ("images", ("notes.txt", b"no picture")))
    answer = client.post("/v1/predict", files=files, params={"top_k": 1})
    assert answer.status_code == 200
    records = answer.json()["predictions"]
    assert [record["path"] for record in records] == ["0.jpg", "notes.txt", "1.jpg", "2.jpg"]
    assert [record["class"] for record in records] == ["red", None, "green", "blue"]
    assert [len(record["top"]) for record in records] == [1, 0, 1, 1]
    assert records[1]["error"] == "no known image format"


def test_a_name_is_a_label_and_never_opened(client) -> None:
    for name in ("/etc/passwd", "../../etc/passwd", str(Path(__file__))):
        (record,) = client.post("/v1/predict", files={"images": (name, b"no picture")}).json()[
            "predictions"
        ]
        assert record["error"] == "no known image format"
        body = encoded(noise(0))
        body["images"][0]["name"] = name
        (record,) = client.post("/v1/predict", json=body).json()["predictions"]
        assert (record["path"], record["class"]) == (name, "red")


def test_the_model_says_what_it_is(client) -> None:
    found = client.get("/v1/model").json()
    assert found["classes"] == list(CLASSES)
    assert found["temperature"] == 2.0
    assert found["preprocessing"]["size"] == 8
    assert found["limits"]["max_bytes"] == 100_000


# refusals


@pytest.mark.parametrize(
    ("kind", "body", "status", "message"),
    [
        ("application/x-www-form-urlencoded", b"x", 415, 'add -H "Content-Type: image/jpeg"'),
        ("text/plain", b"x", 415, "found 'text/plain'"),
        ("image/jpeg", b"", 400, "found 0 bytes"),
        ("image/png", b"<svg/>", 422, "found: no known image format"),
        ("application/json", b"{", 400, "found at the body: Invalid JSON"),
        ("application/json", b"[]", 400, "found at the body"),
        ("application/json", b'{"images": []}', 400, "found at images: List should have at least"),
        ("application/json", b'{"images": [{"data": "%"}]}', 400, "base64 in images.0.data"),
        ("application/json", b'{"images": [{"data": "", "path": "/a"}]}', 400, "images.0.path"),
        ("application/json", b"[" * 50_000, 400, "found at the body"),
        ("multipart/form-data", b"x", 400, "No boundary given"),
        ("multipart/form-data; boundary=b", b"--b\r\n", 400, "ends early"),
        ("multipart/form-data; boundary=b", b"--b--\r\n", 400, "found none: use curl -F"),
        ("multipart/form-data; boundary=b", b"x" * 99, 400, "expected a form"),
    ],
)
def test_a_body_that_is_no_picture(client, kind, body, status, message) -> None:
    answer = client.post("/v1/predict", content=body, headers={"Content-Type": kind})
    assert message in problem(answer, status)


def test_a_form_with_other_fields(client) -> None:
    wrong = client.post("/v1/predict", files={"file": ("a.jpg", noise(0))})
    assert "expected the form's field 'images', found 'file'" in problem(wrong, 400)
    content = b'--b\r\nContent-Disposition: form-data; name="images"\r\n\r\ntext\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    text = client.post("/v1/predict", content=content, headers=headers)
    assert "found text" in problem(text, 400)


def test_where_no_image_can_be_read_each_reason_is_told(client) -> None:
    files = [("images", ("a.txt", b"a")), ("images", ("b.jpg", noise(0)[:200]))]
    answer = client.post("/v1/predict", files=files)
    assert "expected an image that can be read" in problem(answer, 422)
    records = answer.json()["predictions"]
    assert [record["path"] for record in records] == ["a.txt", "b.jpg"]
    assert all(record["error"] for record in records)


def test_limits_of_bytes_pixels_and_images(client) -> None:
    for length in (100_001, 150_000, 300_000):
        assert "at most 100,000 bytes" in problem(raw(client, b"x" * length), 413)
    assert "150 x 100 pixels, more than 10,000" in problem(
        raw(client, picture(size=(150, 100))), 422
    )
    files = [("images", (f"{n}.jpg", noise(n))) for n in range(5)]
    assert "at most 4 images" in problem(client.post("/v1/predict", files=files), 413)
    assert "at most 4 images" in problem(client.post("/v1/predict", json=encoded(*[b"x"] * 5)), 413)


@pytest.mark.parametrize("top_k", ["0", "1001", "many"])
def test_a_wrong_parameter(client, top_k: str) -> None:
    assert "query.top_k" in problem(raw(client, picture(), top_k=top_k), 400)


def test_other_paths_and_methods(client) -> None:
    assert "found GET /v3" in problem(client.get("/v3"), 404)
    answer = client.delete("/v1/predict")
    assert "found DELETE" in problem(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_a_format_that_starts_programs_is_not_opened(client) -> None:
    drawing = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    assert "no known image format" in problem(raw(client, drawing), 422)


def test_a_mistake_of_the_engine_is_a_500_and_the_next_is_answered() -> None:
    with running(FakeEngine()) as client:
        files = [("images", ("a.png", picture((0, 0, 0)))), ("images", ("b.jpg", noise(0)))]
        assert "its log has the trace" in problem(client.post("/v1/predict", files=files), 500)
        assert raw(client, noise(0)).status_code == 200


# under pressure


def test_a_full_queue_is_a_429_with_retry_after() -> None:
    with running(FakeEngine(0.3), max_queue=2, max_images=2, max_batch=1) as client:
        threads = [threading.Thread(target=raw, args=(client, noise(n))) for n in range(2)]
        for thread in threads:
            thread.start()
        while "queue_images 2.0" not in client.get("/metrics").text:
            time.sleep(0.01)
        refused = raw(client, noise(0))
        for thread in threads:
            thread.join()
        assert "at most 2 images at a time" in problem(refused, 429)
        assert int(refused.headers["retry-after"]) >= 1
        assert raw(client, noise(0)).status_code == 200


def test_an_answer_that_takes_too_long_is_a_504() -> None:
    with running(FakeEngine(0.5), timeout=0.2) as client:
        assert "within 0.2 s" in problem(raw(client, noise(0)), 504)


def test_a_body_that_takes_too_long_is_a_408_and_nobody_waits_for_it() -> None:
    with running(FakeEngine(), body_seconds=0.5) as client:
        slow = socket.create_connection((client.base_url.host, client.base_url.port))
        slow.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\nabc")
        assert raw(client, noise(0)).status_code == 200
        answer = slow.recv(65536)
        slow.close()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer.lower()


# the token


def test_the_token_is_asked_for_where_there_is_one() -> None:
    with running(FakeEngine(), token=TOKEN) as client:
        for path in ("/v1/model", "/metrics"):
            for wrong in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {TOKEN}"}):
                answer = client.get(path, headers=wrong)
                assert "expected the header Authorization: Bearer TOKEN" in problem(answer, 401)
                assert answer.headers["www-authenticate"] == "Bearer"
            right = {"Authorization": f"Bearer {TOKEN}"}
            assert client.get(path, headers=right).status_code == 200
        assert raw(client, noise(0)).status_code == 401
        for path in ("/", "/docs", "/healthz", "/readyz", "/openapi.json"):
            assert client.get(path).status_code == 200


# what is counted, and what a browser is told


def test_metrics_count_requests_images_and_batches() -> None:
    with running(FakeEngine()) as client:
        raw(client, noise(0))
        raw(client, b"no picture")
        client.get("/nothing")
        text = client.get("/metrics").text
    for line in (
        'softonce_request_seconds_count{route="/v1/predict",status="200"} 1.0',
        'softonce_request_seconds_count{route="/v1/predict",status="422"} 1.0',
        'softonce_request_seconds_count{route="other",status="404"} 1.0',
        'softonce_images_total{model="model",outcome="predicted"} 1.0',
        'softonce_images_total{model="model",outcome="unreadable"} 1.0',
        'softonce_batch_images_count{model="model"} 1.0',
        'softonce_engine_seconds_count{model="model"} 1.0',
        "softonce_queue_images 0.0",
    ):
        assert line in text


def test_every_answer_tells_the_browser_to_be_careful(client) -> None:
    for path in ("/", "/docs", "/web/page.js", "/healthz", "/nothing", "/v1/predict"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith(
            "default-src 'none'; script-src 'self'"
        )
        assert headers["x-content-type-options"] == "nosniff"


def test_the_pages_load_nothing_from_elsewhere() -> None:
    files = [path for path in WEB.iterdir() if path.suffix in {".html", ".css", ".js"}]
    assert len(files) == 5
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(src|href)=\"(https?:)?//|url\(|@import|import .* from", text), path
