"""Python callers give text, Paths, NumPy numbers; each is converted, or refused in one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from softonce import config as configs
from softonce.config.coercion import option_name
from softonce.errors import ConfigError

CONFIGS = [getattr(configs, name) for name in configs.__all__]
NEEDED: dict[str, Any] = {
    "artefact": "a.safetensors", "file": "a.onnx", "paths": ("run", "photos"), "data": "photos",
    "output": "a.onnx", "script": "train.py", "logits": (1.0, 2.0), "first": "run-1",
    "second": "run-2", "target": "a.csv", "foreign": "other.onnx",
}  # fmt: skip


def needed_by(kind: Any) -> dict[str, Any]:
    """Return values for the options of a configuration that have no default."""
    fields = dataclasses.fields(kind)
    missing = {f.name for f in fields if f.default is dataclasses.MISSING}
    a_rule = {"accuracy": 0.9} if kind is configs.DecideConfig else {}  # one of its options
    return {name: NEEDED[name] for name in missing} | a_rule


def options() -> list[Any]:
    return [
        pytest.param(kind, field.name, hints[field.name], id=f"{kind.__name__}.{field.name}")
        for kind in CONFIGS
        for hints in [get_type_hints(kind)]
        for field in dataclasses.fields(kind)
    ]


def holds_paths(hint: Any) -> bool:
    return Path in (hint, *get_args(hint)) or any(map(holds_paths, get_args(hint)))


@pytest.mark.parametrize(("kind", "name", "hint"), options())
def test_every_option_refuses_what_is_of_no_use_and_is_named(
    kind: Any, name: str, hint: Any
) -> None:
    place = option_name(kind, name)
    for value in (object(), {"a": 1}, [object()], 1j, b"bytes"):
        with pytest.raises(ConfigError, match=f"^expected .* for {place}, found "):
            kind(**needed_by(kind) | {name: value})


@pytest.mark.parametrize(
    ("kind", "name", "hint"), [option for option in options() if holds_paths(option.values[2])]
)
def test_every_path_may_be_text_or_a_path(kind: Any, name: str, hint: Any) -> None:
    needed = needed_by(kind)
    if kind is configs.EvaluateConfig and name == "paths":
        needed |= {"model": "resnet18", "weights": "a.th"}  # one path is enough
    given = "some folder/a.csv" if name == "predictions" else "some folder/a.onnx"
    if kind is configs.PredictConfig and name == "output":
        needed, given = needed | {"emit": "features"}, "some folder/a.npz"
    text = kind(**needed | {name: given})
    path = kind(**needed | {name: Path(given)})
    assert text == path
    held = getattr(text, name)
    assert held in (Path(given), given) or held == (type(held[0])(given),)


def test_a_text_in_place_of_many_is_one() -> None:
    assert configs.PredictConfig("m", "/a/b.png").images == ("/a/b.png",)
    assert configs.PredictConfig("m", ["a", Path("b")]).images == ("a", "b")
    assert configs.PredictConfig("m", (Path(n) for n in "ab")).images == ("a", "b")
    assert configs.CheckConfig("src").paths == (Path("src"),)
    assert configs.TrainConfig(class_weights="balanced").class_weights == ("balanced",)
    assert configs.TrainConfig(mean=0.5).mean == (0.5,)


def test_numbers_of_numpy_become_pythons() -> None:
    config = configs.TrainConfig(
        epochs=np.int64(3), lr=np.float32(0.5), model_ema=np.bool_(True), scale=np.array([0.5, 1])
    )
    assert [type(v) for v in (config.epochs, config.lr, config.model_ema)] == [int, float, bool]
    assert config.scale == (0.5, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": "3"}, "expected a whole number for --epochs, found '3' (str)"),
        ({"epochs": True}, "expected a whole number for --epochs, found True (bool)"),
        ({"epochs": 2.5}, "expected a whole number for --epochs, found 2.5"),
        ({"lr": "fast"}, "expected find or a number for --lr, found 'fast' (str)"),
        ({"opt": "adam"}, "expected sgd_nesterov, sgd, rmsprop or adamw for --opt, found 'adam'"),
        ({"amp": 1}, "expected True or False for --amp, found 1"),
        ({"model": None}, "expected text for --model, found None"),
        ({"output": 3}, "expected a path for --output, found 3"),
        ({"data": ["a"]}, "expected a path or URL for DATA, found ['a'] (list)"),
        ({"scale": (0.5,)}, "expected 2 numbers for --scale, found (0.5,) (tuple)"),
        ({"mean": (0.5, "x")}, "(0.5, 'x') (tuple) with 'x' (str) at position 1"),
    ],
)
def test_the_message_says_what_and_where(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configs.TrainConfig(**options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250
