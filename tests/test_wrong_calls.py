"""Calls that cannot be meant: one clear error each, and no walk through the disk."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import softonce as so
from softonce.artefact import Metadata, write_artefact
from softonce.errors import SoftonceError
from softonce.preprocessing import Preprocessing

CLASSES = ("ants", "bees", "wasps")


@dataclass(frozen=True)
class Here:
    """What there is: a run folder, its artefact, a folder of photos, one of them, a free name."""

    run: Path
    artefact: Path
    photos: Path
    photo: Path
    free: Path


Call = Callable[[Here], Any]


def config(here: Here, **options: Any) -> so.TrainConfig:
    quick = {"model": "cifar_resnet20", "epochs": 1, "workers": 0, "output": here.free}
    return so.TrainConfig(**{"data": here.photos} | quick | options)


TRAIN: dict[str, Call] = {
    "a missing folder": lambda h: so.train(config(h, data="nothere")),
    "no folder": lambda h: so.train(config(h, data="")),
    "a run as data": lambda h: so.train(config(h, data=h.run)),
    "an artefact as data": lambda h: so.train(config(h, data=h.artefact)),
    "a picture as data": lambda h: so.train(config(h, data=h.photo)),
    "a list as data": lambda h: so.train(config(h, data=[h.photos])),
    "an array as data": lambda h: so.train(config(h, data=np.zeros((3, 3)))),
    "a number as data": lambda h: so.train(config(h, data=3)),
    "a near model": lambda h: so.train(config(h, model="resnet20")),
    "a number as model": lambda h: so.train(config(h, model=3)),
    "a text as epochs": lambda h: so.train(config(h, epochs="3")),
    "a fraction of epochs": lambda h: so.train(config(h, epochs=2.5)),
    "missing weights": lambda h: so.train(config(h, weights="nothere.pth")),
    "a folder as weights": lambda h: so.train(config(h, weights=str(h.photos))),
    "resume what is not there": lambda h: so.train(so.TrainConfig(resume="nothere")),
    "resume what is no run": lambda h: so.train(so.TrainConfig(resume=h.photos)),
    "data as output": lambda h: so.train(config(h, output=h.photos)),
    "a file as output": lambda h: so.train(config(h, output=h.photo)),
    "a finished run as output": lambda h: so.train(config(h, output=h.run)),
    "an unknown option": lambda h: so.train(h.photos, epoch=3, output=h.free),
    "an option of others": lambda h: so.train(h.photos, imgsz=64, output=h.free),
    "a text as a number": lambda h: so.train(h.photos, epochs="3", output=h.free),
    "a dictionary": lambda h: so.train({"data": h.photos}),
    "another verb's options": lambda h: so.train(so.PredictConfig(h.run)),
    "a run": lambda h: so.train(h.run, model="cifar_resnet20", output=h.free),
    "a loss by name": lambda h: so.train(config(h), loss="cross_entropy"),
    "a sink by name": lambda h: so.train(config(h), sinks="tensorboard"),
    "a sink in no list": lambda h: so.train(config(h), sinks=open),
    "a file of options that is not there": lambda h: so.train(config(h), config="nothere.toml"),
    "one number for two": lambda h: so.train(config(h, scale=0.5)),
}
EVALUATE: dict[str, Call] = {
    "swapped": lambda h: so.evaluate(h.photos, h.run),
    "swapped with the artefact": lambda h: so.evaluate(h.photos, h.artefact),
    "no data": lambda h: so.evaluate(h.run),
    "one too many": lambda h: so.evaluate(h.run, h.photos, h.photos),
    "a number as data": lambda h: so.evaluate(h.run, 3),
    "a function as artefact": lambda h: so.evaluate(so.load, h.photos),
    "a missing artefact": lambda h: so.evaluate("nothere", h.photos),
    "missing data": lambda h: so.evaluate(h.run, "nothere"),
    "the artefact twice": lambda h: so.evaluate(h.run, h.artefact),
    "the run twice": lambda h: so.evaluate(h.run, h.run),
    "a picture as artefact": lambda h: so.evaluate(h.photo, h.photos),
    "an unknown split": lambda h: so.evaluate(h.run, h.photos, split="validation"),
    "an empty batch": lambda h: so.evaluate(h.run, h.photos, batch_size=0),
    "a model without weights": lambda h: so.evaluate(h.photos, model="resnet18"),
    "an unknown option": lambda h: so.evaluate(h.run, h.photos, batchsize=3),
    "an option of others": lambda h: so.evaluate(h.run, h.photos, imgsz=64),
    "another verb's options": lambda h: so.evaluate(so.PredictConfig(h.run)),
    "an unknown device": lambda h: so.evaluate(h.run, h.photos, device="tpu"),
}
FILES: dict[str, Call] = {
    "export a folder": lambda h: so.export(h.photos),
    "export nothing": lambda h: so.export("nothere"),
    "export None": lambda h: so.export(None),
    "an unknown format": lambda h: so.export(h.run, to="tflite"),
    "a foreign ending": lambda h: so.export(h.run, output="model.bin"),
    "no such precision": lambda h: so.export(h.run, precision="bf16"),
    "load a folder": lambda h: so.load(h.photos),
    "load nothing": lambda h: so.load("nothere"),
    "load a number": lambda h: so.load(3),
    "load None": lambda h: so.load(None),
    "load a picture": lambda h: so.load(h.photo),
    "load on a toaster": lambda h: so.load(h.run, device="toaster"),
    "serve a folder": lambda h: so.serve(h.photos),
    "serve at a text": lambda h: so.serve(h.run, port="http"),
    "serve beyond": lambda h: so.serve(h.run, port=99_999),
    "pack nothing": lambda h: so.pack("nothere", h.free),
    "pack without output": lambda h: so.pack(h.photos),
    "pack a run": lambda h: so.pack(h.run, h.free),
    "pack into the data": lambda h: so.pack(h.photos, h.photos),
    "check nothing": lambda h: so.check("nothere.py"),
    "check a number": lambda h: so.check(3),
    "check by no rule": lambda h: so.check(h.photos, select="SO999"),
    "a near name": lambda h: so.create_model("resnet20"),
    "a number as name": lambda h: so.create_model(3),
    "classes as text": lambda h: so.create_model("resnet18", num_classes="3"),
    "no classes": lambda h: so.create_model("resnet18", num_classes=0),
    "pretrained": lambda h: so.create_model("resnet18", pretrained=True),
    "a number as pattern": lambda h: so.list_models(3),
}
PREDICT: dict[str, Call] = {
    "nothing": lambda h: so.predict("nothere", h.photo),
    "swapped": lambda h: so.predict(h.photo, h.run),
    "data as artefact": lambda h: so.predict(h.photos, h.photo),
    "no images": lambda h: so.predict(h.run),
    "an empty list": lambda h: so.predict(h.run, []),
    "None": lambda h: so.predict(h.run, None),
    "a number": lambda h: so.predict(h.run, 3),
    "a dictionary": lambda h: so.predict(h.run, {"a": 1}),
    "a number in a list": lambda h: so.predict(h.run, [h.photo, 3]),
    "a wrong shape": lambda h: so.predict(h.run, np.zeros((2, 3, 4, 5, 6))),
    "a range of a byte in floats": lambda h: so.predict(h.run, np.full((8, 8, 3), 255.0)),
    "no classes": lambda h: so.predict(h.run, h.photo, top_k=0),
    "an option of others": lambda h: so.predict(h.run, h.photo, topk=1),
    "an unknown engine": lambda h: so.predict(h.run, h.photo, engine="tensorrt"),
    "a configuration and images": lambda h: so.predict(so.PredictConfig(h.run), h.photo),
    "another verb's options": lambda h: so.predict(so.EvaluateConfig((h.run, h.photos)), h.photo),
    "load a classifier from nothing": lambda h: so.Classifier.load("nothere"),
    "load a classifier from photos": lambda h: so.Classifier.load(h.photos),
    "load a classifier from a number": lambda h: so.Classifier.load(3),
    "classify a number": lambda h: so.Classifier.load(h.run)(3),
    "evaluate a number": lambda h: so.Classifier.load(h.run).evaluate(3),
    "evaluate a run": lambda h: so.Classifier.load(h.run).evaluate(h.run),
    "export to a wrong format": lambda h: so.Classifier.load(h.run).export("tflite"),
    "preprocess two": lambda h: so.Classifier.load(h.run).preprocess([h.photo, h.photo]),
}
CALLS = {
    f"{verb}: {name}": call
    for verb, calls in {
        "train": TRAIN,
        "evaluate": EVALUATE,
        "predict": PREDICT,
        "files": FILES,
    }.items()
    for name, call in calls.items()
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, make_photos: Any) -> Here:
    root = tmp_path_factory.mktemp("here")
    photos = root / "photos"
    make_photos(photos / "train", per_class=4)
    run = root / "run"
    run.mkdir()
    artefact = run / "model.safetensors"
    model = so.create_model("cifar_resnet20", num_classes=3)
    record = Metadata(
        arch="cifar_resnet20",
        arch_args={"num_classes": 3},
        classes=CLASSES,
        preprocessing=Preprocessing(size=16, resize=16),
    )
    write_artefact(artefact, model.state_dict(), record)
    (run / "config.toml").write_text('model = "cifar_resnet20"\n')
    return Here(run, artefact, photos, photos / "train" / "ants" / "00.jpg", root / "free")


@pytest.fixture
def no_walks(here: Here, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Record the listed folders outside of the test's own and those of Python's modules."""
    walked: list[str] = []
    allowed = [here.run.parents[1], Path.cwd(), Path(so.__file__).parents[1]]
    # an import of asyncio looks at the open files
    allowed += [Path(prefix) for prefix in (sys.prefix, sys.base_prefix, "/proc/self/fd")]
    for name in ("scandir", "listdir"):
        real = getattr(os, name)

        def listed(path: Any = ".", real: Any = real) -> Any:
            text = f"/proc/self/fd/{path}" if isinstance(path, int) else os.fsdecode(path)
            folder = Path(text).resolve()
            if not any(folder.is_relative_to(each.resolve()) for each in allowed):
                walked.append(str(folder))
            return real(path)

        monkeypatch.setattr(os, name, listed)
    yield walked
    assert walked == []


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_is_one_clear_error(
    name: str, here: Here, no_walks: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(here.run.parent.rglob("*"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SoftonceError) as caught:
        CALLS[name](here)
    message = str(caught.value)
    assert message.startswith("expected ")
    assert "found" in message
    assert "\n" not in message
    assert len(message) < 600
    assert sorted(here.run.parent.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


def test_the_guard_can_fail(no_walks: list[str]) -> None:
    list(os.scandir("/"))
    assert no_walks == ["/"]
    no_walks.clear()


def test_what_is_meant_works(here: Here, no_walks: list[str]) -> None:
    assert so.evaluate(str(here.run), here.photos, split="train", workers=0, quiet=True).figures.n
    assert so.load(here.run)[1].classes == CLASSES


def test_there_are_dozens() -> None:
    assert len(CALLS) > 80
