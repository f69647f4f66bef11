"""Several models in one service, and one that is replaced while it answers."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from serving.raw_http import wait_until
from serving.service_beside import FakeEngine, noise, options, raw, running

from softonce.errors import ArtefactError, ConfigError
from softonce.serving import server, watching
from softonce.serving.catalog import catalog_of


@dataclass
class Constant(FakeEngine):
    """Says one class, whatever it sees."""

    number: int = 0

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        super().logits(pixels)
        return np.tile(np.eye(3, dtype=np.float32)[self.number], (len(pixels), 1))


def classes(answer: httpx.Response) -> list[str]:
    return [each["class"] for each in answer.json()["predictions"]]


# names


def test_files_get_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("run/model.safetensors", "all/cats.onnx", "all/dogs/model.safetensors"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(b"x")
    Path("all/.hidden.onnx").write_bytes(b"x")
    Path("all/notes.txt").write_bytes(b"x")

    def named(*words: str) -> dict[str, str]:
        return {name: str(path) for name, path in catalog_of(words).items()}

    assert named("run") == {"run": "run/model.safetensors"}
    assert named("run/model.safetensors") == {"run": "run/model.safetensors"}
    assert named("a=run", "b=all/cats.onnx") == {"a": "run/model.safetensors", "b": "all/cats.onnx"}
    assert named("all") == {"cats": "all/cats.onnx", "dogs": "all/dogs/model.safetensors"}
    with pytest.raises(ConfigError, match="found cats twice"):
        named("all", "cats=run")
    with pytest.raises(ConfigError, match="expected a model's name"):
        named("a/b=run")


def test_each_model_answers_under_its_name() -> None:
    with running({name: Constant(number=n) for n, name in enumerate("abc")}) as client:
        assert [each["name"] for each in client.get("/v1/models").json()["models"]] == list("abc")
        assert classes(raw(client, noise(0))) == ["red"]
        for name, label in (("a", "red"), ("b", "green"), ("c", "blue")):
            assert classes(raw(client, noise(0), model=name)) == [label]
            assert client.get("/v1/model", params={"model": name}).json()["name"] == name
        answer = raw(client, noise(0), model="d")
        assert answer.status_code == 404
        assert "expected one of the models a, b, c, found 'd'" in answer.json()["detail"]


def test_a_service_needs_a_model() -> None:
    with pytest.raises(ConfigError, match="expected a classifier, or --watch FOLDER"):
        catalog_of([])


# replaced


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one model, whose file says which class it answers with."""
    monkeypatch.setattr(watching, "SECONDS", 0.02)
    monkeypatch.setattr(server, "open_as_asked", lambda path, config: opened(path))
    (tmp_path / "a.onnx").write_text("0")
    return tmp_path


def opened(path: Path) -> Constant:
    text = path.read_text()
    if not text.isdecimal():
        raise ArtefactError(f"{path} is damaged")
    return Constant(0.002, number=int(text))


def replace_file(path: Path, text: str) -> None:
    temporary = path.with_name(".new")
    temporary.write_text(text)
    temporary.replace(path)


def test_a_model_is_replaced_and_no_request_is_lost_or_answered_by_both(folder: Path) -> None:
    found, stop = Counter(), threading.Event()

    def talk(address: str) -> None:
        with httpx.Client(base_url=address, timeout=30) as client:
            files = [("images", (f"{n}.jpg", noise(n))) for n in range(6)]
            while not stop.is_set():
                answer = client.post("/v1/predict", files=files)
                found[(answer.status_code, *sorted(set(classes(answer))))] += 1

    model = {"a": opened(folder / "a.onnx")}
    with running(model, watch=folder, max_batch=4) as client:
        talks = [threading.Thread(target=talk, args=(str(client.base_url),)) for _ in range(4)]
        for thread in talks:
            thread.start()
        for number in ("1", "2", "0", "2"):
            replace_file(folder / "a.onnx", number)
            label = ["red", "green", "blue"][int(number)]
            wait_until(lambda label=label: classes(raw(client, noise(0))) == [label])
        stop.set()
        for thread in talks:
            thread.join()
    assert set(found) <= {(200, "red"), (200, "green"), (200, "blue")}
    assert sum(found.values()) > 4


def test_a_damaged_file_changes_nothing_and_the_old_one_is_the_way_back(folder, caplog) -> None:
    with (
        caplog.at_level(logging.INFO, "softonce"),
        running({"a": opened(folder / "a.onnx")}, watch=folder) as client,
    ):
        replace_file(folder / "a.onnx", "damaged")
        wait_until(lambda: "is damaged; the model of before goes on" in caplog.text)
        assert classes(raw(client, noise(0))) == ["red"]
        replace_file(folder / "a.onnx", "1")
        wait_until(lambda: classes(raw(client, noise(0))) == ["green"])
        replace_file(folder / "a.onnx", "0")
        wait_until(lambda: classes(raw(client, noise(0))) == ["red"])
        replace_file(folder / "b.onnx", "2")
        wait_until(lambda: raw(client, noise(0), model="b").status_code == 200)
        (folder / "a.onnx").unlink()
        assert classes(raw(client, noise(0))) == ["red"]
    assert caplog.text.count("is damaged") == 1


def test_a_file_that_is_still_being_written_is_not_opened(folder: Path) -> None:
    hosted = []

    class Models:
        def __iter__(self):
            return iter(())

        def host(self, name, engine, version):
            hosted.append(engine.number)

    async def look() -> None:
        watcher = watching.Watcher(folder, Models(), opened, max_batch=1)
        for text in ("1", "11", "2"):
            (folder / "a.onnx").write_text(text)
            await watcher.look()
        assert hosted == []
        await watcher.look()
        await watcher.look()

    asyncio.run(look())
    assert hosted == [2]


def test_a_folder_is_enough() -> None:
    assert options(watch=Path("models")).words == ("model.onnx", "models")
