"""A verb takes its configuration, or the same by position and keyword."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from softonce.config import EvaluateConfig, PredictConfig, TrainConfig
from softonce.config.keywords import config_of
from softonce.errors import ArgumentError


@pytest.mark.parametrize(
    ("args", "options", "expected"),
    [
        (("photos",), {"epochs": 3}, TrainConfig("photos", epochs=3)),
        ((), {"data": "photos"}, TrainConfig("photos")),
        ((TrainConfig("a", epochs=2),), {"epochs": 3}, TrainConfig("a", epochs=3)),
        (("run", "photos"), {}, EvaluateConfig(("run", "photos"))),
        ((("run", Path("photos")),), {}, EvaluateConfig(("run", "photos"))),
        (("run", "a.jpg"), {"top_k": 1}, PredictConfig("run", ("a.jpg",), top_k=1)),
        (("run", "a.jpg", Path("b.jpg")), {}, PredictConfig("run", ("a.jpg", "b.jpg"))),
        (("run",), {"images": ["a.jpg"]}, PredictConfig("run", ("a.jpg",))),
    ],
)
def test_arguments_stand_for_a_configuration(args: Any, options: Any, expected: Any) -> None:
    assert config_of(type(expected), *args, **options) == expected


@pytest.mark.parametrize(
    ("kind", "args", "options", "message"),
    [
        (TrainConfig, ("a", "b"), {}, r"at most 1 argument\(s\) without a name \(data\), found 2"),
        (TrainConfig, (TrainConfig(), "a"), {}, "expected nothing beside a TrainConfig"),
        (TrainConfig, (PredictConfig("a"),), {}, "expected a TrainConfig, found a PredictConfig"),
        (TrainConfig, ("a",), {"data": "b"}, "each argument once, found data twice"),
        (TrainConfig, ("a",), {"epoch": 3}, "found 'epoch'; did you mean epochs"),
        (TrainConfig, ("a",), {"imgsz": 64}, "found imgsz, which is --size"),
        (TrainConfig, ("a",), {"learning_rate": 0.1}, "found learning_rate, which is --lr"),
        (PredictConfig, (), {}, "each argument once, found no artefact"),
    ],
)
def test_a_call_that_cannot_be_meant_is_one_clear_error(
    kind: Any, args: Any, options: Any, message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        config_of(kind, *args, **options)
