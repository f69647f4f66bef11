"""What was asked, and what was decided."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from training.runs import planned

from softonce import TrainConfig
from softonce.config.toml import from_toml
from softonce.errors import ConfigError
from softonce.preprocessing import Preprocessing
from softonce.training.plan import Plan, decide, settle, to_text
from softonce.training.recipes import read_recipe, recipe_names


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
