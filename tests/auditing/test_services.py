"""A service is asked within bounds, on one host; what depends on the way of asking is found."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from auditing.trained import softmax
from PIL import Image, ImageOps

import softonce
from softonce.errors import ArgumentError, DataError

CLASSES = ("ants", "bees", "wasps")


def logits_of(data: bytes, *, heeds_exif: bool = True) -> list[float]:
    """Answer by the mean colour, which tells the class, and by which half is brighter."""
    image = Image.open(io.BytesIO(data))
    image = (ImageOps.exif_transpose(image) if heeds_exif else image).convert("RGB")
    pixels = np.asarray(image, float) / 255
    mean = pixels.mean(axis=(0, 1))
    tall = 40.0 if image.height > image.width else 0.0
    return (30 * (mean - mean.mean()) + [tall, 0.0, 0.0]).tolist()


@contextmanager
def serving(answer: Callable[[bytes, int], object]) -> Iterator[tuple[str, list[str]]]:
    """Serve; yield the address and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            data = json.dumps(answer(body, len(asked))).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def records(values: list[float]) -> list[dict[str, object]]:
    pairs = sorted(zip(values, CLASSES, strict=True), reverse=True)
    return [{"label": name, "score": value} for value, name in pairs]


def probs_of(data: bytes, **options: bool) -> list[float]:
    return softmax(np.array([logits_of(data, **options)]))[0].tolist()


def levels(found: softonce.Audit) -> dict[str, str]:
    return {finding.name: finding.level for finding in found.findings}


def test_a_service_of_records_is_audited(photos: Path) -> None:
    with serving(lambda body, _: records(probs_of(body))) as (url, asked):
        found = softonce.audit(f"{url}/classify", photos, quiet=True)
    assert found.faults == []
    assert found.labelled is not None
    assert found.labelled.served.top1 > 0.9
    assert set(asked) == {"/classify"}
    assert {"same-question", "order", "batch-size", "png", "jpeg", "exif"} <= levels(found).keys()


def test_a_double_softmax_behind_an_address_is_found(make_photos, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "many", per_class=30)

    def answer(body: bytes, _: int) -> object:
        inner = json.loads(body)["inputs"]
        return records(softmax(np.array([probs_of(base64.b64decode(inner))]))[0].tolist())

    with serving(answer) as (url, _):
        found = softonce.audit(f"{url}/models/x", photos, quiet=True)
    assert [finding.name for finding in found.faults] == ["second-softmax"]


def test_three_shapes_give_the_same_answers(photos: Path) -> None:
    def ours(body: bytes, _: int) -> object:
        files = [base64.b64decode(each["data"]) for each in json.loads(body)["images"]]
        tops = [
            [{"class": r["label"], "prob": r["score"]} for r in records(probs_of(f))] for f in files
        ]
        return {"predictions": [{"top": top} for top in tops]}

    def kserve(body: bytes, _: int) -> object:
        (tensor,) = json.loads(body)["inputs"]
        rows = [probs_of(base64.b64decode(text)) for text in tensor["data"]]
        flat = [value for row in rows for value in row]
        return {"outputs": [{"name": "probs", "shape": [len(rows), 3], "data": flat}]}

    shapes = {"/v1/predict": ours, "/v2/models/x/infer": kserve, "/raw": lambda b, _: probs_of(b)}
    found = []
    for path, answer in shapes.items():
        with serving(answer) as (url, _):
            found.append(softonce.audit(url + path, photos, quiet=True))
    for each in found:
        assert each.answers.classes == CLASSES
        assert np.allclose(each.answers.values, found[0].answers.values)
        assert each.labelled is not None


def test_what_depends_on_the_way_of_asking_is_a_fault(photos: Path) -> None:
    with serving(lambda body, _: records(probs_of(body, heeds_exif=False))) as (url, _):
        assert levels(softonce.audit(url, photos, quiet=True))["exif"] == "fault"

    def noisy(body: bytes, number: int) -> object:
        logits = np.array([logits_of(body)]) + 20 * np.random.default_rng(number).normal(size=3)
        return records(softmax(logits)[0].tolist())

    with serving(noisy) as (url, _):
        assert levels(softonce.audit(url, photos, quiet=True))["same-question"] == "fault"

    def batched(body: bytes, _: int) -> object:
        files = [base64.b64decode(each["data"]) for each in json.loads(body)["images"]]
        logits = np.array([logits_of(each) for each in files])
        values = softmax(logits - logits.mean(axis=0))  # statistics of the batch
        return {"predictions": [{"top": records(row)} for row in values.tolist()]}

    with serving(batched) as (url, _):
        found = levels(softonce.audit(f"{url}/v1/predict", photos, quiet=True))
    assert found["batch-size"] == "fault"
    assert found["same-question"] == "note"


