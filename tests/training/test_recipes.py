"""Recipes fill in what was left open; what was asked for always wins."""

from __future__ import annotations

import dataclasses
import logging
import re
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import nn
from training.runs import planned, rows, small, weights

from softonce import TrainConfig, create_model, train
from softonce.artefact import read_artefact
from softonce.config.toml import from_toml
from softonce.errors import ConfigError, SoftonceError, UnknownNameError
from softonce.training import plan, trials
from softonce.training.layers import layers_of
from softonce.training.optim import Schedule, parameter_groups
from softonce.training.recipes import (
    choose_recipe,
    read_recipe,
    recipe_names,
)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_a_configuration_and_fills_everything(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'recipe = "{name}"\n')
    config = planned(recipe=from_toml(tmp_path / "config.toml", TrainConfig).recipe)
    options = read_recipe(name)
    dataclasses.replace(config, **{k: v for k, v in options.items() if not isinstance(v, list)})
    for option in read_recipe("none"):
        assert getattr(config, option) is not None, option


def test_what_was_asked_for_wins() -> None:
    config = planned(recipe="imagenet-v2", lr=0.7, model_ema=False, mixup_alpha=0.0, epochs=10)
    assert (config.lr, config.model_ema, config.mixup_alpha, config.epochs) == (0.7, False, 0, 10)
    assert (config.cutmix_alpha, config.opt) == (1.0, "sgd")


def test_the_rate_is_in_proportion_to_the_batch() -> None:
    assert planned(recipe="imagenet-90").lr == pytest.approx(0.1)
    assert planned(recipe="imagenet-90", batch_size=64).lr == pytest.approx(0.025)


def test_what_is_counted_in_epochs_is_in_proportion_to_them() -> None:
    config = planned(recipe="imagenet-90", epochs=18)
    assert (config.lr_step_size, config.lr_warmup_epochs) == (6, pytest.approx(1.0))
    assert planned(recipe="finetune", epochs=2).head_epochs == 0
    assert planned(recipe="imagenet-90", epochs=900).lr_warmup_epochs == 5


@pytest.mark.parametrize(
    ("options", "small_images", "num_train", "name", "why"),
    [
        ({"weights": "a.th"}, True, 10, "finetune-small", "the network starts from a.th"),
        ({"weights": "DEFAULT"}, False, 10, "finetune", "the network starts from DEFAULT"),
        ({}, True, 50_000, "scratch-small", "50,000 small images, no weights"),
        ({}, False, 1_281_167, "imagenet-90", "1,281,167 large images, no weights"),
        ({"weights": "none"}, False, 245, "scratch-photos", "245 large images, no weights"),
    ],
)
def test_the_data_and_the_weights_pick_a_recipe_and_it_is_said_why(
    options, small_images: bool, num_train: int, name: str, why: str, caplog
) -> None:
    caplog.set_level(logging.INFO, logger="softonce")
    found = choose_recipe(
        TrainConfig(**options),
        small=small_images,
        small_network=small_images,
        num_train=num_train,
    )
    assert found == name
    assert re.search(why, caplog.text)


def test_an_unknown_recipe_gets_the_nearest_names(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="found 'imagenet'; the nearest names are: imagenet"):
        train(small(photos, tmp_path / "run", recipe="imagenet"))


def test_the_saved_configuration_of_a_recipe_makes_the_same_run(
    photos: Path, tmp_path: Path
) -> None:
    train(small(photos, tmp_path / "run", recipe="auto", epochs=1))
    saved = from_toml(tmp_path / "run" / "config.toml", TrainConfig)
    assert saved.recipe == "scratch-small"
    train(dataclasses.replace(saved, output=tmp_path / "again"))
    assert weights(tmp_path / "again") == weights(tmp_path / "run")


# schedules


