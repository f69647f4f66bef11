"""What can only be measured, on copies of the network: batch, precision, learning rate, epochs.

What is found is written into `config.toml` before the first step. From there on it is a number like
any other, so a resumed run measures nothing and goes on bit for bit. One that was killed before has
no step to lose, and measures anew.
"""

from __future__ import annotations

import dataclasses
import time
from itertools import islice
from typing import TYPE_CHECKING, get_args

import torch

from softonce.config.train import seconds_of
from softonce.console import LOG
from softonce.distributed import world_size
from softonce.hardware import available_bytes
from softonce.plurals import format_count
from softonce.precision import Precision, bfloat16_pays
from softonce.preprocessing import num_channels
from softonce.training.find_lr import find_lr
from softonce.training.plan import decide
from softonce.training.recipes import MIN_STEPS_PER_EPOCH
from softonce.training.trial import (
    Build,
    advance,
    all_agree,
    build_trial,
    of_first,
    repeated_batches,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from softonce.config import TrainConfig
    from softonce.training.job import Job
    from softonce.training.plan import Plan

BATCH_SIZES = (16, 32, 64, 128, 256, 512, 1024)
NEARLY = 0.95
"""The smallest batch within 5 % of the best speed is taken: it makes more steps, in less memory."""


def measure_open(config: TrainConfig, build: Build, begin: Callable[[], object]) -> Plan:
    """Replace what is to be measured by what was found, say why, and decide the rest.

    Args:
        config: settled but for `-b auto`, `--amp`, `--lr find` and `--time-budget`.
        build: a plan -> a job on a copy of the network.
        begin: called before the first measurement, when a job has proved that it can be built.
    """
    if is_unmeasured(config):
        build_trial(config, build)
        begin()
    if config.batch_size == "auto":
        config = dataclasses.replace(config, batch_size=_find_batch_size(config, build))
    if config.amp is None:
        config = dataclasses.replace(config, amp=_find_precision(config, build))
    if config.lr == "find":
        config = dataclasses.replace(config, lr=find_lr(config, build))
    if config.time_budget is not None:
        epochs = _find_epochs(config, build, config.time_budget)
        config = dataclasses.replace(config, epochs=epochs, time_budget=None)
    return decide(config)


def is_unmeasured(config: TrainConfig) -> bool:
    """Return whether something is open that only a measurement can tell."""
    return (
        config.batch_size == "auto"
        or config.amp is None
        or config.lr == "find"
        or config.time_budget is not None
    )


# -b auto


def _find_batch_size(config: TrainConfig, build: Build) -> int:
    """Return the smallest batch that is nearly as fast as the fastest that fits into memory."""
    rates: dict[int, float] = {}
    stopped = ""
    for size in BATCH_SIZES:
        job = build_trial(config, build, batch_size=size)
        if rates and len(job.train) < MIN_STEPS_PER_EPOCH:
            stopped = f"larger ones leave under {MIN_STEPS_PER_EPOCH} steps an epoch"
            break
        before = available_bytes(job.device)
        try:
            rates[size] = _images_per_second(job)
        except torch.OutOfMemoryError:
            if not rates:
                raise
            stopped = f"{size} does not fit into memory"
            break
        if not all_agree(before - available_bytes(job.device) < available_bytes(job.device) / 2):
            stopped = "larger ones may not fit into memory"
            break
    best = next(size for size, rate in rates.items() if rate >= NEARLY * max(rates.values()))
    LOG.info(
        "batch size %d: the smallest within 5 %% of the fastest (%s img/s)%s",
        best,
        ", ".join(f"{size}: {rate:.0f}" for size, rate in rates.items()),
        f"; {stopped}" if stopped else "",
    )
    return best


def _images_per_second(job: Job) -> float:
    """Time steps over one batch, so that reading images does not count."""
    batch = next(iter(repeated_batches(job)))
    advance(job, batch, 0, 0.0)
    steps, start = 0, time.perf_counter()
    while steps < 2 or all_agree(time.perf_counter() - start < 0.5 and steps < 20):
        advance(job, batch, steps, 0.0)
        steps += 1
    return of_first(steps * len(batch[1]) / (time.perf_counter() - start))


# --amp


def _find_precision(config: TrainConfig, build: Build) -> bool:
    """Return whether a step of this run is faster in bfloat16, on pixels that show nothing."""
    plain = dataclasses.replace(config, compile=False)  # to compile twice would take minutes
    jobs = {name: build_trial(plain, build, amp=name == "bfloat16") for name in get_args(Precision)}
    plan = jobs["float32"].plan
    num, side = max(1, plan.batch_size // world_size()), plan.train_size
    pixels = torch.randint(0, 256, (num, num_channels(plan.mode), side, side), dtype=torch.uint8)
    target = torch.arange(num) % len(jobs["float32"].metadata.classes)

    def steps(job: Job) -> Callable[[int], float]:
        return lambda some: advance(job, (pixels[:some], target[:some]), 0, 0.0)

    return bfloat16_pays(
        {name: steps(job) for name, job in jobs.items()},
        num,
        what="a step",
        least=2 * plan.grad_accum_steps,  # batch norm wants two in each part
        agree=of_first,
    )


# --time-budget


def _find_epochs(config: TrainConfig, build: Build, time_budget: str) -> int:
    """Return how many epochs fit into the budget, with 5 % to spare, from the time of a few."""
    start, budget = time.perf_counter(), seconds_of(time_budget)
    job = build_trial(config, build)
    step_seconds = _step_seconds(job, limit=max(1.0, 0.02 * budget))
    epoch = len(job.train) * step_seconds + len(job.val) * _evaluation_seconds(job)
    left = of_first(NEARLY * (budget - (time.perf_counter() - start)))
    epochs = max(1, int(left / epoch))
    LOG.info(
        "time for %s in %s: one takes about %.3g s (%s of %.3g s, then val)",
        format_count(epochs, "epoch"),
        time_budget,
        epoch,
        format_count(len(job.train), "step"),
        step_seconds,
    )
    if epoch > left:
        LOG.warning("one epoch takes %.0f s, more than --time-budget leaves: it is made", epoch)
    return epochs


def _step_seconds(job: Job, *, limit: float) -> float:
    """Return the mean time of a step, waiting for data included, after three that do not count."""
    begin, done = time.perf_counter(), 0
    for step, batch in enumerate(repeated_batches(job)):
        advance(job, batch, step, 0.0)
        if step == 2:
            begin = time.perf_counter()
        done = step - 2
        if done >= 2 and all_agree(time.perf_counter() - begin > limit):
            break
    return of_first((time.perf_counter() - begin) / done)


def _evaluation_seconds(job: Job) -> float:
    """Return the time of one batch of val in the first process; others may have none."""
    engine = job.engine(job.whole())
    begin = 0.0
    for pixels, _ in islice(job.val.batches(), 1):
        engine.logits(pixels.numpy())
        begin = time.perf_counter()
        engine.logits(pixels.numpy())
    return of_first(time.perf_counter() - begin)