@contextmanager
def speaking(*parts: bytes, pause: float = 0.0, forever: bool = False) -> Iterator[str]:
    """Answer every connection with these bytes."""
    server = socket.create_server(("127.0.0.1", 0))
    is_over = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(5)
            try:
                connection.recv(1 << 16)
                for part in parts:
                    connection.sendall(part)
                while forever and not is_over.is_set():
                    connection.sendall(b"a")
                    time.sleep(pause)
                # To close before all of the request is read would reset the connection.
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass
            except OSError:
                return

    def accept() -> None:
        while not is_over.is_set():
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/x"
    finally:
        is_over.set()
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


OK = b"HTTP/1.1 200 OK\r\n"
LIES = {
    "html": ((OK + b"Content-Length: 13\r\n\r\n<html></html>",), "expected JSON"),
    "short": ((OK + b"Content-Length: 5000\r\n\r\n[0.5, 0.5]",), "expected an answer"),
    "silence": ((), "expected an answer"),
    "noise": ((b"\x00\x01\x02\r\n\r\n",), "expected an answer"),
    "moved": ((b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",),
              "redirects are not followed"),
    "error": ((b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno",), "found 500"),
    "no scores": ((OK + b'Content-Length: 10\r\n\r\n{"a": "b"}',), "expected scores"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_service_that_lies_is_one_line(lie: str, photos: Path) -> None:
    parts, message = LIES[lie]
    with speaking(*parts) as url, pytest.raises(DataError, match=message) as caught:
        softonce.audit(url, photos, limit=1, timeout=2, quiet=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("begin", [b"", OK, OK + b"\r\n", OK + b"Content-Length: 9000000\r\n\r\n"])
def test_a_service_that_drips_is_given_up(begin: bytes, photos: Path) -> None:
    with (
        speaking(begin, pause=0.02, forever=True) as url,
        pytest.raises(DataError, match=r"nothing whole within 0\.3 s"),
    ):
        softonce.audit(url, photos, limit=1, timeout=0.3, quiet=True)


def test_an_answer_without_end_is_cut(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("softonce.auditing.asking.MAX_ANSWER", 1000)
    with (
        speaking(OK + b"\r\n" + b"1" * 5000) as url,
        pytest.raises(DataError, match="at most 1,000 bytes"),
    ):
        softonce.audit(url, photos, limit=1, quiet=True)


def test_nobody_there_and_no_address_are_one_line(photos: Path) -> None:
    with pytest.raises(DataError, match="expected an answer"):
        softonce.audit("http://127.0.0.1:9/x", photos, limit=1, quiet=True)
    with pytest.raises(ArgumentError, match="with a host"):
        softonce.audit("http://:80", photos, quiet=True)


def test_a_model_file_of_ours_is_audited(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    softonce.train(photos, model="cifar_resnet20", size=16, epochs=1, output=run, quiet=True)
    found = softonce.audit(run, photos, quiet=True)
    assert found.answers.claim == "probabilities"
    assert levels(found)["batch-size"] == "note"
    assert levels(found)["exif"] == "note"
    assert found.labelled is not None


def test_a_graph_of_others_with_two_softmaxes_is_a_fault(make_photos, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    weight = 40 * np.eye(3, dtype=np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("MatMul", ["features", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["once"], axis=1),
        helper.make_node("Softmax", ["once"], ["probs"], axis=1),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("images", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [value("probs", TensorProto.FLOAT, ["n", 3])], [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "double.onnx")
    photos = make_photos(tmp_path / "photos", per_class=30)
    found = softonce.audit(tmp_path / "double.onnx", photos, quiet=True)
    assert {"graph", "second-softmax"} <= {finding.name for finding in found.faults}
    assert found.labelled is not None
    assert found.labelled.served.top1 > 0.9
    assert found.answers.classes == CLASSES
