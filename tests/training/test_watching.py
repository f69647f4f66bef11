"""What a run says of itself while it happens; each line is made to appear, and to stay away."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from training.runs import rows, small, weights

from softonce import train
from softonce.data.samples import Samples
from softonce.errors import MissingExtraError, TrainingError
from softonce.losses import cross_entropy
from softonce.tensors import read_tensors
from softonce.training import watching
from softonce.training.step import TrainStep
from softonce.training.watching import Watch


def test_the_first_bad_batch_lies_in_the_run_folder(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    real = TrainStep.__call__

    def step(self, images, target, **kwargs):
        seen.append(target)
        sums = real(self, images, target, **kwargs)
        return sums * float("nan") if len(seen) == 8 else sums  # in the second epoch

    monkeypatch.setattr(TrainStep, "__call__", step)
    with pytest.raises(TrainingError, match=r"found nan first in step 7, .*bad_batch\.safetensors"):
        train(small(photos, tmp_path / "run"))
    tensors, record = read_tensors(tmp_path / "run" / "bad_batch.safetensors")
    assert torch.equal(tensors["target"], seen[-1])
    names = [Path(path).parent.name for path in record["paths"]]
    assert names == [("ants", "bees", "wasps")[i] for i in seen[-1]]
    assert tensors["pixels"].shape == (len(names), 3, 16, 16)


def test_a_diverging_loss_is_said(photos: Path, tmp_path: Path, caplog) -> None:
    train(small(photos, tmp_path / "run", lr=2.0, lr_warmup_epochs=0, epochs=3))
    assert "the training diverges; lower --lr" in caplog.text
    assert caplog.text.count("diverges") == 1


def test_a_class_that_is_never_predicted_is_named(photos: Path, tmp_path: Path, caplog) -> None:
    weights = ("wasps=0",)
    train(small(photos, tmp_path / "run", epochs=6, lr=0.02, class_weights=weights))
    assert "no image of val has been taken for 'wasps', though 5 are" in caplog.text


def test_waiting_for_images_is_said(photos: Path, tmp_path: Path, monkeypatch, caplog) -> None:
    real = Samples.open

    def slow(self, index: int):
        time.sleep(0.01)
        return real(self, index)

    monkeypatch.setattr(watching, "STARVED_SECONDS", 0.1)
    monkeypatch.setattr(Samples, "open", slow)
    train(small(photos, tmp_path / "run", epochs=1, augment="resized-crop"))
    assert "of the time is spent waiting for images: raise --workers (now 0)" in caplog.text


def test_a_sound_run_says_none_of_this(photos: Path, tmp_path: Path, caplog) -> None:
    train(small(photos, tmp_path / "run", epochs=8, lr=0.02))
    for word in ("diverges", "been taken for", "waiting for images", "own softmax"):
        assert word not in caplog.text


@pytest.mark.parametrize(
    ("loss", "least", "is_said"),
    [
        (1.0, None, False),
        (2.1, None, False),
        (2.3, None, True),
        (1.2, 0.1, True),
        (1.2, 0.6, False),
    ],
)
def test_diverging_is_twice_guessing_or_unlearning(
    loss: float, least: float | None, is_said: bool, caplog
) -> None:
    Watch(("a", "b", "c"), workers=0).loss(loss, least)
    assert ("diverges" in caplog.text) == is_said


# the profile, the sinks


def test_a_profile_says_where_the_time_goes(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="softonce")
    train(small(photos, tmp_path / "run", epochs=3, profile=True))
    line = next(text for text in caplog.messages if "where the time of 10 steps went" in text)
    shares = dict(part.split(" ")[-2:] for part in line.split(": ")[1].split(";")[0].split(", "))
    assert list(shares) == ["data", "forward", "loss", "backward", "optimizer", "other"]
    assert 90 <= sum(int(share.rstrip("%")) for share in shares.values()) <= 110
    trace = json.loads((tmp_path / "run" / "profile.json").read_text())
    assert any(event.get("name") == "softonce.backward" for event in trace["traceEvents"])


@pytest.mark.parametrize(
    ("batch_size", "said"),
    [(64, "4 steps or more for --profile, found 1"), (8, "time of 2 steps went")],
)
def test_a_profile_of_a_short_run_is_honest(
    batch_size: int, said: str, photos: Path, tmp_path: Path, caplog
) -> None:
    caplog.set_level("INFO", logger="softonce")
    train(small(photos, tmp_path / "run", epochs=1, batch_size=batch_size, profile=True))
    assert sum(said in text for text in caplog.messages) == 1


class Kept:
    def __init__(self) -> None:
        self.rows: list[dict] = []
        self.is_closed = False

    def write(self, row) -> None:
        self.rows.append(dict(row))

    def close(self) -> None:
        self.is_closed = True


def test_a_sink_receives_every_row_and_is_closed(photos: Path, tmp_path: Path) -> None:
    sink = Kept()
    result = train(small(photos, tmp_path / "run"), sinks=[sink])
    without_clock = [
        {k: v for k, v in row.items() if k not in {"seconds", "images_per_second"}}
        for row in sink.rows
    ]
    assert without_clock == rows(result.run)
    assert sink.is_closed


def test_a_sink_is_closed_when_the_run_breaks(photos: Path, tmp_path: Path) -> None:
    sink = Kept()
    nan = lambda logits, target: cross_entropy(logits, target) * np.nan  # noqa: E731
    with pytest.raises(TrainingError):
        train(small(photos, tmp_path / "run"), sinks=[sink], loss=nan)
    assert sink.is_closed


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its protocol buffers
def test_tensorboard_has_a_curve_for_every_number(photos: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(small(photos, tmp_path / "run", track="tensorboard"))
    found = reader.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    expected = [row for row in rows(tmp_path / "run") if row["split"] == "train"]
    curve = found.Scalars("train/loss")
    assert [event.step for event in curve] == [row["step"] for row in expected]
    assert [event.value for event in curve] == pytest.approx([row["loss"] for row in expected])
    assert "val/top1" in found.Tags()["scalars"]


def test_a_missing_tensorboard_is_said_before_an_old_run_is_replaced(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(small(photos, tmp_path / "run", epochs=1))
    before = weights(tmp_path / "run")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"tensorboard.*softonce\[track\]"):
        train(small(photos, tmp_path / "run", track="tensorboard", overwrite=True))
    assert weights(tmp_path / "run") == before


def test_weights_that_are_no_numbers_are_refused_before_val_is_scored(
    photos: Path, tmp_path: Path
) -> None:
    options = {"lr": 1e20, "lr_warmup_epochs": 0, "batch_size": 64}  # one step an epoch
    with pytest.raises(TrainingError, match="finite logits on val after step 1, .* diverged"):
        train(small(photos, tmp_path / "run", **options))
    assert not (tmp_path / "run" / "model.safetensors").exists()
