"""Epochs, evaluation, saved states: `fit` goes on from wherever the state is."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from softonce.artefact import Metadata, write_artefact
from softonce.console import EPOCHS, LOG, progress
from softonce.data.loader import Loader, normalize
from softonce.distributed import (
    copy_buffers_from_first,
    each_together,
    largest,
    on_first,
    rank,
    world_size,
)
from softonce.engines import Engine
from softonce.errors import TrainingError
from softonce.evaluation import collect_logits
from softonce.floors import double_softmax_floor
from softonce.metrics import figures, score_rows
from softonce.training.checkpoint import State, save_checkpoint
from softonce.training.signals import StopRequest, leave_if_requested, stop_requests

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

    from softonce.config import TrainConfig
    from softonce.metrics import Figures
    from softonce.training.metrics_file import MetricsFile
    from softonce.training.optim import Schedule
    from softonce.training.step import TrainStep

MAX_SAVING_SHARE = 0.05
_PLATEAU_EPOCHS = 3
_DETAIL_EVERY = 10


@dataclass
class Job:
    """A run in progress: what stays as it is, and the state that changes.

    Args:
        config: resolved, without None where a value is needed.
        run: the run folder.
        state: all that changes.
        step: one optimizer step.
        schedule: the learning rate of each step.
        train: batches to learn from.
        val: batches to choose the best epoch by.
        metadata: of the artefacts that are written.
        metrics: the rows of the run.
        device: where to compute.
    """

    config: TrainConfig
    run: Path
    state: State
    step: TrainStep
    schedule: Schedule
    train: Loader
    val: Loader
    metadata: Metadata
    metrics: MetricsFile
    device: torch.device
    saver: _Saver = field(init=False)

    def __post_init__(self) -> None:
        """Start the clock of the saved states."""
        self.saver = _Saver(self)

    @property
    def deployed(self) -> nn.Module:
        """The network whose weights are evaluated and written: the average where there is one."""
        average = self.state.average
        return self.state.model if average is None else average.module


def fit(job: Job) -> None:
    """Train to the last epoch, from wherever the state is.

    Raises:
        TrainingError: where the loss is no number any more; the last saved state is sound.
        KeyboardInterrupt: after Ctrl-C, with the state saved.
        SystemExit: after SIGTERM, with the state saved.
    """
    on_first(lambda: job.metrics.cut(job.state.progress.num_rows))
    remaining = (job.config.epochs - job.state.progress.epoch) * len(job.train.scan)
    done = job.state.sums[2].item()
    with (
        stop_requests(patient=world_size() > 1) as stop,
        progress("training", max(1, int(remaining - done))) as advance,
    ):
        while job.state.progress.epoch < job.config.epochs:
            speed = _train_epoch(job, stop, advance)
            _finish_epoch(job, speed)


def _train_epoch(job: Job, stop: StopRequest, advance: Callable[..., None]) -> float:
    """Make the epoch's remaining steps; return the speed in images a second."""
    state, where = job.state, job.state.progress
    job.step.model.train()
    start, num_images = time.monotonic(), 0
    for pixels, target in each_together(job.train.batches(where.epoch, start=where.batch)):
        state.sums += _step(job, pixels, target)
        if state.average is not None:
            state.average.update_parameters(state.model)
        num = job.train.num_images(where.batch)
        where.batch += 1
        where.step += 1
        num_images += num
        advance(num, _detail(job) if where.batch % _DETAIL_EVERY == 1 else None)
        signal, is_due = largest(stop.signal or 0, job.saver.is_due())
        if signal or is_due:
            job.saver.save()
            leave_if_requested(signal, job.run)
    return num_images / max(time.monotonic() - start, 1e-9)


def _step(job: Job, pixels: Tensor, target: Tensor) -> Tensor:
    images = normalize(pixels.to(job.device, non_blocking=True), job.train.preprocessing)
    layout = torch.channels_last if job.config.channels_last else torch.contiguous_format
    return job.step(
        images.contiguous(memory_format=layout),
        target.to(job.device, non_blocking=True),
        lr=job.schedule.lr(job.state.progress.step),
    )


def _detail(job: Job) -> str:
    loss_sum, correct, num = job.state.sums.tolist()
    epoch = f"epoch {job.state.progress.epoch + 1}/{job.config.epochs}"
    return f"{epoch}  loss {loss_sum / num:.3f}  top-1 {correct / num:.1%}"


