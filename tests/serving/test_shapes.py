"""The shapes of other services: asked by the clients of their makers, or by their bodies."""

from __future__ import annotations

import base64
import json
import struct

import httpx
import numpy as np
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from serving.service_beside import CLASSES, FakeEngine, expected_record, noise, raw, running

DATA = noise(1)


@pytest.fixture(scope="module")
def client():
    with running({"a": FakeEngine(), "b": FakeEngine()}) as found:
        yield found


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


# Hugging Face


@pytest.mark.parametrize("path", ["", "models/a", "models/b"])
def test_hugging_faces_client_gets_labels_and_scores(client, path: str) -> None:
    asks = InferenceClient(model=f"{client.base_url}/{path}")
    top = expected_record(DATA, FakeEngine())["top"]
    found = asks.image_classification(DATA)
    assert [(one.label, one.score) for one in found] == [(c["class"], c["prob"]) for c in top]
    assert len(asks.image_classification(DATA, top_k=2)) == 2
    scores = asks.image_classification(DATA, function_to_apply="none")
    assert [one.score for one in scores] == [c["logit"] for c in top]
    for wrong in ({"function_to_apply": "sigmoid"}, {}):
        with pytest.raises(HfHubHTTPError):
            asks.image_classification(DATA if wrong else b"no picture", **wrong)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"inputs": 3}', b'{"inputs": "%"}', b"{}"])
def test_what_is_not_hugging_faces_shape(client, body: bytes) -> None:
    answer = client.post("/models/a", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"] == answer.json()["detail"]


# KServe


def test_the_protocol_says_what_is_there(client) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/models/a/ready").json() == {"name": "a", "ready": True}
    about = client.get("/v2/models/b").json()
    assert about["inputs"] == [{"name": "images", "datatype": "BYTES", "shape": [-1]}]
    assert {one["name"] for one in about["outputs"]} == {"probs", "logits", "labels"}
    assert client.get("/v2/models/c").json()["error"].startswith("expected one of the models a, b")
    assert client.get("/v2/models/a/versions/9").status_code == 404


def infer(client: httpx.Client, record: dict) -> httpx.Response:
    return client.post("/v2/models/a/infer", json=record)


def bytes_input(*files: bytes) -> dict:
    data = [encoded(file) for file in files]
    return {"name": "images", "datatype": "BYTES", "shape": [len(files)], "data": data}


def test_files_in_json_are_answered_as_everywhere(client) -> None:
    found = infer(client, {"id": "7", "inputs": [bytes_input(DATA, noise(2))]}).json()
    assert (found["model_name"], found["id"]) == ("a", "7")
    outputs = {one["name"]: one for one in found["outputs"]}
    assert outputs["labels"]["data"] == [CLASSES[1], CLASSES[2]]
    assert outputs["probs"]["shape"] == [2, 3]
    top = expected_record(DATA, FakeEngine())["top"]
    for each in top:
        assert outputs["probs"]["data"][each["index"]] == pytest.approx(each["prob"], abs=1e-7)
        assert outputs["logits"]["data"][each["index"]] == each["logit"]


def test_pixels_are_the_networks_square_or_a_picture(client) -> None:
    square = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    tensor = {"name": "images", "datatype": "UINT8", "shape": [2, 3, 8, 8]}
    found = infer(client, {"inputs": [tensor | {"data": square.tolist()}]}).json()
    logits = next(one for one in found["outputs"] if one["name"] == "logits")["data"]
    assert np.allclose(np.reshape(logits, (2, 3)), FakeEngine().logits(square))
    picture = np.full((1, 12, 16, 3), 90, np.uint8)
    tensor |= {"shape": [1, 12, 16, 3], "data": picture.ravel().tolist()}
    found = infer(client, {"inputs": [tensor], "outputs": [{"name": "logits"}]}).json()
    assert [one["name"] for one in found["outputs"]] == ["logits"]
    assert np.allclose(found["outputs"][0]["data"], 90 / 50)


def test_bytes_behind_the_json(client) -> None:
    behind = struct.pack("<I", len(DATA)) + DATA
    tensor = {"name": "images", "datatype": "BYTES", "shape": [1]}
    tensor["parameters"] = {"binary_data_size": len(behind)}
    outputs = [
        {"name": "probs", "parameters": {"binary_data": True}},
        {"name": "probs", "parameters": {"classification": 2}},
        {"name": "labels", "parameters": {"binary_data": True}},
    ]
    head = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = client.post("/v2/models/a/infer", content=head + behind, headers=headers)
    length = int(answer.headers["inference-header-content-length"])
    about, data = json.loads(answer.content[:length]), answer.content[length:]
    probs = np.frombuffer(data[:12], np.float32)
    assert probs[1] == pytest.approx(expected_record(DATA, FakeEngine())["prob"], abs=1e-7)
    assert data[12:] == struct.pack("<I", 5) + b"green"
    assert about["outputs"][1]["data"][0].endswith(":1:green")


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"inputs": []},
        {"inputs": [{"name": "images", "datatype": "BYTES", "shape": [2], "data": ["YQ=="]}]},
        {"inputs": [{"name": "images", "datatype": "FP32", "shape": [1], "data": [1]}]},
        {"inputs": [{"name": "other", "datatype": "BYTES", "shape": [1], "data": ["YQ=="]}]},
        {"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1], "data": [3]}]},
        {"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 2], "data": [1, 2]}]},
        {
            "inputs": [
                {"name": "images", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, 300]}
            ]
        },
        {"inputs": [{"name": "images", "datatype": "UINT8", "shape": [9, 9, 9, 9], "data": [1]}]},
        {"inputs": [bytes_input(DATA)], "outputs": [{"name": "other"}]},
    ],
)
def test_what_is_not_the_protocol_is_a_400_in_its_own_words(client, record: dict) -> None:
    answer = infer(client, record)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("expected ")


