"""Epochs, evaluation, saved states: `fit` goes on from wherever the state is."""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from softonce.artefact import write_artefact
from softonce.config.train import ALL
from softonce.console import EPOCHS, LOG, progress
from softonce.distributed import (
    all_reduce_max,
    copy_buffers_from_first,
    each_together,
    on_rank_zero,
    rank,
    world_size,
)
from softonce.errors import TrainingError
from softonce.evaluation import collect_logits
from softonce.metrics import figures, score_rows
from softonce.training.features import FeatureHead
from softonce.training.first_batch import write_first_batch
from softonce.training.job import Saver, check_finite
from softonce.training.probe import STRENGTHS
from softonce.training.profiling import in_section, profile_steps
from softonce.training.selection import FIELDS, LABELS, is_better, values_of
from softonce.training.signals import StopRequest, leave_if_requested, stop_requests
from softonce.training.watching import watch_floor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from softonce.metrics import Figures
    from softonce.training.job import Job
    from softonce.training.probe import Probe

_DETAIL_EVERY = 10
"""Steps between two figures beside the bar: each waits for the device."""


def fit(job: Job) -> None:
    """Train to the last epoch, from wherever the state is.

    Raises:
        TrainingError: if the loss is NaN or infinite; the last saved state is sound.
        KeyboardInterrupt: after Ctrl-C, with the state saved.
        SystemExit: after SIGTERM, with the state saved.
    """
    job.saver = Saver(job)
    on_rank_zero(lambda: job.metrics.cut(job.state.progress.num_rows))
    epochs = job.plan.epochs
    left = epochs - job.state.progress.epoch
    num_steps = left * len(job.train) - job.state.progress.batch
    remaining = left * len(job.train.scan)
    done = job.state.sums[2].item()
    trace = job.run.profile if job.plan.profile and rank() == 0 else None
    with (
        stop_requests(patient=world_size() > 1) as stop,
        profile_steps(trace, num_steps) as job.end_step,
        progress("training", max(1, int(remaining - done))) as advance,
    ):
        while job.state.progress.epoch < epochs and not _is_out_of_patience(job):
            if job.probe is None:
                trained = _train_epoch(job, stop, advance)
            else:
                trained = _fit_head(job, job.probe)
                advance(len(job.train.scan))
            _finish_epoch(job, trained)
            leave_if_requested(all_reduce_max(stop.signal or 0)[0], job.run.path)
    if job.probe is not None:
        _finish_probe(job, job.probe)


def _is_out_of_patience(job: Job) -> bool:
    """Return whether `--patience` epochs have passed since the best one."""
    where, patience = job.state.progress, job.plan.patience
    if patience is None or not where.best:
        return False
    since = max(where.best["epoch"], where.extended_at)  # more epochs are a new chance
    if where.epoch - since < patience:
        return False
    what = LABELS[job.plan.select_by]
    LOG.info("stopping early: no better %s on val since epoch %d", what, where.best["epoch"])
    return True


def _train_epoch(job: Job, stop: StopRequest, advance: Callable[..., None]) -> dict[str, float]:
    """Make the epoch's remaining steps; return what the row of train says."""
    state, where = job.state, job.state.progress
    job.layers.begin_epoch(job.step.model, where.epoch)
    start, num_images = time.monotonic(), 0
    with closing(job.train.batches(where.epoch, start=where.batch)) as batches:
        for pixels, target in in_section("data", job.watch.time_waits(each_together(batches))):
            job.note(_step(job, pixels, target))
            num = job.train.num_images(where.batch)
            where.batch += 1
            where.step += 1
            if state.average is not None and where.step % job.plan.model_ema_steps == 0:
                state.average.update_parameters(state.model)
            num_images += num
            advance(num, _detail(job) if where.batch % _DETAIL_EVERY == 1 else None)
            job.end_step()
            signal, is_due = all_reduce_max(stop.signal or 0, job.saver.is_due())
            if signal or is_due:
                job.saver.save()
                leave_if_requested(signal, job.run.path)
    loss_sum, correct, num = state.sums.tolist()
    trained = {"loss": loss_sum / num, "top1": correct / num, "lr": job.schedule.lr(where.step - 1)}
    if num_images:
        seconds = max(time.monotonic() - start, 1e-9)
        trained["images_per_second"] = round(num_images / seconds, 1)
    return trained


