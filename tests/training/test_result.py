"""`softonce.train` by keyword, and what it returns."""

from __future__ import annotations

from pathlib import Path

import pytest
from training.runs import rows, weights

import softonce
from softonce import ServeConfig, TrainConfig, serve, train
from softonce.config.toml import settle
from softonce.errors import ArgumentError, ConfigError, UnknownNameError

OPTIONS = {
    "model": "cifar_resnet20", "recipe": "none", "size": 16, "batch_size": 8, "workers": 0,
    "epochs": 1,
}  # fmt: skip


def test_a_run_by_keyword_is_the_run_of_its_configuration(photos: Path, tmp_path: Path) -> None:
    result = train(str(photos), output=str(tmp_path / "run"), **OPTIONS)
    train(TrainConfig(photos, output=tmp_path / "again", **OPTIONS))
    assert weights(result.run) == weights(tmp_path / "again")
    config = tmp_path / "run" / "config.toml"
    more = train(photos, config=config, output=tmp_path / "more", epochs=2)
    assert weights(more.run) != weights(result.run)
    assert [row["epoch"] for row in more.history] == [1, 1, 2, 2]


def test_a_result_has_the_classifier_its_history_and_a_short_text(
    photos: Path, tmp_path: Path
) -> None:
    result = train(photos, output=tmp_path / "run", **OPTIONS)
    assert isinstance(result.classifier, softonce.Classifier)
    assert result.classifier is result.classifier
    assert result.classifier.path == result.artefact
    assert [row["split"] for row in result.history] == ["train", "val"]
    assert result.history[0]["loss"] == rows(result.run)[0]["loss"]
    assert result.report.read_text().startswith("<!doctype html>")
    top1 = f"{result.evaluation.figures.top1:.2%}"
    assert repr(result) == f"TrainResult('{result.run}', top-1 {top1} of 15 images of val)"
    assert top1 in result._repr_html_()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epoch": 5}, UnknownNameError, "found 'epoch'; did you mean epochs"),
        ({"epochs": "five"}, ConfigError, "whole number for --epochs, found 'five'"),
        ({"output": 3}, ConfigError, "expected a path for --output, found 3"),
        ({"data": "again"}, ArgumentError, "each argument once, found data twice"),
        ({"config": "no.toml"}, ConfigError, "expected a TOML file at no.toml"),
    ],
)
def test_a_wrong_option_is_one_clear_error(options, error, message: str, photos: Path) -> None:
    with pytest.raises(error, match=message):
        train(photos, **options)


def test_a_configuration_and_a_file_of_one_are_not_mixed(photos: Path) -> None:
    with pytest.raises(ArgumentError, match="expected a TrainConfig or config, found both"):
        train(TrainConfig(photos), config="run.toml")


def test_a_configuration_that_names_a_file_was_not_filled_from_it(photos: Path) -> None:
    with pytest.raises(ArgumentError, match="found both: read run.toml with .*from_toml"):
        train(TrainConfig(photos, config="run.toml"))
    with pytest.raises(ArgumentError, match="expected a ServeConfig or config, found both"):
        serve(ServeConfig("model.onnx", config="run.toml"))


def test_what_a_call_asks_for_goes_before_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('files = ["a.onnx"]\nport = 9000\nmax_batch = 4\n')
    file = {"config": tmp_path / "a.toml"}
    found = settle(ServeConfig, "b.onnx", port=9001, **file)
    assert (found.files, found.port, found.max_batch) == (("b.onnx",), 9001, 4)
    assert settle(ServeConfig, **file) == ServeConfig("a.onnx", port=9000, max_batch=4)
