"""Any configuration trains, or ends with one clear error: never with a traceback of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training.runs import small

from softonce import train
from softonce.errors import SoftonceError
from softonce.training.recipes import recipe_names

SHARE = st.floats(0, 1)
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "recipe": st.sampled_from(["auto", *recipe_names()]),
    "model": st.sampled_from(["cifar_resnet20", "resnet18"]),
    "size": st.sampled_from([1, 8, 16, 33]),
    "train_size": st.sampled_from([8, 16]),
    "mode": st.sampled_from(["RGB", "L"]),
    "fit": st.sampled_from(["crop", "pad", "squash"]),
    "interpolation": st.sampled_from(["nearest", "bilinear", "bicubic"]),
    "epochs": st.integers(1, 2),
    "batch_size": st.sampled_from([1, 2, 7, 64, "auto"]),
    "opt": st.sampled_from(["sgd", "sgd_nesterov", "rmsprop", "adamw"]),
    "lr": st.floats(0, 10) | st.just("find"),
    "momentum": SHARE,
    "weight_decay": SHARE,
    "layer_decay": SHARE,
    "head_epochs": st.integers(0, 3),
    "freeze": st.sampled_from(["none", "layer1", "backbone", "layer9"]),
    "lr_scheduler": st.sampled_from(["cosineannealinglr", "steplr", "exponentiallr"]),
    "lr_gamma": SHARE,
    "lr_warmup_epochs": st.floats(0, 4),
    "lr_warmup_method": st.sampled_from(["linear", "constant"]),
    "label_smoothing": SHARE,
    "class_weights": st.sampled_from([("balanced",), ("ants=0",), ("bees=3", "ants=2"), ("x=1",)]),
    "sampler": st.just("balanced"),
    "clip_grad_norm": st.floats(0, 2),
    "model_ema": st.booleans(),
    "model_ema_decay": SHARE,
    "model_ema_warmup": st.booleans(),
    "model_ema_steps": st.integers(1, 20),
    "stochastic_depth": SHARE,
    "augment": st.sampled_from(["auto", "pad-crop", "resized-crop", "none"]),
    "scale": st.tuples(st.floats(1e-6, 0.5), st.floats(0.5, 1)),
    "hflip": SHARE,
    "alternating_flip": st.booleans(),
    "auto_augment": st.just("ta_wide"),
    "random_erase": SHARE,
    "random_erase_fill": st.sampled_from(["noise", "mean"]),
    "mixup_alpha": st.floats(0, 2),
    "cutmix_alpha": st.floats(0, 2),
    "amp": st.booleans(),
    "channels_last": st.booleans(),
    "grad_accum_steps": st.integers(1, 9),
    "grad_checkpointing": st.booleans(),
    "patience": st.integers(1, 2),
    "time_budget": st.just("1s"),
    "use_deterministic_algorithms": st.booleans(),
}
CONFIGURATIONS = st.fixed_dictionaries({}, optional=OPTIONS)
LEAN = settings(
    suppress_health_check=list(HealthCheck), deadline=None, derandomize=True, database=None
)


def check(options: dict[str, Any], photos: Path) -> None:
    if "time_budget" in options:
        options = {"epochs": None} | options
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        try:
            result = train(small(photos, run, **options))
        except SoftonceError as raised:
            error = str(raised)
        else:
            error = ""
            assert result.artefact.exists()
            assert result.report.exists()
        finally:
            torch.use_deterministic_algorithms(False)
    assert "\n" not in error
    assert not error or "expected" in error


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory, make_photos) -> Path:
    root = tmp_path_factory.mktemp("few")
    make_photos(root / "train", per_class=4)
    make_photos(root / "val", per_class=2)
    return root


@settings(LEAN, max_examples=4)
@given(options=CONFIGURATIONS)
def test_some_configurations_train_or_say_why_not(options: dict[str, Any], few: Path) -> None:
    check(options, few)


@pytest.mark.slow
@settings(LEAN, max_examples=200)
@given(options=CONFIGURATIONS)
def test_two_hundred_configurations_train_or_say_why_not(
    options: dict[str, Any], few: Path
) -> None:
    check(options, few)
