"""What a run says of its classes before the first step."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from training.runs import small

from softonce import TrainConfig, train
from softonce.training.imbalance import say_counts


def said(counts: list[int], caplog, **options) -> tuple[int, str]:
    """Return the level and the text of the one line."""
    caplog.clear()
    names = ["common", "rare"] if len(counts) == 2 else [f"kind {i}" for i in range(len(counts))]
    with caplog.at_level(logging.INFO, logger="softonce"):
        say_counts(counts, names, TrainConfig("photos", **options))
    (record,) = caplog.records
    return record.levelno, record.getMessage()


def test_an_uneven_set_is_warned_of_with_what_the_default_does_and_what_helps(caplog) -> None:
    level, text = said([190, 10], caplog)
    assert level == logging.WARNING
    assert text.startswith("train: 190 images of common, 10 images of rare. ")
    assert "always answering common would be right for 95.0 %" in text
    assert "rare may hardly be predicted" in text
    for option in ("--sampler balanced", "--class-weights balanced", "--select-by balanced"):
        assert option in text


@pytest.mark.parametrize(
    "options",
    [{"sampler": "balanced"}, {"class_weights": "balanced"}, {"class_weights": "rare=9"}],
)
def test_what_was_asked_for_already_is_not_advised(options, caplog) -> None:
    level, text = said([190, 10], caplog, **options)
    ((name, value),) = options.items()
    assert level == logging.INFO
    assert f"; --{name.replace('_', '-')} {value} " in text


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([7, 7, 7], "train: 7 images of each of 3 classes"),
        ([29, 10], "train: 29 images of common, 10 images of rare"),
        ([2, 1], "train: 2 images of common, 1 image of rare"),
        ([50] * 9 + [20], "train: 10 classes of 20 (kind 9) to 50 images (kind 0)"),
    ],
)
def test_even_sets_are_counted_and_no_more(counts, expected: str, caplog) -> None:
    assert said(counts, caplog) == (logging.INFO, expected)


def test_of_many_classes_the_line_names_the_extremes(caplog) -> None:
    level, text = said([500] + [100] * 20 + [30], caplog)
    assert level == logging.WARNING
    assert "22 classes of 30 (kind 21) to 500 images (kind 0), 21 of them with a third" in text


def test_a_run_says_it_once_before_the_plan(make_photos, tmp_path: Path, caplog) -> None:
    photos = make_photos(tmp_path / "photos", classes=("ants", "bees"), per_class=16)
    for path in sorted((photos / "bees").iterdir())[4:]:
        path.unlink()
    with caplog.at_level(logging.INFO, logger="softonce"):
        result = train(small(photos, tmp_path / "run", epochs=1))
    starts = [record.getMessage().split(" ", 2)[0] for record in caplog.records]
    assert starts.count("train:") == 1
    assert starts.index("train:") < starts.index("cifar_resnet20")
    assert "--sampler balanced shows each class" in result.report.read_text(encoding="utf-8")