def _finish_epoch(job: Job, speed: float) -> None:
    """Evaluate, keep the best, write the rows, save the state."""
    where = job.state.progress
    loss_sum, correct, num = job.state.sums.tolist()
    loss, top1 = loss_sum / num, correct / num
    _check_finite(loss, where.step)
    copy_buffers_from_first(job.deployed)
    found = _evaluate(job)
    where.epoch, where.batch = where.epoch + 1, 0
    job.state.sums.zero_()
    if not where.best or (found.top1, -found.nll) > (where.best["top1"], -where.best["nll"]):
        where.best = {"epoch": where.epoch, "top1": found.top1, "nll": found.nll}
        on_first(lambda: write_best(job))
    _watch_floor(job, loss, top1)
    on_first(lambda: _write_rows(job, loss, top1, found, speed))
    where.num_rows += 2
    job.saver.save()
    EPOCHS.info(
        "epoch %d/%d  train loss %.4f top-1 %.2f%%  val nll %.4f top-1 %.2f%%  %.0f img/s",
        where.epoch,
        job.config.epochs,
        loss,
        100 * top1,
        found.nll,
        100 * found.top1,
        speed,
    )


def _evaluate(job: Job) -> Figures:
    job.deployed.eval()
    engine = Engine(job.deployed, job.val.preprocessing)
    logits, target = collect_logits(engine, job.val, label="validating")
    rows = score_rows(logits, target)
    return figures(rows, job.metadata.classes, num_resamples=0)


def write_best(job: Job) -> None:
    """Write the deployed weights as `model.safetensors`."""
    where = job.state.progress
    metrics = {"split": "val", "top1": where.best["top1"], "nll": where.best["nll"]}
    training = job.metadata.training | {"best_epoch": where.best["epoch"], "metrics": metrics}
    metadata = replace(job.metadata, training=training)
    write_artefact(job.run / "model.safetensors", job.deployed.state_dict(), metadata)


def _write_rows(job: Job, loss: float, top1: float, found: Figures, speed: float) -> None:
    where = job.state.progress
    common = {"step": where.step, "epoch": where.epoch, "seconds": round(job.saver.seconds(), 2)}
    lr = job.schedule.lr(where.step - 1)
    trained = {"split": "train", "loss": loss, "top1": top1, "lr": lr}
    validated = {"split": "val", "top1": found.top1, "nll": found.nll, "ece": found.ece}
    job.metrics.append(common | trained | {"images_per_second": round(speed, 1)})
    job.metrics.append(common | validated)


def _watch_floor(job: Job, loss: float, top1: float) -> None:
    """Say when a loss sits where only a second softmax keeps it: nearly all right, yet so high."""
    floor = double_softmax_floor(len(job.metadata.classes))
    where = job.state.progress
    where.plateau = where.plateau + 1 if floor <= loss <= 1.05 * floor and top1 >= 0.9 else 0
    if where.plateau == _PLATEAU_EPOCHS:
        LOG.warning(
            "the loss has stood at %.3f for %d epochs, with %.0f %% right: that is the floor "
            "ln(1 + (C-1)/e) = %.3f of a network with its own softmax; give logits to the loss",
            loss,
            _PLATEAU_EPOCHS,
            100 * top1,
            floor,
        )


def _check_finite(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"expected a finite loss, found {loss} by step {step}: lower --lr, raise "
            "--lr-warmup-epochs or set --clip-grad-norm 1; the saved state is from before"
        )


class _Saver:
    """Decides when to save: after `--checkpoint-seconds`, and never more than 5 % of the time."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.start = time.monotonic() - job.state.progress.seconds
        self.last, self.cost = time.monotonic(), 0.0

    def seconds(self) -> float:
        """Return the seconds of the run so far, over all sittings."""
        return time.monotonic() - self.start

    def is_due(self) -> bool:
        since = time.monotonic() - self.last
        return (
            rank() == 0
            and since >= self.job.config.checkpoint_seconds
            and (self.cost <= MAX_SAVING_SHARE * since)
        )

    def save(self) -> None:
        """Write the state; one with a loss that is no number is refused, the last one stays."""
        _check_finite(self.job.state.sums[0].item(), self.job.state.progress.step)
        before = time.monotonic()
        self.job.state.progress.seconds = self.seconds()
        save_checkpoint(self.job.run, self.job.state)
        self.last = time.monotonic()
        self.cost = self.last - before
