"""A finished run goes on: optimizer and average are kept, the schedule spans the whole length."""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from training.runs import marked, planned, rows, small, weights

from softonce import TrainConfig, train
from softonce.cli.app import main
from softonce.config.toml import from_toml
from softonce.errors import ConfigError
from softonce.run_folder import RunFolder
from softonce.training import job
from softonce.training.optim import build_schedule
from softonce.training.step import TrainStep

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "average": {"model_ema": True, "model_ema_warmup": True, "opt": "adamw"},
    "in steps": {"lr_scheduler": "steplr", "head_epochs": 1, "layer_decay": 0.5},
}


class Killed(BaseException):
    """Nothing in the product catches it, as nothing can catch SIGKILL."""


@pytest.fixture
def finished(photos: Path, tmp_path: Path) -> Path:
    """Return the folder of a run of two epochs of five steps."""
    train(small(photos, tmp_path / "run"))
    return tmp_path / "run"


@pytest.mark.parametrize("name", [marked(name, ("average",)) for name in VARIANTS])
def test_an_extended_run_that_is_killed_ends_with_the_same_bits(
    name: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "MAX_SAVING_SHARE", float("inf"))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(small(photos, whole, **VARIANTS[name]))
    shutil.copytree(whole, killed)
    train(resume=whole, epochs=4)
    real, left = TrainStep.__call__, [0]

    def step(self: TrainStep, *args: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return real(self, *args, **options)

    monkeypatch.setattr(TrainStep, "__call__", step)
    for number, asked in ((1, {"epochs": 4}), (7, {})):  # before a step was made, and later
        left[0] = number
        with pytest.raises(Killed):
            train(resume=killed, **asked)
    train(resume=killed)
    assert weights(killed) == weights(whole)
    assert rows(killed) == rows(whole)


def test_the_schedule_is_planned_over_the_whole_length_and_it_is_said(
    finished: Path, photos: Path, tmp_path: Path, caplog
) -> None:
    before = rows(finished)
    caplog.set_level(logging.INFO, logger="softonce")
    train(resume=finished, epochs=5)
    after = rows(finished)
    assert after[:4] == before
    assert [row["epoch"] for row in after] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    schedule = build_schedule(planned(epochs=5, batch_size=8, lr_warmup_epochs=0.2), 5)
    for row in after[4::2]:
        assert row["lr"] == pytest.approx(schedule.lr(row["step"] - 1)), row
    said = f"extended to 5 epochs, 2 of them done: .* goes on with lr {schedule.lr(10):g}"
    assert any(re.fullmatch(said, text) for text in caplog.messages)
    assert from_toml(RunFolder(finished).config, TrainConfig).epochs == 5
    train(resume=finished, epochs=6)
    assert rows(finished)[:8] == after[:8]


@pytest.mark.parametrize(("asked", "expected"), [({}, 7), ({"lr_step_size": 2}, 2)])
def test_steps_of_the_recipe_are_stretched_and_those_that_were_asked_for_kept(
    asked: dict[str, int], expected: int, photos: Path, tmp_path: Path
) -> None:
    train(small(photos, tmp_path / "run", lr_scheduler="steplr", epochs=1, **asked))
    train(resume=tmp_path / "run", epochs=20 if not asked else 2)
    assert from_toml(RunFolder(tmp_path / "run").config, TrainConfig).lr_step_size == expected


@pytest.mark.parametrize("epochs", [1, 2])
def test_no_more_epochs_than_before_are_refused(epochs: int, finished: Path, capsys) -> None:
    before = weights(finished)
    message = f"expected more epochs than the 2 epochs of .* found --epochs {epochs}: leave it out"
    with pytest.raises(ConfigError, match=message):
        train(resume=finished, epochs=epochs)
    assert main(["train", "--resume", str(finished), "--epochs", str(epochs)]) == 2
    assert "expected more epochs than the 2 epochs" in capsys.readouterr().err
    assert main(["train", "--resume", str(finished)]) == 0
    assert weights(finished) == before
    assert main(["train", "--resume", str(finished), "--epochs", "3", "--quiet"]) == 0
    assert len(rows(finished)) == 6


def test_more_epochs_are_a_new_chance_for_a_run_that_stopped_early(
    photos: Path, tmp_path: Path
) -> None:
    train(small(photos, tmp_path / "run", lr=0.0, epochs=9, patience=2))
    stopped = rows(tmp_path / "run")[-1]["epoch"]
    assert stopped < 9
    train(resume=tmp_path / "run", epochs=20)
    assert rows(tmp_path / "run")[-1]["epoch"] == stopped + 2
