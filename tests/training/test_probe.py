"""A linear probe finds the one minimum of its loss, and is a run like any other."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from serving.service_beside import raw, running
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from training.runs import small, weights

import softonce
from softonce.cli.app import main
from softonce.engines import open_engine
from softonce.errors import ConfigError
from softonce.training import loop, probe
from softonce.training.features import SplitFeatures
from softonce.training.head_fit import (
    SHARPNESS,
    FeatureRows,
    Scaling,
    fit_head_,
    measure_head,
    nearest_neighbours,
)
from softonce.training.objective import Objective

CPU = torch.device("cpu")
PROBE: dict[str, Any] = {"probe": True, "recipe": "auto", "epochs": None, "quiet": True}


def problem(num: int = 120, width: int = 12, classes: int = 4) -> tuple[Any, Any]:
    """Return features of several scales, far from the origin, and classes that overlap."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, classes, num)
    features = rng.normal(size=(num, width)) + 2 * rng.normal(size=(classes, width))[target]
    features = 5 + features * rng.uniform(0.2, 3, width)
    return features.astype(np.float16), target


def rows(features: Any, target: Any) -> FeatureRows:
    return FeatureRows(features, target, np.arange(len(target)), CPU)


# the minimum


@pytest.mark.parametrize("l2", [1.0, 1e-2, 1e-4])
def test_the_head_is_the_one_that_scikit_learn_finds(l2: float) -> None:
    features, target = problem()
    scaling = Scaling.of(features, CPU)
    head = nn.Linear(12, 4)
    fit_head_(head, rows(features, target), scaling, Objective(), l2)
    scaled = (features.astype(np.float64) - scaling.centre.numpy()) / scaling.length
    judge = LogisticRegression(C=1 / (l2 * len(target)), tol=1e-10, max_iter=10_000)
    expected = judge.fit(scaled, target).predict_log_proba(scaled)
    with torch.no_grad():
        found = softonce.log_softmax(head(torch.from_numpy(features).float()), dim=1).numpy()
    np.testing.assert_allclose(np.exp(found), np.exp(expected), atol=5e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_no_step_from_it_makes_the_textbook_loss_smaller(smoothing: float, weighted: bool) -> None:
    features, target = problem()
    weight = torch.tensor([1.0, 4.0, 0.5, 2.0]) if weighted else None
    scaling, l2 = Scaling.of(features, CPU), 1e-3
    head = nn.Linear(12, 4).double()
    objective = Objective(weight=weight, label_smoothing=smoothing)
    fit_head_(head, rows(features, target), scaling, objective, l2)
    logits = head(torch.from_numpy(features).double())
    chosen = torch.from_numpy(target)
    per_class = torch.ones(4, dtype=torch.float64) if weight is None else weight.double()
    spread = torch.nn.functional.one_hot(chosen, 4) * (1 - smoothing) + smoothing / 4
    losses = -(spread * per_class * logits.log_softmax(1)).sum(1)
    loss = losses.sum() / per_class[chosen].sum()
    penalty = l2 / 2 * (head.weight * scaling.length).square().sum()
    gradients = torch.autograd.grad(loss + penalty, [head.weight, head.bias])
    assert max(gradient.abs().max().item() for gradient in gradients) < 1e-4


def test_features_in_blocks_give_the_same_head(monkeypatch: pytest.MonkeyPatch) -> None:
    from softonce.training import head_fit

    features, target = problem()
    found = []
    for held, block in ((2**27, 2**26), (0, 7 * 12 * 8)):
        monkeypatch.setattr(head_fit, "_HELD_BYTES", held)
        monkeypatch.setattr(head_fit, "_BLOCK_BYTES", block)
        torch.manual_seed(0)
        head = nn.Linear(12, 4)
        some = rows(features, target)
        fit_head_(head, some, Scaling.of(features, CPU), Objective(), 1e-2)
        found.append((head.weight, measure_head(head, some, Objective())))
    torch.testing.assert_close(found[0][0], found[1][0])
    assert found[0][1] == pytest.approx(found[1][1])


def test_a_strength_means_the_same_for_features_of_any_scale_and_place() -> None:
    features, target = problem()
    losses = []
    for scale, offset in ((1, 0), (100, -300), (0.01, 50)):
        moved = features.astype(np.float32) * scale + offset
        head, some = nn.Linear(12, 4), rows(moved, target)
        fit_head_(head, some, Scaling.of(moved, CPU), Objective(), 1e-2)
        losses.append(measure_head(head, some, Objective())[0])
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-4)


def test_a_head_without_a_bias_stays_without() -> None:
    features, target = problem()
    head = nn.Linear(12, 4, bias=False)
    fit_head_(head, rows(features, target), Scaling.of(features, CPU), Objective(), 1e-2)
    assert head.bias is None
    assert measure_head(head, rows(features, target), Objective())[1] > 0.8


def test_the_vote_of_neighbours_is_scikit_learns() -> None:
    features, target = problem(300)
    train, val = features[:200] - np.float16(5), features[200:] - np.float16(5)
    judge = KNeighborsClassifier(
        20, metric="cosine", weights=lambda distance: np.exp(-distance / SHARPNESS)
    )
    expected = judge.fit(train.astype(np.float64), target[:200]).predict(val.astype(np.float64))
    found = nearest_neighbours(train, target[:200], val, 4, CPU).numpy()
    assert (found == expected).mean() >= 0.99  # a tie may fall either way


# the run


