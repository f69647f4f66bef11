"""Ten thousand requests, one in twenty malformed: each gets its own right answer, memory stays."""

from __future__ import annotations

import http.client
import json
import random
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from serving.service_beside import expected_record, noise

from softonce import create_model
from softonce.artefact import Metadata, write_artefact
from softonce.engines import open_engine
from softonce.preprocessing import Preprocessing

PER_PART, NUM_CLIENTS, NUM_PICTURES = 5_000, 20, 200
MALFORMED = {
    b"no picture": 422,
    b"": 400,
    noise(0)[:200]: 422,
    b"\x89PNG\r\n\x1a\n" + b"\0" * 50: 422,
}


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose weights are as they began."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    model = create_model("cifar_resnet20", num_classes=10)
    metadata = Metadata(
        arch="cifar_resnet20",
        arch_args={"num_classes": 10},
        classes=tuple("abcdefghij"),
        preprocessing=Preprocessing(size=32),
    )
    write_artefact(path, model.state_dict(), metadata)
    return path


class Talk(threading.Thread):
    """One client: asks for pictures at random and compares each answer with the expected one."""

    def __init__(self, port: int, seed: int, pictures: list[bytes], expected: list[dict]) -> None:
        super().__init__()
        self.port, self.draw = port, random.Random(seed)
        self.pictures, self.expected = pictures, expected
        self.found: Counter[str] = Counter()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        for _ in range(PER_PART // NUM_CLIENTS):
            if self.draw.random() < 0.05:
                data, status = self.draw.choice(list(MALFORMED.items()))
                self.found["malformed"] += self.ask(connection, data)[0] == status
            else:
                index = self.draw.randrange(len(self.pictures))
                status, answer = self.ask(connection, self.pictures[index])
                right = status == 200 and self.is_right(answer["predictions"][0], index)
                self.found["right" if right else f"wrong: {status}"] += 1
        connection.close()

    def ask(self, connection: http.client.HTTPConnection, data: bytes) -> tuple[int, dict]:
        connection.request("POST", "/v1/predict", data, {"Content-Type": "image/jpeg"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    def is_right(self, record: dict, index: int) -> bool:
        """A batch sums in another order than a picture alone, so the last bits may differ."""
        expected = self.expected[index]
        return record["pred"] == expected["pred"] and all(
            found["index"] == right["index"] and abs(found["prob"] - right["prob"]) < 1e-5
            for found, right in zip(record["top"], expected["top"], strict=True)
        )


def resident_mib(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return float(re.search(r"^process_resident_memory_bytes (\S+)$", text, re.MULTILINE)[1]) / 2**20


@pytest.mark.slow
def test_ten_thousand_requests_get_their_own_right_answers(artefact: Path) -> None:
    pictures = [noise(seed, size=(40 + seed % 7, 36)) for seed in range(NUM_PICTURES)]
    engine = open_engine(artefact)
    expected = [expected_record(data, engine) for data in pictures]
    command = [sys.executable, "-m", "softonce", "serve", str(artefact), "--port", "0"]
    memory, found = [], Counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)", process.stderr.readline())[1])
        for part in range(2):  # the second finds the memory as the first has left it
            talks = [Talk(port, 100 * part + n, pictures, expected) for n in range(NUM_CLIENTS)]
            for talk in talks:
                talk.start()
            for talk in talks:
                talk.join()
                found += talk.found
            memory.append(resident_mib(port))
        process.terminate()
        assert process.wait(60) == 0
    sys.stdout.write(f"resident MiB: {memory}, {dict(found)}\n")
    assert set(found) == {"right", "malformed"}
    assert sum(found.values()) == 2 * PER_PART
    assert memory[1] < memory[0] + 20
