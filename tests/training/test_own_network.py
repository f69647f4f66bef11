"""The road for a network of one's own, in fresh processes: train, predict, export, serve."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from training.runs import small, weights

import softonce
from softonce.artefact import read_metadata
from softonce.models import create_model
from softonce.models.sources.own import find_loaded
from softonce.training import job
from softonce.training.step import TrainStep

OWN = """
from torch import nn

class Tiny(nn.Module):
    def __init__(self, num_classes, in_channels=3):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 8, 3, stride=2)
        self.classifier = nn.Sequential(nn.Dropout(0.1), nn.Linear(8, num_classes))

    def forward(self, images):
        return {"logits": self.classifier(self.conv(images).relu().mean(dim=(2, 3)))}
"""
TRAIN = ["--size", "16", "--epochs", "2", "--batch-size", "12", "--workers", "0", "--device", "cpu"]


def softonce_run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, in that folder."""
    command = [sys.executable, "-m", "softonce", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_photos: Any) -> Path:
    """Return a folder with nets.py, photos, and a run that a process of its own trained."""
    root = tmp_path_factory.mktemp("own")
    (root / "nets.py").write_text(OWN)
    make_photos(root / "photos/train")
    make_photos(root / "photos/val", per_class=4)
    done = softonce_run(
        root, "train", "photos", "--model", "nets.py:Tiny", *TRAIN, "--output", "run", "--quiet"
    )
    assert done.returncode == 0, done.stderr
    return root


USE = """
import sys
from pathlib import Path

from serving.service_beside import raw, running
from softonce.cli.app import main
from softonce.engines import open_engine

photo = "photos/val/ants/00.jpg"
assert main(["predict", "run", photo, "--trust", "--format", "jsonl"]) == 0
assert main(["evaluate", "run", "photos", "--model", "nets.py:Tiny", "--json"]) == 0
assert main(["export", "run", "--model", "nets:Tiny", "--quiet"]) == 0
assert main(["inspect", "run/model.onnx", "--expect", "logits", "--json"]) == 0
assert main(["predict", "run/model.onnx", photo, "--format", "jsonl"]) == 0
with running(open_engine(Path("run"), trust=True)) as client:
    print(raw(client, Path(photo).read_bytes()).text)
"""


def test_another_process_predicts_evaluates_exports_and_serves(folder: Path) -> None:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", USE],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    predicted, measured, inspected, exported, served = records
    assert measured["n"] == 12
    assert inspected["findings"] == []
    served = served["predictions"][0]
    for record in (exported, served):
        assert record["class"] == predicted["class"]
        assert record["prob"] == pytest.approx(predicted["prob"], abs=1e-4)


@pytest.mark.parametrize("verb", ["predict", "export", "serve", "evaluate"])
def test_nobodys_code_is_run_unless_somebody_says_so(
    folder: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from softonce.cli.app import main

    photos = {"predict": ["photos/val"], "evaluate": ["photos"]}.get(verb, [])
    before = set(sys.modules)
    assert main([verb, str(folder / "run"), *(str(folder / name) for name in photos)]) == 2
    text = capsys.readouterr().err
    assert "expected --trust or --model" in text
    assert "nets.py:Tiny" in text
    assert not any("nets" in name for name in set(sys.modules) - before)


def test_a_classifier_can_be_moved_with_its_file(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "run", tmp_path / "moved" / "run")
    photo = folder / "photos/val/ants/00.jpg"
    asked = ("predict", tmp_path / "moved" / "run", photo, "--trust", "--format", "jsonl")
    record = read_metadata(tmp_path / "moved/run/model.safetensors")
    assert record.arch == "nets.py:Tiny"
    assert str(folder) not in json.dumps(record.to_dict())
    gone = softonce_run(tmp_path, *asked)
    assert gone.returncode == 2
    assert "expected nets.py in the working directory" in gone.stderr
    assert "--model FILE.py:Tiny" in gone.stderr
    assert "\n" not in gone.stderr.strip()
    here = json.loads(softonce_run(folder, *asked).stdout)
    shutil.copy(folder / "nets.py", tmp_path / "moved")
    moved = softonce_run(tmp_path, *asked)
    assert moved.returncode == 0, moved.stderr
    assert json.loads(moved.stdout) == here


def test_of_two_files_of_a_name_none_is_guessed(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "twins.py").write_text(OWN)
        create_model(f"{tmp_path / name / 'twins.py'}:Tiny", num_classes=3)
        found = find_loaded("twins.py:Tiny")
        assert (found is None) == (name == "two")


def test_a_killed_run_goes_on_bit_for_bit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "MAX_SAVING_SHARE", float("inf"))
    options = {"model": f"{folder / 'nets.py'}:Tiny", "model_ema": True, "head_epochs": 1}
    config = small(folder / "photos", tmp_path / "whole", quiet=True, **options)
    softonce.train(config)
    real, left = TrainStep.__call__, [7]

    def step(self: TrainStep, *args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    monkeypatch.setattr(TrainStep, "__call__", step)
    with pytest.raises(KeyboardInterrupt):
        softonce.train(config, output=tmp_path / "parts")
    softonce.train(resume=tmp_path / "parts", quiet=True)
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")


def test_python_takes_the_class_itself(folder: Path, tmp_path: Path) -> None:
    scope: dict[str, Any] = {"__name__": "somewhere"}
    exec(OWN, scope)  # a class that no other process can import
    options: dict[str, Any] = {"size": 16, "batch_size": 12, "workers": 0, "device": "cpu"}
    made = softonce.train(
        folder / "photos",
        model=scope["Tiny"],
        epochs=1,
        output=tmp_path / "run",
        quiet=True,
        **options,
    )
    assert made.classifier.metadata.arch == "somewhere:Tiny"
    network = softonce.Classifier.load(made.artefact, model=scope["Tiny"]).network
    assert network.state_dict().keys() == scope["Tiny"](3).state_dict().keys()
    fresh = softonce_run(tmp_path, "predict", "run", folder / "photos/val", "--model", "gone:Tiny")
    assert fresh.returncode == 2
    assert "cannot be imported" in fresh.stderr
    assert "\n" not in fresh.stderr.strip()
