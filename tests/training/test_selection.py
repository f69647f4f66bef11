"""Which epoch is kept, and what --patience waits for."""

from __future__ import annotations

from pathlib import Path

import pytest
from training.runs import rows, small

from softonce import train
from softonce.artefact import read_metadata
from softonce.errors import ConfigError
from softonce.training.selection import FIELDS, is_better

VALUES = {"top1": 0.8, "nll": 0.5, "macro_f1": 0.6, "balanced_accuracy": 0.7}


@pytest.mark.parametrize("by", list(FIELDS))
def test_an_epoch_is_better_by_what_was_asked_and_by_nothing_else(by: str) -> None:
    step = -0.1 if by == "nll" else 0.1
    other = {name: value + (0.3 if name == "nll" else -0.3) for name, value in VALUES.items()}
    better = other | {FIELDS[by]: VALUES[FIELDS[by]] + step}
    assert is_better(better, VALUES, by)
    assert not is_better(VALUES, better, by)
    assert is_better(VALUES, {}, by)
    assert not is_better(VALUES, dict(VALUES), by)


@pytest.mark.parametrize("by", ["top1", "macro_f1", "balanced"])
def test_equal_epochs_are_decided_by_nll(by: str) -> None:
    assert is_better(VALUES | {"nll": 0.4}, VALUES, by)
    assert not is_better(VALUES | {"nll": 0.6}, VALUES, by)


def test_a_run_keeps_the_epoch_that_is_best_by_its_choice(make_photos, tmp_path: Path) -> None:
    by = "macro_f1"
    make_photos(tmp_path / "photos" / "train")
    for name, count in (("ants", 9), ("bees", 4), ("wasps", 1)):
        make_photos(tmp_path / "photos" / "val", classes=(name,), per_class=count)
    run = tmp_path / "run"
    result = train(small(tmp_path / "photos", run, epochs=4, lr=0.02, select_by=by))
    val = [row for row in rows(run) if row["split"] == "val"]
    column = [row[by] for row in val]
    best = max(column)
    found = read_metadata(run / "model.safetensors").training
    assert (found["select_by"], val[found["best_epoch"] - 1][by]) == (by, best)
    assert f"by --select-by {by}" in result.report.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="expected --select-by"):
        train(resume=run, epochs=5, select_by="balanced")
