"""A frozen backbone runs once over the images; what is then trained is the head, and equals it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training.runs import rows, small, weights

import softonce
from softonce.errors import StorageError
from softonce.models import CifarResNet
from softonce.tensors import read_tensors
from softonce.training import head_loss, job, run
from softonce.training.features import FeatureHead

FROZEN: dict[str, Any] = {"freeze": "backbone", "augment": "none", "model_ema": True, "quiet": True}


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Give the list of the images that the backbone has looked at, a number a batch."""
    seen: list[int] = []
    real = CifarResNet.forward_features

    def forward_features(self: CifarResNet, images: Tensor) -> Tensor:
        seen.append(len(images))
        return real(self, images)

    with monkeypatch.context() as patch:
        patch.setattr(CifarResNet, "forward_features", forward_features)
        yield seen


@pytest.mark.slow
def test_more_epochs_run_the_backbone_no_more_often(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = []
    for epochs in (1, 5):
        with counted(monkeypatch) as seen:
            softonce.train(small(photos, tmp_path / str(epochs), **FROZEN | {"epochs": epochs}))
        numbers.append(sum(seen))
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("many_logits", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_run_is_the_one_that_runs_the_backbone_every_time(
    many_logits: bool, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = FROZEN | {"sampler": "balanced", "label_smoothing": 0.1, "lr": 0.5, "epochs": 3}
    if many_logits:
        monkeypatch.setattr(head_loss, "MANY_LOGITS", 1)
    once = softonce.train(small(photos, tmp_path / "once", **options))
    monkeypatch.setattr(run, "can_cache", lambda *_: False)
    always = softonce.train(small(photos, tmp_path / "always", **options))
    assert (once.run / "features").is_dir()
    assert not (always.run / "features").exists()
    losses = [
        [row["loss"] for row in made.history if row["split"] == "train"] for made in (once, always)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)  # the features are of half precision
    assert once.evaluation.figures.top1 == pytest.approx(always.evaluation.figures.top1, abs=0.07)
    heads = [made.classifier.network.fc.weight for made in (once, always)]
    assert (heads[0] - heads[1]).norm() < 2e-3 * heads[1].norm()
    bodies = [made.classifier.network.conv1.weight for made in (once, always)]
    assert torch.equal(*bodies)


def test_the_files_are_the_features_in_the_order_of_the_images(
    photos: Path, tmp_path: Path
) -> None:
    made = softonce.train(small(photos, tmp_path / "run", **FROZEN))
    (path,) = (made.run / "features").glob("val-*.npy")
    features = np.load(path, mmap_mode="r", allow_pickle=False)
    images = torch.stack(
        [made.classifier.preprocess(file) for file in sorted((photos / "val").rglob("*.jpg"))]
    )
    with torch.no_grad():
        expected = made.classifier.network.forward_features(images).numpy()
    assert features.dtype == np.float16
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-3)
    states, record = read_tensors(max((made.run / "checkpoints").glob("step-*")))
    assert {name for name in states if name.startswith("model.")} == {
        "model.fc.weight",
        "model.fc.bias",
    }
    assert record["kind"] == "checkpoint"


def test_a_killed_run_goes_on_bit_for_bit_without_the_first_weights(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "MAX_SAVING_SHARE", float("inf"))
    file = tmp_path / "start.safetensors"
    torch.manual_seed(5)
    softonce.tensors.write_tensors(
        file, softonce.models.create_model("cifar_resnet20", num_classes=3).state_dict(), {}
    )
    options = FROZEN | {"weights": str(file)}
    softonce.train(small(photos, tmp_path / "whole", **options))
    real, left = run.fit, [6]

    def fit(running: job.Job) -> None:
        original = running.step

        def step(*args: Any, **kwargs: Any) -> Tensor:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
            return original(*args, **kwargs)

        running.step = step  # type: ignore[assignment] # as if killed in the middle
        step.model, step.objective = original.model, original.objective  # type: ignore[attr-defined]
        real(running)

    monkeypatch.setattr(run, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        softonce.train(small(photos, tmp_path / "parts", **options))
    monkeypatch.undo()
    file.unlink()
    with counted(monkeypatch) as seen:
        softonce.train(resume=tmp_path / "parts", quiet=True)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    assert sum(seen) < 36  # those of val, at the end; the others were kept


def test_runs_with_a_cache_share_what_was_computed(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    options = FROZEN | {"cache_dir": tmp_path / "cache", "quiet": False, "seed": 1}
    for name, kept in (("one", "written to"), ("two", "found in")):
        caplog.clear()
        made = softonce.train(small(photos, tmp_path / name, **options))
        said = [line for line in caplog.messages if line.startswith("features of")]
        assert len(said) == 2
        assert all(f"{kept} {tmp_path / 'cache'}" in line for line in said)
        assert "MB)" in said[0]
        assert not (made.run / "features").exists()
    caplog.clear()
    softonce.train(small(photos, tmp_path / "other", **options | {"seed": 2}))
    said = [line for line in caplog.messages if line.startswith("features of")]
    assert all("written to" in line for line in said)  # of other weights


LARGE = """
from torch import nn

class Large(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 8, 3, stride=2), nn.Linear(8, num_classes)

    def forward(self, images):
        return self.out(1e6 * self.conv(images).relu().mean(dim=(2, 3)))
"""


@pytest.mark.slow
def test_features_beyond_half_precision_are_kept_in_single(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(LARGE)
    options = FROZEN | {"model": f"{tmp_path / 'nets.py'}:Large", "lr": 1e-12}
    made = softonce.train(small(photos, tmp_path / "run", **options))
    (path,) = (made.run / "features").glob("train-*.npy")
    features = np.load(path)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert features.max() > 65504


@pytest.mark.parametrize(
    "options",
    [
        {"augment": "pad-crop"},
        pytest.param({"mixup_alpha": 0.2}, marks=pytest.mark.slow),
        pytest.param({"freeze": "layer2"}, marks=pytest.mark.slow),
    ],
    ids=["crops", "mixup", "layers"],
)
def test_what_changes_from_epoch_to_epoch_is_not_kept(
    options: dict[str, Any], photos: Path, tmp_path: Path
) -> None:
    made = softonce.train(small(photos, tmp_path / "run", **FROZEN | options | {"epochs": 1}))
    assert not (made.run / "features").exists()


def test_no_room_is_one_line_before_the_first_epoch(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(StorageError, match="for features in .* --cache-dir") as caught:
        softonce.train(small(photos, tmp_path / "run", **FROZEN))
    assert "\n" not in str(caught.value)


def test_a_head_by_itself_shares_the_networks(photos: Path) -> None:
    network = softonce.models.create_model("cifar_resnet20", num_classes=3)
    head = FeatureHead.of(network)
    assert isinstance(head.head, nn.Linear)
    assert head.head is network.fc
    features = network.eval().forward_features(torch.ones(2, 3, 32, 32))
    assert torch.equal(head(features), network(torch.ones(2, 3, 32, 32)))


@pytest.mark.slow
def test_what_other_weights_computed_is_removed_with_the_run(photos: Path, tmp_path: Path) -> None:
    files = []
    for seed in (0, 1):
        config = small(photos, tmp_path / "run", **FROZEN, seed=seed, epochs=1, overwrite=True)
        files.append({path.name for path in (softonce.train(config).run / "features").iterdir()})
    assert len(files[0]) == len(files[1]) == 2
    assert not files[0] & files[1]


@pytest.mark.slow
def test_extending_goes_on_with_the_features(photos: Path, tmp_path: Path) -> None:
    made = softonce.train(small(photos, tmp_path / "run", **FROZEN))
    more = softonce.train(resume=made.run, epochs=4, quiet=True)
    assert [row["epoch"] for row in more.history if row["split"] == "val"] == [1, 2, 3, 4]
    record = json.loads(json.dumps(more.classifier.metadata.training))
    assert record["epochs"] == 4
