"""The schedule, the parameter groups, the average, the step, and what the loop watches."""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from training.runs import planned, rows, small

import softonce.training.finish as finish_module
from softonce import create_model, train
from softonce.artefact import read_artefact
from softonce.config.train import Opt
from softonce.errors import ConfigError
from softonce.inference import log_probs
from softonce.losses import cross_entropy, softmax
from softonce.metrics import Figures
from softonce.training import loop
from softonce.training.layers import layers_of
from softonce.training.objective import Objective
from softonce.training.optim import Schedule, build_average, build_optimizer
from softonce.training.step import TrainStep

# the learning rate


@given(
    steps=st.integers(2, 400), share=st.floats(0, 0.9), start=st.floats(0, 1), end=st.floats(0, 0.1)
)
def test_the_rate_rises_to_its_peak_and_falls_to_its_end(
    steps: int, share: float, start: float, end: float
) -> None:
    warm = int(share * steps)
    schedule = Schedule(1.0, num_steps=steps, num_warmup_steps=warm, start=start, end=end)
    rates = [schedule.lr(step) for step in range(steps + 1)]
    assert rates[warm] == 1.0
    assert rates[:warm] == sorted(rates[:warm])
    assert rates[warm:] == sorted(rates[warm:], reverse=True)
    assert rates[-1] == pytest.approx(end, abs=1e-12)


def test_the_rate_is_that_of_torch() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.4)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.01)
    ours = Schedule(0.4, num_steps=50, num_warmup_steps=0, start=0.0, end=0.01)
    for step in range(50):
        assert ours.lr(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        theirs.step()


# the parameters


@pytest.mark.parametrize("opt", get_args(Opt))
def test_norms_and_biases_are_not_decayed(opt: str) -> None:
    model = create_model("cifar_resnet20")
    config = planned(opt=opt, lr=0.1, weight_decay=0.3)
    decay = {
        id(p): group["weight_decay"]
        for group in build_optimizer(layers_of(model), config).param_groups
        for p in group["params"]
    }
    for name, parameter in model.named_parameters():
        is_matrix = name.endswith("weight") and "bn" not in name and parameter.ndim > 1
        assert decay[id(parameter)] == (0.3 if is_matrix else 0.0), name


def test_layers_that_begin_later_have_groups_of_their_own() -> None:
    model = create_model("cifar_resnet20")
    head = set(map(id, model.fc.parameters()))
    groups = build_optimizer(layers_of(model, head_epochs=1), planned(lr=0.1)).param_groups
    for group in groups:  # torch's fused SGD takes a momentum of all of a group, or of none
        assert len({id(parameter) in head for parameter in group["params"]}) == 1
    assert len(groups) > len(build_optimizer(layers_of(model), planned(lr=0.1)).param_groups)


def test_the_average_is_exponential_over_weights_and_buffers() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average = build_average(model, planned(model_ema=True, model_ema_decay=0.75))
    average.update_parameters(model)  # the first sets it
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in range(3):
        with torch.no_grad():
            for value in model.state_dict().values():
                value.add_(1)
        average.update_parameters(model)
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                expected[name] = 0.75 * expected[name] + 0.25 * value
    for name, value in average.module.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name])
    assert build_average(model, planned()) is None


# the step