def _fit_head(job: Job, probe: Probe) -> dict[str, float]:
    """Fit the head for the next strength; return what the row of train says."""
    assert isinstance(job.state.model, FeatureHead)  # noqa: S101 - see `build_job`
    trained = probe.fit_(job.state.model.fc, job.state.progress.epoch)
    job.state.progress.step += 1
    job.state.sums[:] = torch.tensor([trained["loss"], trained["top1"], 1.0])
    return trained


def _step(job: Job, pixels: Tensor, target: Tensor) -> Tensor:
    step = job.state.progress.step
    images, target = _prepare(job, pixels, target, step=step)
    if step == 0:
        on_rank_zero(lambda: _write_first_batch(job, images, target))
    return job.step(images, target, lr=job.schedule.lr(step))


def _write_first_batch(job: Job, images: Tensor, target: Tensor) -> None:
    if job.backbone is not None:  # the images are features
        images, target = _first_pictures(job)
    write_first_batch(
        job.run.train_batch,
        images,
        target,
        classes=job.metadata.classes,
        preprocessing=job.train.preprocessing,
    )


def _first_pictures(job: Job) -> tuple[Tensor, Tensor]:
    with closing(replace(job.train.of_pictures(), workers=0)) as loader:
        pixels, target = next(loader.batches())
        return loader.to_input(pixels, job.device), target


def make_step(job: Job, pixels: Tensor, target: Tensor, *, step: int, lr: float) -> Tensor:
    """Normalise, mix and learn from one batch; return the step's sums."""
    images, target = _prepare(job, pixels, target, step=step)
    return job.step(images, target, lr=lr)


def _prepare(job: Job, pixels: Tensor, target: Tensor, *, step: int) -> tuple[Tensor, Tensor]:
    """Return a batch as the network sees it: on its device, normalised and mixed."""
    images = job.train.to_input(pixels, job.device)
    target = target.to(job.device, non_blocking=True)
    if job.mixing is not None:
        images, target = job.mixing(images, target, step=step)
    is_last = job.plan.channels_last and images.ndim == 4
    layout = torch.channels_last if is_last else torch.contiguous_format
    return images.contiguous(memory_format=layout), target


def _detail(job: Job) -> str:
    loss_sum, correct, num = job.state.sums.tolist()
    check_finite(job)
    if job.state.progress.batch > _DETAIL_EVERY and job.step.objective.loss_fn is None:
        job.watch.loss(loss_sum / num, job.state.progress.least_loss)
    epoch = f"epoch {job.state.progress.epoch + 1}/{job.plan.epochs}"
    return f"{epoch}  loss {loss_sum / num:.3f}  top-1 {correct / num:.1%}"


def _finish_probe(job: Job, probe: Probe) -> None:
    """Say what was chosen, and how the nearest neighbours do; the artefact keeps both."""
    neighbours, best, by = probe.neighbours(), job.state.progress.best, job.plan.select_by
    value = best[FIELDS[by]]
    found = {"neighbours": neighbours}
    job.metadata = replace(job.metadata, training=job.metadata.training | found)
    LOG.info(
        "the best of %d strengths is l2 %.2g, by %s of %s: %s; without a head, %d nearest "
        "neighbours in train: top-1 of val %.2f%%",
        job.plan.epochs,
        STRENGTHS[int(best["epoch"]) - 1],
        LABELS[by],
        "train, cross-validated" if probe.is_crossed else "val",
        f"{value:.4f}" if by == "nll" else f"{value:.2%}",
        neighbours["k"],
        100 * neighbours["top1"],
    )