def test_schedulers_are_torchs_at_every_epoch() -> None:
    scheduler = torch.optim.lr_scheduler
    for kind, theirs in (
        ("steplr", lambda o: scheduler.StepLR(o, step_size=2, gamma=0.3)),
        ("exponentiallr", lambda o: scheduler.ExponentialLR(o, gamma=0.3)),
    ):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.4)
        expected = theirs(optimizer)
        ours = Schedule(
            0.4, 70, 0, 0.0, 0.0, steps_per_epoch=7, kind=kind, step_size=2, gamma=0.3
        )  # fmt: skip
        for epoch in range(10):
            assert ours.lr(7 * epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
            optimizer.step()
            expected.step()


def test_a_constant_warm_up_stays_where_it_starts() -> None:
    schedule = Schedule(1.0, 10, 4, start=0.25, end=0.0, rising=False)
    assert [schedule.lr(step) for step in range(5)] == [0.25] * 4 + [1.0]


# layers


def test_each_stage_learns_slower_than_the_next() -> None:
    layers = layers_of(create_model("resnet18", num_classes=3))
    groups = parameter_groups(layers, planned(recipe="none", layer_decay=0.5))
    scale = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    model = layers.trained
    stages = [{scale[id(p)] for part in layer for p in part.parameters()} for layer in model]
    assert stages == [{0.5**5}, {0.5**4}, {0.5**3}, {0.5**2}, {0.5}, {1.0}]


@pytest.mark.parametrize("freeze", ["layer2", "backbone"])
def test_what_is_frozen_stays_bit_for_bit_statistics_too(
    freeze: str, photos: Path, tmp_path: Path
) -> None:
    from softonce.artefact import read_artefact

    train(small(photos, tmp_path / "run", freeze=freeze, epochs=2))
    trained, _ = read_artefact(tmp_path / "run" / "last.safetensors")
    torch.manual_seed(0)
    fresh = create_model("cifar_resnet20", num_classes=3).state_dict()
    frozen = ("conv1", "bn1", "layer1", "layer2") + ("layer3",) * (freeze == "backbone")
    for name, value in fresh.items():
        assert torch.equal(trained[name], value) == name.startswith(frozen), name


def test_the_head_learns_alone_at_first() -> None:
    model = create_model("cifar_resnet20")
    layers = layers_of(model, head_epochs=1)
    layers.begin_epoch(model, 0)
    assert {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad} == {"fc"}
    assert not model.bn1.training
    layers.begin_epoch(model, 1)
    assert all(p.requires_grad for p in model.parameters())
    assert model.bn1.training


def test_an_unknown_layer_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(UnknownNameError, match="--freeze, found 'layer9'; .* layer"):
        layers_of(create_model("cifar_resnet20"), freeze="layer9")


# what is measured


def test_measuring_changes_nothing_but_the_number(photos: Path, tmp_path: Path) -> None:
    train(small(photos, tmp_path / "run", lr="find", stochastic_depth=0.2))
    found = from_toml(tmp_path / "run" / "config.toml", TrainConfig).lr
    train(small(photos, tmp_path / "again", lr=found, stochastic_depth=0.2))
    assert weights(tmp_path / "again") == weights(tmp_path / "run")


def test_the_smallest_batch_that_is_nearly_the_fastest_is_taken(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    caplog.set_level(logging.INFO, logger="softonce")
    monkeypatch.setattr(trials, "MIN_STEPS_PER_EPOCH", 1)
    rates = {16: 50.0, 32: 90.0, 64: 96.0, 128: 98.0, 256: 100.0, 512: 70.0, 1024: 60.0}
    monkeypatch.setattr(trials, "_images_per_second", lambda job: rates[job.plan.batch_size])
    train(small(photos, tmp_path / "run", batch_size="auto", epochs=1))
    saved = from_toml(tmp_path / "run" / "config.toml", TrainConfig)
    assert (saved.batch_size, saved.lr) == (64, pytest.approx(0.05))
    assert "batch size 64: the smallest within 5 % of the fastest (16: 50, 32: 90" in caplog.text


def test_a_batch_that_fits_no_memory_is_not_taken(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    caplog.set_level(logging.INFO, logger="softonce")

    def rate(job) -> float:
        if job.plan.batch_size > 32:
            raise torch.OutOfMemoryError
        return float(job.plan.batch_size)

    monkeypatch.setattr(trials, "MIN_STEPS_PER_EPOCH", 1)
    monkeypatch.setattr(trials, "_images_per_second", rate)
    train(small(photos, tmp_path / "run", batch_size="auto", epochs=1))
    assert from_toml(tmp_path / "run" / "config.toml", TrainConfig).batch_size == 32
    assert "64 does not fit into memory" in caplog.text


@pytest.mark.parametrize(("budget", "epochs"), [("10m", 28), ("30s", 1)])
def test_the_epochs_are_what_fits_into_the_budget(
    budget: str,
    epochs: int,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog,
) -> None:
    monkeypatch.setattr(trials, "_step_seconds", lambda job, limit: 3.0)  # 5 steps an epoch
    monkeypatch.setattr(trials, "_evaluation_seconds", lambda job: 2.5)  # 2 batches of val
    found = trials._find_epochs(
        planned(batch_size=8), lambda plan: _job(photos, tmp_path / "run"), budget
    )
    assert found == epochs
    assert ("more than --time-budget leaves" in caplog.text) == (budget == "30s" and epochs < 1)


def _job(photos: Path, run: Path):
    from softonce.training.run import _prepare
    from softonce.training.start import find_start

    start = find_start(small(photos, run, overwrite=True))
    with closing(start.lock):
        return _prepare(start, None)[0]


def test_a_budget_that_is_no_time_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected --time-budget such as 90, 10m or 2h, found"):
        TrainConfig(time_budget="soon")


def test_a_run_stops_when_val_does_not_get_better(photos: Path, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO, logger="softonce")
    train(small(photos, tmp_path / "run", lr=0.0, epochs=9, patience=2))
    last = max(row["epoch"] for row in rows(tmp_path / "run"))
    assert last < 9
    assert f"stopping early: no better top-1 on val since epoch {last - 2}" in caplog.text
    for name in ("model", "last"):
        assert read_artefact(tmp_path / "run" / f"{name}.safetensors")[1].training["epochs"] == last


# contradictions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alternating_flip": True, "hflip": 0.0}, "expected --hflip 0.5 with --alternating-flip"),
        ({"compile": True, "grad_checkpointing": True}, "--compile or --grad-checkpointing"),
        ({"class_weights": ("balanced",), "sampler": "balanced"}, "rare classes would count twice"),
        ({"class_weights": ("moths=2",)}, "class in --class-weights, found 'moths'"),
        ({"freeze": "layer9"}, "layer in --freeze"),
        ({"augment": "none", "hflip": 1.0}, "expected --hflip 0 with --augment none"),
        ({"augment": "none", "random_erase": 0.2}, "expected --random-erase 0 with --augment"),
        ({"time_budget": "9s", "epochs": 2}, "expected --time-budget or --epochs, found 9s and 2"),
        ({"opt": "adamw", "momentum": 1.0}, "expected --momentum below 1 with --opt adamw"),
        ({"model": "resnet18", "size": 32, "batch_size": 1}, "expected at least 2 images at once"),
        ({"model": "resnet18", "size": 32, "grad_accum_steps": 8}, "at least 2 images at once"),
    ],
)
def test_contradictions_are_refused(options, message: str, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(SoftonceError, match=message):
        train(small(photos, tmp_path / "run", **options))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", [{"size": 64}, {"freeze": "backbone"}], ids=str)
def test_one_image_at_once_is_enough_where_its_norms_see_more_or_learn_nothing(
    options, photos: Path, tmp_path: Path
) -> None:
    options = {"model": "resnet18", "size": 32, "batch_size": 1, "epochs": 1} | options
    train(small(photos, tmp_path / "run", **options))
    assert len(rows(tmp_path / "run")) == 2


@pytest.mark.parametrize(("weight_decay", "is_said"), [(0.01, True), (5e-4, False)])
def test_a_weight_decay_far_above_every_published_one_is_said(
    weight_decay: float, is_said: bool, photos: Path, tmp_path: Path, caplog
) -> None:
    caplog.set_level("INFO", logger="softonce")
    train(small(photos, tmp_path / "run", epochs=1, lr=0.1, weight_decay=weight_decay))
    assert ("lower --weight-decay" in caplog.text) == is_said


# the precision


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Return the numbers of images of each measurement on a processor that has the instructions."""
    found: list[list[int]] = []

    def pays(compute, num: int, **options) -> bool:
        for run in compute.values():
            run(options["least"])
        found.append([num, options["least"]])
        return True

    monkeypatch.setattr(plan, "has_native_bfloat16", lambda _: True)
    monkeypatch.setattr(trials, "bfloat16_pays", pays)
    return found


def test_the_precision_is_measured_on_a_copy_and_written_down(
    photos: Path, tmp_path: Path, tried: list[list[int]]
) -> None:
    train(small(photos, tmp_path / "run", grad_accum_steps=2))
    assert tried == [[8, 4]]
    assert from_toml(tmp_path / "run" / "config.toml", TrainConfig).amp is True
    train(small(photos, tmp_path / "asked", grad_accum_steps=2, amp=True))
    assert weights(tmp_path / "run") == weights(tmp_path / "asked")
    train(TrainConfig(resume=tmp_path / "run"))
    assert len(tried) == 1


@pytest.mark.parametrize("asked", [True, False])
def test_a_precision_that_is_asked_for_is_not_measured(
    asked: bool, photos: Path, tmp_path: Path, tried: list[list[int]]
) -> None:
    train(small(photos, tmp_path / "run", amp=asked, epochs=1))
    assert tried == []
    assert from_toml(tmp_path / "run" / "config.toml", TrainConfig).amp == asked


@pytest.mark.parametrize(
    ("device", "is_native", "amp"),
    [("cpu", False, False), ("cpu", True, None), ("cuda", True, True), ("cuda", False, False)],
)
def test_only_a_processor_that_has_the_instructions_is_measured(
    device: str, is_native: bool, amp: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "has_native_bfloat16", lambda _: is_native)
    assert plan.default_amp(torch.device(device)) is amp


def test_the_precision_is_measured_at_the_batch_that_was_measured(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: list[list[int]]
) -> None:
    monkeypatch.setattr(trials, "MIN_STEPS_PER_EPOCH", 1)
    monkeypatch.setattr(trials, "_images_per_second", lambda job: float(job.plan.batch_size <= 32))
    train(small(photos, tmp_path / "run", batch_size="auto", epochs=1))
    assert tried == [[16, 2]]
