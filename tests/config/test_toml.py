"""A configuration goes to TOML and back; what is not understood is said with its file."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from softonce.config import DemoConfig, EvaluateConfig, PredictConfig, TrainConfig
from softonce.config.toml import from_toml, to_toml
from softonce.errors import ConfigError

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
SHARE = st.floats(0, 1)
PAIR = st.tuples(st.floats(0.01, 0.5), st.floats(0.5, 1))
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "data": st.sampled_from([Path("photos"), Path("/a b/é"), Path('qu"o\\te')]),
    "model": TEXT,
    "weights": TEXT,
    "val_fraction": st.floats(0.001, 0.9),
    "size": st.integers(1, 10**6),
    "mean": st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=3).map(tuple),
    "epochs": st.integers(1, 10**9),
    "opt": st.sampled_from(["sgd", "adamw"]),
    "lr": st.floats(0, 1e9) | st.just("find"),
    "batch_size": st.integers(1, 10**6) | st.just("auto"),
    "class_weights": st.just(("a=2", "b c=0.5")),
    "hflip": SHARE,
    "scale": PAIR,
    "amp": st.booleans(),
    "channels_last": st.booleans(),
    "model_ema": st.booleans(),
    "workers": st.integers(0, 99),
    "seed": st.integers(0, 2**63 - 1),
    "output": st.just(Path("run")),
}


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25
)
@given(options=st.fixed_dictionaries({}, optional=OPTIONS))
def test_training_options_come_back_as_they_were(options: dict[str, Any], tmp_path: Path) -> None:
    config = TrainConfig(**options)
    (tmp_path / "config.toml").write_text(to_toml(config), encoding="utf-8")
    assert from_toml(tmp_path / "config.toml", TrainConfig) == config


@pytest.mark.parametrize(
    "config",
    [
        DemoConfig(epochs=3, output=Path("there")),
        PredictConfig(Path("model.safetensors"), ("a.jpg", "b c.jpg"), top_k=2, emit="logits"),
    ],
)
def test_the_options_of_other_verbs_come_back(config: Any, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(to_toml(config), encoding="utf-8")
    assert from_toml(tmp_path / "config.toml", type(config)) == config


def test_paths_are_text_and_what_has_no_value_is_left_out() -> None:
    config = EvaluateConfig((Path("model.safetensors"), Path("photos")))
    record = tomllib.loads(to_toml(config))
    assert record["paths"] == ["model.safetensors", "photos"]
    assert not {"size", "split", "workers"} & set(record)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "expected a known option, found 'epoch'; did you mean epochs?"),
        ("batch-size = 3", "found 'batch-size'; did you mean batch_size?"),
        ("[augmentation]\nhflip = 0.5", "found 'augmentation'; the nearest names are: augment"),
        ("zzz = 1", "found 'zzz'; known: data, val_fraction, "),
        ('epochs = "many"', 'unable to convert "many" into int'),
        ("epochs = [1, 2]", "unable to convert .* into int"),
        ("epochs = true", "unable to convert .* into int"),
        ("[epochs]\na = 1", r"Unknown option: .*epochs"),
        ('amp = "perhaps"', 'unable to convert "perhaps" into bool'),
        ('mean = ["x"]', 'unable to convert "x" into float'),
        ("scale = [0.5]", "expected 2 but got 1"),
        ('fit = "zoom"', 'Choose from: "crop", "pad", "squash"'),
        ("epochs = 2.5", "expected a whole number for --epochs, found 2.5 in .*config.toml"),
        ("batch_size = 2.5", "expected a whole number for --batch-size, found 2.5"),
        ("epochs = nan", "expected a whole number for --epochs, found nan"),
        ("epochs = 0", "expected --epochs of at least 1, found 0"),
        ("lr = nan", "expected --lr of at least 0, found nan"),
        ("epochs = ", "expected TOML in .*config.toml, found: Invalid value"),
        ("epochs = 1\nepochs = 2", "expected TOML in .*config.toml, found: Cannot overwrite"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        from_toml(path, TrainConfig)


def test_a_path_that_toml_cannot_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a path in UTF-8, .* found caf\\xe9: rename it"):
        to_toml(TrainConfig(os.fsdecode(b"caf\xe9")))


def test_nesting_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("epochs = " + "[" * 5000)
    with pytest.raises(ConfigError, match="expected TOML in .*config.toml, found"):
        from_toml(tmp_path / "config.toml", TrainConfig)


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a TOML file at .*none.toml, found: No such file"):
        from_toml(tmp_path / "none.toml", TrainConfig)
    (tmp_path / "config.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="expected TOML in .*, found: 'utf-8' codec can't decode"):
        from_toml(tmp_path / "config.toml", TrainConfig)