def _finish_epoch(job: Job, trained: dict[str, float]) -> None:
    """Evaluate, keep the best, write the rows, save the state."""
    where = job.state.progress
    check_finite(job)
    copy_buffers_from_first(job.deployed)
    network = job.whole()
    found = _evaluate(job, network)
    where.epoch, where.batch = where.epoch + 1, 0
    job.state.sums.zero_()
    # Of a probe that is cross-validated, the figures of train decide in place of val's.
    values = {name: trained.get(f"cv_{name}", value) for name, value in values_of(found).items()}
    takes_last = job.plan.val_fold == ALL and job.probe is None
    if takes_last or is_better(values, where.best, job.plan.select_by):
        where.best = {"epoch": where.epoch, **values}
        on_rank_zero(lambda: _write_best(job, network, found))
    if job.probe is None:
        _watch(job, trained["loss"], trained["top1"], found)
    on_rank_zero(lambda: _write_rows(job, trained, found))
    where.num_rows += 2
    job.saver.save()
    EPOCHS.info(
        "epoch %d/%d  train loss %.4f top-1 %.2f%%  val nll %.4f top-1 %.2f%%%s%s",
        where.epoch,
        job.plan.epochs,
        trained["loss"],
        100 * trained["top1"],
        found.nll,
        100 * found.top1,
        _format_criterion(job, values),
        _more_of_epoch(trained),
    )


def _format_criterion(job: Job, values: Mapping[str, float]) -> str:
    """Return what the epoch is chosen by, if the line does not have it already."""
    by = job.plan.select_by
    return "" if by in ("top1", "nll") else f" {LABELS[by]} {values[FIELDS[by]]:.2%}"


def _more_of_epoch(trained: dict[str, float]) -> str:
    if "l2" not in trained:
        speed = trained.get("images_per_second")
        return f"  {speed:.0f} img/s" if speed else ""
    crossed = f"cross-validated {trained['cv_top1']:.2%}, " if "cv_top1" in trained else ""
    return f"  {crossed}l2 {trained['l2']:.2g}"


def _evaluate(job: Job, network: nn.Module) -> Figures:
    logits, target = collect_logits(job.engine(network), job.val, label="validating")
    if not logits.isfinite().all():
        raise TrainingError(
            f"expected finite logits on val after step {job.state.progress.step}, found NaN or "
            "infinity: the training has diverged; lower --lr, raise --lr-warmup-epochs or set "
            "--clip-grad-norm 1; the saved state is from before"
        )
    rows = score_rows(logits, target)
    return figures(rows, job.metadata.classes, num_resamples=0)


def _write_best(job: Job, network: nn.Module, found: Figures) -> None:
    """Write the weights as `model.safetensors`."""
    training = job.metadata.training | {
        "best_epoch": job.state.progress.best["epoch"],
        "metrics": {"split": "val", **values_of(found)},
    }
    if job.probe is not None:
        training |= job.probe.record(job.state.progress.best["epoch"])
    metadata = replace(job.metadata, training=training)
    write_artefact(job.run.artefact, job.as_deployed(network).state_dict(), metadata)


def _write_rows(job: Job, trained: dict[str, float], found: Figures) -> None:
    where = job.state.progress
    common = {"step": where.step, "epoch": where.epoch, "seconds": round(job.saver.seconds(), 2)}
    validated = {"split": "val", **values_of(found), "ece": found.ece}
    for row in (common | {"split": "train"} | trained, common | validated):
        job.metrics.append(row)
        for sink in job.sinks:
            sink.write(row)


def _watch(job: Job, loss: float, top1: float, found: Figures) -> None:
    where = job.state.progress
    job.watch.predictions(found)
    if job.step.objective.loss_fn is None:
        job.watch.loss(loss, where.least_loss)
    where.least_loss = min(loss, math.inf if where.least_loss is None else where.least_loss)
    if not job.plan.label_smoothing and job.mixing is None:  # these have floors of their own
        where.plateau = watch_floor(where.plateau, len(job.metadata.classes), loss, top1)