def test_a_file_that_is_no_image_names_its_place(client) -> None:
    answer = infer(client, {"inputs": [bytes_input(DATA, b"no picture")]})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("images[1]: expected an image that can be read")


def test_a_strip_of_pixels_is_refused_as_its_file_would_be(client) -> None:
    strip = {"name": "images", "datatype": "UINT8", "shape": [1, 1, 300, 3], "data": [9] * 900}
    answer = infer(client, {"inputs": [strip]})
    assert answer.status_code == 422
    assert "300 x 1 pixels: a strip" in answer.json()["error"]


def test_the_other_shapes_ask_for_the_token_too() -> None:
    with running(FakeEngine(), token="open-sesame") as client:
        for path in ("/v2", "/v2/models/model", "/v1/models"):
            assert client.get(path).status_code == 401
        for path in ("/", "/models/model", "/v2/models/model/infer"):
            assert client.post(path, content=DATA).status_code == 401
        assert client.get("/v2/health/ready").status_code == 200
        asks = InferenceClient(model=str(client.base_url), token="open-sesame")
        assert asks.image_classification(DATA)[0].label == "green"


@pytest.mark.slow
def test_tritons_client_gets_the_same(client) -> None:
    triton = pytest.importorskip("tritonclient.http")
    asks = triton.InferenceServerClient(f"{client.base_url.host}:{client.base_url.port}")
    assert asks.is_server_live()
    assert asks.is_server_ready()
    assert asks.is_model_ready("a")
    assert asks.get_model_metadata("a")["name"] == "a"
    expected = raw(client, DATA).json()["predictions"][0]
    given = triton.InferInput("images", [1], "BYTES")
    given.set_data_from_numpy(np.array([DATA], dtype=object))
    for outputs in (
        None,
        [triton.InferRequestedOutput("probs"), triton.InferRequestedOutput("labels")],
    ):
        found = asks.infer("a", [given], outputs=outputs)
        assert found.as_numpy("labels")[0] == b"green"
        assert found.as_numpy("probs").max() == pytest.approx(expected["prob"], abs=1e-7)
    square = triton.InferInput("images", [1, 3, 8, 8], "UINT8")
    square.set_data_from_numpy(np.full((1, 3, 8, 8), 100, np.uint8))
    assert np.allclose(asks.infer("a", [square]).as_numpy("logits"), 2.0)