def made_step(**options) -> tuple[TrainStep, list[torch.Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    seen: list[torch.Tensor] = []

    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        seen.append(logits)
        return cross_entropy(logits, target)

    optimizer = torch.optim.SGD(model.parameters(), lr=99.0)
    return TrainStep(model, optimizer, Objective(loss), **options), seen


def test_a_step_is_one_of_plain_gradient_descent() -> None:
    step, _ = made_step()
    images, target = torch.randn(6, 3, 2, 2), torch.tensor([0, 1, 2, 3, 0, 1])
    weight = step.model[1].weight
    loss = nn.functional.cross_entropy(step.model(images), target)
    (gradient,) = torch.autograd.grad(loss, weight)
    expected = weight.detach() - 0.5 * gradient
    correct = (step.model(images).argmax(dim=1) == target).sum()
    sums = step(images, target, lr=0.5)
    torch.testing.assert_close(weight.detach(), expected)
    torch.testing.assert_close(sums, torch.tensor([6 * loss.item(), correct, 6]).double())
    assert all(parameter.grad is None for parameter in step.model.parameters())


def test_the_loss_sees_float32_under_bfloat16() -> None:
    autocast = partial(torch.autocast, "cpu", dtype=torch.bfloat16)
    step, seen = made_step(autocast=autocast)
    step(torch.randn(6, 3, 2, 2), torch.arange(6) % 4, lr=0.1)
    assert seen[0].dtype == torch.float32
    assert torch.equal(seen[0], seen[0].bfloat16().float())  # and the network was in bfloat16


def test_the_gradient_is_clipped_to_its_norm() -> None:
    step, _ = made_step(clip_grad_norm=1e-3)
    before = nn.utils.parameters_to_vector(step.model.parameters()).clone()
    step(torch.randn(6, 3, 2, 2), torch.arange(6) % 4, lr=1.0)
    moved = nn.utils.parameters_to_vector(step.model.parameters()) - before
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-3)


# the loop and the run


@pytest.mark.parametrize(
    ("found", "best"),
    [
        ([(0.5, 1.0), (0.7, 2.0), (0.6, 0.1)], 2),  # the most right ones
        ([(0.5, 1.0), (0.5, 0.4), (0.5, 0.7)], 2),  # then the least NLL
        ([(0.5, 1.0), (0.5, 1.0), (0.5, 1.0)], 1),  # then the first
    ],
)
def test_the_best_epoch_has_the_highest_top1_ties_by_nll(
    found: list[tuple[float, float]],
    best: int,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, given = loop._evaluate, iter(found)

    def evaluate(*arguments: Any) -> Figures:
        top1, nll = next(given)
        return dataclasses.replace(real(*arguments), top1=top1, nll=nll)

    monkeypatch.setattr(loop, "_evaluate", evaluate)
    result = train(small(photos, tmp_path / "run", epochs=3))
    assert read_artefact(result.artefact)[1].training["best_epoch"] == best


def test_test_is_measured_once_at_the_end(
    photos: Path, tmp_path: Path, make_photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photos(photos / "test", per_class=3)
    labels: list[str] = []
    real = finish_module.measure
    monkeypatch.setattr(
        finish_module, "measure", lambda *a, **k: labels.append(a[2]) or real(*a, **k)
    )
    result = train(small(photos, tmp_path / "run"))
    assert labels == ["test"]
    assert (result.evaluation.split, result.evaluation.figures.n) == ("test", 9)
    assert {row["split"] for row in rows(result.run)} == {"train", "val"}


def test_the_temperature_lies_between_1_and_the_best_one_on_val(
    photos: Path, tmp_path: Path
) -> None:
    shutil.copy(photos / "val" / "bees" / "00.jpg", photos / "val" / "ants" / "a bee.jpg")
    evaluation = train(small(photos, tmp_path / "run", lr=0.02)).evaluation
    logits, target = evaluation.logits, torch.tensor([0] * 6 + [1] * 5 + [2] * 5)

    def nll(temperature: float) -> float:
        chosen = log_probs(logits, temperature=temperature).gather(1, target[:, None])
        return -chosen.mean().item()

    fitted = evaluation.temperature
    assert fitted != 1.0
    away = 1.02 if fitted > 1 else 1 / 1.02
    assert nll(fitted * away) < nll(fitted) < nll(fitted / away) < nll(1.0)
    assert read_artefact(tmp_path / "run" / "model.safetensors")[1].temperature == fitted


def test_a_second_softmax_is_noticed_while_it_happens(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def twice(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return cross_entropy(softmax(logits, dim=1), target)  # noqa: SO101 - the case

    train(small(photos, tmp_path / "run", epochs=25, checkpoint_seconds=60.0, lr=0.05), loss=twice)
    floor = math.log(1 + 2 / math.e)
    assert f"ln(1 + (C-1)/e) = {floor:.3f} of a network with its own softmax" in caplog.text


def test_one_softmax_is_not_suspected(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(small(photos, tmp_path / "run", epochs=25, checkpoint_seconds=60.0, lr=0.05))
    assert "own softmax" not in caplog.text


def test_everything_that_is_promised_lies_in_the_run_folder(photos: Path, tmp_path: Path) -> None:
    result = train(small(photos, tmp_path / "run"))
    names = {path.name for path in result.run.iterdir()}
    assert names == {
        "config.toml", "metrics.jsonl", "model.safetensors", "last.safetensors", "report.html",
        "checkpoints", "scan.safetensors", "train_batch.png",
    }  # fmt: skip
    assert [(row["split"], row["epoch"], row["step"]) for row in rows(result.run)] == [
        ("train", 1, 5), ("val", 1, 5), ("train", 2, 10), ("val", 2, 10),
    ]  # fmt: skip


def test_a_full_folder_is_refused_and_left_alone(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(small(photos, run, epochs=1))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="expected an empty folder at --output .*--resume"):
        train(small(photos, run, epochs=1))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    train(small(photos, run, epochs=1, seed=3, overwrite=True))
    assert (run / "model.safetensors").read_bytes() != before[run / "model.safetensors"]


def test_open_options_are_filled_in_and_said(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="softonce")
    train(small(photos, tmp_path / "run", epochs=1))
    assert (
        "cifar_resnet20 at 16 px, 1 epoch of 5 steps, batch 8, sgd_nesterov with lr 0.00625"
        in caplog.text
    )
    assert "pad-crop" in caplog.text


def test_a_training_size_needs_a_crop_that_resizes(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected --train-size 16 with --augment pad-crop"):
        train(small(photos, tmp_path / "run", train_size=20))
    assert not (tmp_path / "run").exists()
