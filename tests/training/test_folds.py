"""Folds: every picture is scored once, by the run that did not learn it."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from training.runs import small, weights

from softonce import TrainConfig, train
from softonce.artefact import read_metadata
from softonce.data.membership import are_among
from softonce.errors import ConfigError, DataError
from softonce.evaluation import Evaluation
from softonce.training.folds import FoldsResult


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_photos: Callable[..., Path]) -> Path:
    return make_photos(tmp_path_factory.mktemp("folds") / "photos")


@pytest.fixture(scope="module")
def folds(data: Path, tmp_path_factory: pytest.TempPathFactory) -> FoldsResult:
    result = train(small(data, tmp_path_factory.mktemp("out") / "run", epochs=1, folds=3))
    assert isinstance(result, FoldsResult)
    return result


def contents(evaluation: Evaluation) -> list[bytes]:
    samples = evaluation.scan.samples
    return [samples.read(index) for index in range(len(samples))]


def test_folds_are_the_runs_by_hand(data: Path, folds: FoldsResult, tmp_path: Path) -> None:
    for number, result in enumerate(folds.folds, 1):
        by_hand = train(small(data, tmp_path / str(number), epochs=1, val_fold=f"{number}/3"))
        assert weights(by_hand.run) == weights(result.run)
        assert torch.equal(by_hand.evaluation.logits, result.validation.logits)


def test_every_picture_is_scored_once_by_the_run_that_did_not_learn_it(
    data: Path, folds: FoldsResult
) -> None:
    scored = [picture for result in folds.folds for picture in contents(result.validation)]
    assert sorted(scored) == sorted(path.read_bytes() for path in data.rglob("*.jpg"))
    assert contents(folds.evaluation) == scored
    for result in folds.folds:
        known = are_among(result.validation.scan.digests, read_metadata(result.artefact).trained_on)
        assert not known.any()
    logits = [part.validation.logits / part.validation.temperature for part in folds.folds]
    assert torch.equal(folds.evaluation.logits, torch.cat(logits))


def test_the_classifier_has_learned_from_every_picture(data: Path, folds: FoldsResult) -> None:
    metadata = read_metadata(folds.artefact)
    assert "split" not in metadata.training
    for number, result in enumerate(folds.folds, 1):
        split = read_metadata(result.artefact).training["split"]
        assert split == {"val_fold": f"{number}/3", "seed": 0}
    assert metadata.training["num_train"] == 36
    assert metadata.training["folds"] == 3
    assert metadata.training["metrics"]["top1"] == folds.evaluation.figures.top1
    assert are_among(folds.evaluation.scan.digests, metadata.trained_on).all()
    temperatures = [result.validation.temperature for result in folds.folds]
    assert metadata.temperature == pytest.approx(float(np.exp(np.mean(np.log(temperatures)))))
    assert folds.report.read_text().startswith("<!doctype html>")
    assert [row["fold"] for row in folds.history] == [1, 1, 2, 2, 3, 3]


def test_the_predictions_are_in_a_file(data: Path, folds: FoldsResult) -> None:
    with folds.predictions.open() as file:
        rows = list(csv.DictReader(file))
    samples = folds.evaluation.scan.samples
    assert [row["path"] for row in rows] == [samples.where(index) for index in range(36)]
    right = sum(row["pred"] == row["label"] for row in rows)
    assert right / 36 == pytest.approx(folds.evaluation.figures.top1)


def test_no_picture_changes_its_fold_when_others_come(
    data: Path, folds: FoldsResult, tmp_path: Path, make_photos: Callable[..., Path]
) -> None:
    more = Path(shutil.copytree(data, tmp_path / "more"))
    shutil.copytree(
        make_photos(tmp_path / "others", seed=3), more, dirs_exist_ok=True, copy_function=_beside
    )
    result = train(small(more, tmp_path / "run", epochs=1, val_fold="2/3"))
    before, after = (set(contents(part)) for part in (folds.folds[1].validation, result.validation))
    assert before < after
    assert not (after - before) & set(contents(folds.evaluation))


def _beside(source: str, target: str) -> None:
    shutil.copy(source, Path(target).with_name(f"new-{Path(target).name}"))


def test_what_was_killed_goes_on(data: Path, folds: FoldsResult, tmp_path: Path) -> None:
    run = Path(shutil.copytree(folds.run, tmp_path / "run"))
    for name in ("fold-3", "whole"):
        shutil.rmtree(run / name)
    (run / "model.safetensors").unlink()
    result = train(TrainConfig(resume=run))
    assert isinstance(result, FoldsResult)
    assert torch.equal(result.evaluation.logits, folds.evaluation.logits)
    assert weights(run / "whole") == weights(folds.run / "whole")


def test_wrong_folds_are_refused(photos: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"folds": 1}, "expected --folds of at least 2, found 1"),
        ({"val_fold": "0/3"}, "expected --val-fold I/K, as 2/5, or all, found '0/3'"),
        ({"folds": 3, "val_fold": "1/3"}, "expected --folds or --val-fold, found both"),
    ):
        with pytest.raises(ConfigError, match=message):
            small(photos, tmp_path / "run", **options)
    with pytest.raises(DataError, match="expected DATA without val/ for folds, found one in"):
        train(small(photos, tmp_path / "run", val_fold="1/3"))
