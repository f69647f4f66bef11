"""Every number has a range, every verb says what it expects."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from softonce.config import DemoConfig, EvaluateConfig, PredictConfig, TrainConfig
from softonce.config.fields import preprocessing_from
from softonce.config.train import _RANGES
from softonce.errors import ArgumentError, ConfigError
from softonce.preprocessing import IMAGENET_MEAN, Preprocessing

PATHS = (Path("model.safetensors"), Path("photos"))


@pytest.mark.parametrize(("name", "bounds"), [(name, bounds) for name, *bounds in _RANGES])
def test_each_bound_is_allowed_and_what_lies_beyond_is_refused(
    name: str, bounds: list[float]
) -> None:
    for bound in bounds:
        TrainConfig(**{name: bound})
    beyond = [bounds[0] - 1, float("nan"), float("inf"), *(2 * high for high in bounds[1:])]
    for value in beyond:
        flag = f"--{name.replace('_', '-')}"
        expected = f"^expected (a whole number for {flag}|{flag} of .*), found {value}$"
        with pytest.raises(ConfigError, match=expected):
            TrainConfig(**{name: value})


def test_every_number_of_train_has_a_range() -> None:
    hints = get_type_hints(TrainConfig)  # of int | None, too
    numbers = {
        name
        for name, kind in hints.items()
        if get_origin(kind) is not tuple and {int, float} & {kind, *get_args(kind)}
    }
    assert numbers == {name for name, *_ in _RANGES} | {"batch_size", "lr", "mode"}  # words, too
    for name in ("batch_size", "lr", "mode"):
        with pytest.raises(
            ConfigError, match=f"expected --{name.replace('_', '-')} of (at least|1 to)"
        ):
            TrainConfig(**{name: -1})


def test_a_fraction_of_a_whole_number_is_refused() -> None:
    for name in ("epochs", "batch_size", "seed"):
        with pytest.raises(ConfigError, match=f"whole number for --{name.replace('_', '-')}, fo"):
            TrainConfig(**{name: 2.5})
    assert TrainConfig(epochs=2.0, lr_warmup_epochs=2.5).epochs == 2


@pytest.mark.parametrize("name", ["scale", "ratio"])
@pytest.mark.parametrize("pair", [(0.0, 1.0), (0.8, 0.5), (float("nan"), 1.0)])
def test_pairs_that_are_no_interval_are_refused(name: str, pair: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match=f"expected --{name} LOW HIGH, .* found {pair[0]}"):
        TrainConfig(**{name: pair})  # type: ignore[arg-type]


def test_a_box_is_never_larger_than_the_picture() -> None:
    assert TrainConfig(ratio=(1.0, 2.0)).ratio == (1.0, 2.0)
    with pytest.raises(ConfigError, match="expected --scale LOW HIGH"):
        TrainConfig(scale=(1.0, 2.0))


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (EvaluateConfig, {"paths": PATHS, "batch_size": 0}, "--batch-size of at least 1, found 0"),
        (EvaluateConfig, {"paths": PATHS, "seed": -1}, "--seed of at least 0, found -1"),
        (EvaluateConfig, {"paths": PATHS[1:]}, r"expected ARTEFACT DATA, found 1 path"),
        (
            EvaluateConfig,
            {"paths": PATHS[1:], "model": "resnet18"},
            "--model and --weights together, or an ARTEFACT before DATA",
        ),
        (
            EvaluateConfig,
            {"paths": PATHS, "model": "resnet18", "weights": "DEFAULT"},
            "expected only DATA with --model and --weights, found 2",
        ),
        (PredictConfig, {"artefact": PATHS[0], "top_k": 0}, "--top-k of at least 1, found 0"),
        (PredictConfig, {"artefact": PATHS[0], "batch_size": 0}, "--batch-size of at least 1"),
        (DemoConfig, {"epochs": 0}, "--epochs of at least 1, found 0"),
    ],
)
def test_the_other_verbs_refuse_what_they_cannot_use(
    make: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**options)


# what the flags make of the model's preprocessing


def asked(**options: Any) -> SimpleNamespace:
    return SimpleNamespace(**{"size": None, "resize": None, "mean": None, "std": None} | options)


DEFAULT = Preprocessing(size=224, resize=256)
GREY_MEAN, GREY_STD = sum(IMAGENET_MEAN) / 3, (0.229 + 0.224 + 0.225) / 3


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({}, {}),
        ({"size": 112}, {"size": 112, "resize": 128}),
        ({"size": 112, "resize": 112}, {"size": 112, "resize": 112}),
        ({"resize": 224}, {"resize": 224}),
        ({"fit": "pad", "interpolation": "bicubic"}, {"fit": "pad", "interpolation": "bicubic"}),
        ({"mode": "L"}, {"mode": "L", "mean": (GREY_MEAN,), "std": (GREY_STD,)}),
        ({"mode": "L", "mean": (0.3,)}, {"mode": "L", "mean": (0.3,), "std": (GREY_STD,)}),
        ({"mode": "L", "std": (0.3,)}, {"mode": "L", "mean": (GREY_MEAN,), "std": (0.3,)}),
    ],
    ids=str,
)
def test_flags_win_over_the_default_preprocessing(
    options: dict[str, Any], changed: dict[str, Any]
) -> None:
    assert preprocessing_from(asked(**options), DEFAULT) == dataclasses.replace(DEFAULT, **changed)


def test_flags_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(ArgumentError, match="1 <= size <= resize in pixels, found 224 and 100"):
        preprocessing_from(asked(resize=100), DEFAULT)
    with pytest.raises(ArgumentError, match="1 value of mean and std for mode L, found 3 and 1"):
        preprocessing_from(asked(mode="L", mean=IMAGENET_MEAN), DEFAULT)