def test_a_probe_is_an_ordinary_run(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys
) -> None:
    caplog.set_level(logging.INFO)
    made = softonce.train(small(photos, tmp_path / "run", **PROBE | {"quiet": False}))
    (line,) = [line for line in caplog.messages if "of 13 strengths" in line]
    assert "20 nearest neighbours in train" in line
    val = [row for row in made.history if row["split"] == "val"]
    trained = [row for row in made.history if row["split"] == "train"]
    best = max(val, key=lambda row: (row["top1"], -row["nll"]))
    record = made.classifier.metadata.training
    assert [row["l2"] for row in trained] == list(probe.STRENGTHS)
    losses = [row["loss"] for row in trained]
    assert losses == sorted(losses, reverse=True)
    assert record["best_epoch"] == best["epoch"]
    assert record["l2"] == probe.STRENGTHS[best["epoch"] - 1]
    assert 0 <= record["neighbours"]["top1"] <= 1
    assert made.evaluation.figures.top1 == pytest.approx(best["top1"], abs=0.07)
    assert softonce.evaluate(made.run, photos).figures.top1 == made.evaluation.figures.top1
    predicted = made.classifier.predict(photos / "val")
    assert len(predicted) == 15
    with running(open_engine(made.run)) as client:
        (served,) = raw(client, (photos / "val/ants/00.jpg").read_bytes()).json()["predictions"]
    assert served["class"] == predicted[0].pred
    assert served["prob"] == pytest.approx(predicted[0].prob, rel=1e-5)
    assert main(["inspect", str(made.run), "--expect", "logits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["training"]["l2"] == record["l2"]
    page = made.report.read_text()
    assert "20 nearest neighbours" in page
    assert "chose the regularisation" in page


@pytest.mark.slow
def test_it_exports_like_any_other(photos: Path, tmp_path: Path) -> None:
    made = softonce.train(small(photos, tmp_path / "run", **PROBE))
    exported = made.classifier.export("torch")
    assert exported.is_written
    assert exported.parity.same_pixels < 1e-4


def test_without_val_of_its_own_train_chooses_by_cross_validation(
    photos: Path, tmp_path: Path
) -> None:
    shutil.rmtree(photos / "val")
    made = softonce.train(small(photos / "train", tmp_path / "run", **PROBE))
    trained = [row for row in made.history if row["split"] == "train"]
    best = max(trained, key=lambda row: (row["cv_top1"], -row["cv_nll"]))
    assert made.classifier.metadata.training["best_epoch"] == best["epoch"]
    assert "chose the regularisation" not in made.report.read_text()  # val had no part in it
    for row in trained[-3:]:
        assert row["cv_nll"] > row["loss"]  # of images that were not learned from


@pytest.mark.parametrize("num_units", [40, 7, 3])
def test_the_folds_of_a_probe_part_no_unit_and_are_alike_in_classes(num_units: int) -> None:
    features, _ = problem(120)
    unit = np.arange(120) % num_units
    target = unit % 4
    hashes = np.random.default_rng(0).integers(0, 256, (num_units, 16), np.uint8)
    fits = probe.Probe(
        features=SplitFeatures(features, features), target=target, val_target=target,
        units=hashes[unit], objective=Objective(), classes=tuple("abcd"), device=CPU, seed=0,
        is_crossed=True,
    )  # fmt: skip
    held = [left_out for _, left_out in fits._folds]
    assert sorted(np.concatenate(held)) == list(range(120))
    assert len(held) == min(5, num_units)
    for learned, left_out in fits._folds:
        assert not set(unit[learned.rows]) & set(unit[left_out])
        if num_units == 40:  # ten units of each class for five folds
            assert np.bincount(target[left_out]).tolist() == [6] * 4


def test_a_probe_that_was_stopped_goes_on_bit_for_bit(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    softonce.train(small(photos, tmp_path / "whole", **PROBE))
    real, left = loop._fit_head, [5]

    def fit_head(*arguments: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(loop, "_fit_head", fit_head)
    with pytest.raises(KeyboardInterrupt):
        softonce.train(small(photos, tmp_path / "parts", **PROBE))
    softonce.train(resume=tmp_path / "parts", quiet=True)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")


# what cannot be


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 5), ("momentum", 0.8), ("lr", "find"), ("mixup_alpha", 0.1), ("opt", "adamw"),
        ("augment", "pad-crop"), ("freeze", "layer1"), ("sampler", "balanced"), ("amp", True),
        ("recipe", "finetune"), ("batch_size", "auto"), ("compile", True), ("model_ema", True),
        ("time_budget", "1h"), ("patience", 3), ("hflip", 1.0),
    ],
)  # fmt: skip
def test_an_option_of_steps_is_refused_by_name(
    name: str, value: Any, photos: Path, tmp_path: Path
) -> None:
    config = small(photos, tmp_path / "run", **PROBE | {name: value})
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')}.*--probe") as caught:
        softonce.train(config)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


OWN = """
from torch import nn

class Scaled(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 8, 3, stride=2), nn.Linear(8, num_classes)

    def forward(self, images):
        return 2 * self.out(self.conv(images).relu().mean(dim=(2, 3)))
"""


def test_a_network_that_goes_on_after_its_head_has_no_probe(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(OWN)
    model = f"{tmp_path / 'nets.py'}:Scaled"
    with pytest.raises(ConfigError, match="ends in a Linear head.*--freeze backbone"):
        softonce.train(small(photos, tmp_path / "run", **PROBE | {"model": model}))
    with pytest.raises(ConfigError, match="your own loss"):
        softonce.train(small(photos, tmp_path / "run", **PROBE), loss=softonce.cross_entropy)


@pytest.mark.slow
def test_more_epochs_are_refused_on_resume(photos: Path, tmp_path: Path) -> None:
    made = softonce.train(small(photos, tmp_path / "run", **PROBE))
    with pytest.raises(ConfigError, match="no --epochs with --probe"):
        softonce.train(resume=made.run, epochs=20)
