"""`evaluate --predictions`: a row for every image, for other programs."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from evaluation.evaluations import evaluation_of, random_logits

from softonce import EvaluateConfig, create_model, inference
from softonce.cli.app import main
from softonce.errors import ArgumentError, ConfigError
from softonce.evaluation import Evaluation, predictions_file

NAMES = [
    b"a,b.jpg",
    "\u1112\u1161\u11ab.jpg".encode(),
    b'quo"te.jpg',
    b"two\nlines.jpg",
    b"\xff.jpg",
]


def odd_evaluation(folder: Path) -> Evaluation:
    logits, target = random_logits(5)
    return evaluation_of(folder, logits, target, names=NAMES, temperature=1.7, split="val")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_the_images_with_their_probabilities(tmp_path: Path) -> None:
    evaluation = odd_evaluation(tmp_path)
    evaluation.write_predictions(tmp_path / "out.csv")
    rows = read(tmp_path / "out.csv")
    probs = inference.probs(evaluation.logits.double(), temperature=1.7)
    fixed = ["path", "split", "label", "pred", "loss"]
    assert list(rows[0]) == [*fixed, "prob_ants", "prob_bees", "prob_wasps"]
    assert [os.fsencode(row["path"]).rpartition(b"/")[2] for row in rows] == NAMES
    for row, expected, target in zip(rows, probs, evaluation.scan.samples.target, strict=True):
        found = [float(row[f"prob_{name}"]) for name in evaluation.classes]
        assert found == pytest.approx(expected.tolist(), rel=1e-8)
        assert row["label"] == evaluation.classes[target]
        assert row["pred"] == evaluation.classes[int(np.argmax(found))]
        assert row["split"] == "val"
        assert float(row["loss"]) == pytest.approx(-np.log(expected[target].item()))
    mean = np.mean([float(row["loss"]) for row in rows])
    assert mean == pytest.approx(evaluation.figures.nll, rel=1e-5)


def test_parquet_has_the_same_rows(tmp_path: Path) -> None:
    evaluation = odd_evaluation(tmp_path)
    for name in ("out.csv", "out.PARQUET"):
        evaluation.write_predictions(tmp_path / name)
    frame, rows = pd.read_parquet(tmp_path / "out.PARQUET"), read(tmp_path / "out.csv")
    assert list(frame.columns) == list(rows[0])
    for column in frame.columns[1:]:
        cells = [row[column] for row in rows]
        is_text = column in ("split", "label", "pred")
        assert list(frame[column]) == (cells if is_text else pytest.approx(list(map(float, cells))))
    assert frame["path"].iloc[-1].endswith("\\xff.jpg")


def test_blocks_of_rows_join_without_a_seam(tmp_path: Path, monkeypatch) -> None:
    logits, target = random_logits(11)
    evaluation = evaluation_of(tmp_path, logits, target)
    evaluation.write_predictions(tmp_path / "whole.csv")
    monkeypatch.setattr(predictions_file, "_ROWS_AT_ONCE", 4)
    evaluation.write_predictions(tmp_path / "parts.csv")
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_another_suffix_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    logits, target = random_logits(3)
    with pytest.raises(ArgumentError, match="ends in .csv or .parquet, found .*out.xlsx"):
        evaluation_of(tmp_path, logits, target).write_predictions(tmp_path / "out.xlsx")
    with pytest.raises(
        ConfigError, match=r"expected --predictions FILE.csv or FILE.parquet, found o"
    ):
        EvaluateConfig(("run", "photos"), predictions="out.xlsx")


def test_the_command_writes_the_file_and_names_it(photos: Path, tmp_path: Path, capsys) -> None:
    weights = tmp_path / "weights.pth"
    network = create_model("cifar_resnet20", num_classes=3)
    torch.save(network.state_dict(), weights)
    out = tmp_path / "rows.csv"
    command = ["evaluate", photos, "--model", "cifar_resnet20", "--weights", weights]
    assert main([str(token) for token in [*command, "--predictions", out]]) == 0
    assert f"predictions: {out}" in capsys.readouterr().out
    rows = read(out)
    assert len(rows) == 15
    assert all(Path(row["path"]).parent.name == row["label"] for row in rows)
    assert main([str(token) for token in [*command, "--split", "all", "--predictions", out]]) == 0
    rows = read(out)
    assert len(rows) == 36 + 15
    assert all(Path(row["path"]).parent.parent.name == row["split"] for row in rows)
