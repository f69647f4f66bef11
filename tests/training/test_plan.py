"""What was asked, and what was decided."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from training.runs import planned

from softonce import TrainConfig
from softonce.config.toml import from_toml
from softonce.errors import ConfigError
from softonce.preprocessing import Preprocessing
from softonce.training.plan import Plan, decide, settle, to_text
from softonce.training.recipes import (
    MIN_BATCH_SIZE,
    MIN_STEPS,
    MIN_STEPS_PER_EPOCH,
    read_recipe,
    recipe_names,
)


def test_a_plan_leaves_nothing_open_that_a_recipe_or_the_data_fill_in() -> None:
    hints = get_type_hints(Plan)
    for name in [*read_recipe("none"), "size", "resize", "train_size", "mean", "std", "amp"]:
        assert type(None) not in get_args(hints[name]), name
        assert type(None) in get_args(get_type_hints(TrainConfig)[name]), name


@pytest.mark.parametrize(
    ("open_option", "name"), [({"lr": "find"}, "lr"), ({"epochs": None}, "epochs")]
)
def test_a_plan_that_leaves_something_open_is_refused(open_option, name: str) -> None:
    with pytest.raises(ConfigError, match=f"number for --{name}, found"):
        dataclasses.replace(planned(), **open_option)


@pytest.mark.parametrize("recipe", ["auto", *recipe_names()])
def test_a_saved_plan_asks_for_itself(recipe: str, tmp_path: Path) -> None:
    plan = planned(recipe=recipe, momentum=0.8, class_weights=("ants=2",), patience=3)
    (tmp_path / "config.toml").write_text(to_text(plan))
    asked = from_toml(tmp_path / "config.toml", TrainConfig)
    asked = dataclasses.replace(asked, output=plan.output)
    assert decide(settle(asked, Preprocessing(size=8), small=False, num_train=9)) == plan


# how many steps


def settled(num_train: int, **options) -> TrainConfig:
    asked = TrainConfig("photos", output="run", **{"weights": "none"} | options)
    return settle(asked, Preprocessing(size=224), small=False, num_train=num_train)


@pytest.mark.parametrize("recipe", ["auto", *recipe_names()])
@pytest.mark.parametrize("num_train", [1, 20, 79, 80, 245, 1000, 10_000, 2_000_000])
def test_a_small_set_makes_enough_steps_whatever_the_recipe(recipe: str, num_train: int) -> None:
    found = settled(num_train, recipe=recipe)
    steps = math.ceil(num_train / found.batch_size)
    assert steps >= MIN_STEPS_PER_EPOCH or found.batch_size == MIN_BATCH_SIZE
    assert steps * found.epochs >= MIN_STEPS
    own = read_recipe(found.recipe)
    assert decide(found).lr == pytest.approx(own["lr"] * found.batch_size / own["batch_size"])
    if num_train >= MIN_STEPS_PER_EPOCH * own["batch_size"]:
        assert found.batch_size == own["batch_size"]
        assert found.epochs == max(own["epochs"], math.ceil(MIN_STEPS / steps))


def test_the_batch_and_the_epochs_that_were_asked_for_are_kept(caplog) -> None:
    caplog.set_level("INFO", logger="softonce")
    found = settled(245, batch_size=64, epochs=2)
    assert (found.batch_size, found.epochs) == (64, 2)
    assert "instead of" not in caplog.text
    assert settled(245, batch_size="auto").batch_size == "auto"


def test_the_choice_is_said_in_one_line(caplog) -> None:
    caplog.set_level("INFO", logger="softonce")
    settled(100)
    why = "with 100 images an epoch would have fewer than 20 steps, or the run fewer than 1,000"
    assert caplog.messages[1:] == [f"batch size 4 instead of 128: {why}"]


def test_every_part_of_every_process_keeps_two_images() -> None:
    assert settled(60, grad_accum_steps=4).batch_size == 8
