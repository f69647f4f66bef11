"""What can only be measured, on copies of the network: batch, precision, learning rate, epochs.

What is found is written into `config.toml` before the first step. From there on it is a number like
any other, so a resumed run measures nothing and goes on bit for bit. One that was killed before has
no step to lose, and measures anew.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from itertools import count, islice
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import torch

from softonce.config.train import seconds_of
from softonce.console import LOG
from softonce.distributed import gather_json, largest, on_first, world_size
from softonce.engines.torch_engine import TorchEngine
from softonce.errors import ConfigError
from softonce.files import replacing
from softonce.hardware import available_bytes
from softonce.plurals import format_count
from softonce.precision import Precision, bfloat16_pays
from softonce.preprocessing import num_channels
from softonce.training.job import Job
from softonce.training.loop import make_step
from softonce.training.plan import decide
from softonce.training.recipes import MIN_STEPS_PER_EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

    from softonce.config import TrainConfig
    from softonce.training.plan import Plan

Build: TypeAlias = Callable[["Plan"], Job]

BATCH_SIZES = (16, 32, 64, 128, 256, 512, 1024)
NEARLY = 0.95
LR_RANGE = {"adamw": (1e-6, 1.0)}
LR_STEPS = 100
_PROVISIONAL_LR = 1e-3
_SMOOTHING = 0.9


def measure_open(config: TrainConfig, build: Build, begin: Callable[[], object]) -> Plan:
    """Replace what is to be measured by what was found, say why, and decide the rest.

    Args:
        config: settled but for `-b auto`, `--amp`, `--lr find` and `--time-budget`.
        build: a plan -> a job on a copy of the network.
        begin: called before the first measurement, when a job has proved that it can be built.
    """
    if is_unmeasured(config):
        _trial(config, build)
        begin()
    if config.batch_size == "auto":
        config = dataclasses.replace(config, batch_size=_find_batch_size(config, build))
    if config.amp is None:
        config = dataclasses.replace(config, amp=_find_precision(config, build))
    if config.lr == "find":
        config = dataclasses.replace(config, lr=_find_lr(config, build))
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


def _trial(config: TrainConfig, build: Build, **options: float) -> Job:
    """Build a job on a copy of the network, with all layers learning."""
    provisional: dict[str, Any] = {"lr": _PROVISIONAL_LR} | options
    if config.batch_size == "auto":
        provisional = {"batch_size": BATCH_SIZES[0]} | provisional
    if config.amp is None:
        provisional = {"amp": False} | provisional
    job = build(decide(dataclasses.replace(config, **provisional)))
    job.layers.begin_epoch(job.step.model, job.layers.head_epochs)
    return job


def _batches(job: Job) -> Iterator[tuple[Tensor, Tensor]]:
    return (batch for epoch in count() for batch in job.train.batches(epoch))


def _advance(job: Job, batch: tuple[Tensor, Tensor], step: int, lr: float) -> float:
    """Make one step; return the mean loss."""
    loss, _, num = make_step(job, *batch, step=step, lr=lr).tolist()
    if job.state.average is not None:
        job.state.average.update_parameters(job.state.model)
    return float(loss / num)


# -b auto


def _find_batch_size(config: TrainConfig, build: Build) -> int:
    """Return the smallest batch that is nearly as fast as the fastest that fits into memory."""
    rates: dict[int, float] = {}
    stopped = ""
    for size in BATCH_SIZES:
        job = _trial(config, build, batch_size=size)
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
        if not _all_agree(before - available_bytes(job.device) < available_bytes(job.device) / 2):
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
    batch = next(iter(_batches(job)))
    _advance(job, batch, 0, 0.0)
    steps, start = 0, time.perf_counter()
    while steps < 2 or _all_agree(time.perf_counter() - start < 0.5 and steps < 20):
        _advance(job, batch, steps, 0.0)
        steps += 1
    return _firsts(steps * len(batch[1]) / (time.perf_counter() - start))


def _all_agree(condition: bool) -> bool:
    """Say whether the condition holds in every process: they go on, or stop, together."""
    return largest(int(not condition)) == (0,)


def _firsts(value: float) -> float:
    """Return what the first process measured, so that all decide alike."""
    return float(gather_json(value)[0])


# --amp


def _find_precision(config: TrainConfig, build: Build) -> bool:
    """Return whether a step of this run is faster in bfloat16, on pixels that show nothing."""
    plain = dataclasses.replace(config, compile=False)  # to compile twice would take minutes
    jobs = {name: _trial(plain, build, amp=name == "bfloat16") for name in get_args(Precision)}
    plan = jobs["float32"].plan
    num, side = max(1, plan.batch_size // world_size()), plan.train_size
    pixels = torch.randint(0, 256, (num, num_channels(plan.mode), side, side), dtype=torch.uint8)
    target = torch.arange(num) % len(jobs["float32"].metadata.classes)

    def steps(job: Job) -> Callable[[int], float]:
        return lambda some: _advance(job, (pixels[:some], target[:some]), 0, 0.0)

    return bfloat16_pays(
        {name: steps(job) for name, job in jobs.items()},
        num,
        what="a step",
        least=2 * plan.grad_accum_steps,  # batch norm wants two in each part
        agree=_firsts,
    )


# --lr find


def _find_lr(config: TrainConfig, build: Build) -> float:
    """Raise the rate from tiny to huge over 100 steps; take a tenth of the one of the least loss.

    Source:
        Smith 2015 (arXiv 1506.01186), section 3.3.
    """
    job = _trial(config, build)
    low, high = LR_RANGE.get(job.plan.opt, (1e-5, 10.0))
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    for step, batch in enumerate(islice(_batches(job), LR_STEPS)):
        lr = low * (high / low) ** (step / (LR_STEPS - 1))
        loss = _advance(job, batch, step, lr)
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        smooth = average / (1 - _SMOOTHING ** (step + 1))
        if not math.isfinite(smooth) or (losses and smooth > 4 * min(losses)):
            break
        rates.append(lr)
        losses.append(smooth)
    if not rates:
        raise ConfigError("expected a finite loss for --lr find, found none: look at the images")
    lowest = rates[losses.index(min(losses))]
    found = float(f"{lowest / 10:.3g}")
    picture = job.run.lr_find
    on_first(lambda: _draw(rates, losses, found, picture))
    LOG.info(
        "lr %g: a tenth of %.3g, where the loss was lowest (%.3f) in %d steps from %g up; see %s",
        found,
        lowest,
        min(losses),
        len(rates),
        low,
        picture,
    )
    return found


def _draw(rates: list[float], losses: list[float], found: float, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.semilogx(rates, losses, color="#2066a8", linewidth=2)
    axes.axvline(found, color="#c0392b", linestyle="--", label=f"chosen: {found:g}")
    axes.set(xlabel="learning rate", ylabel="smoothed training loss (nats)")
    axes.set_title("A tenth of the rate with the lowest loss", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


# --time-budget


def _find_epochs(config: TrainConfig, build: Build, time_budget: str) -> int:
    """Return how many epochs fit into the budget, with 5 % to spare, from the time of a few."""
    start, budget = time.perf_counter(), seconds_of(time_budget)
    job = _trial(config, build)
    step_seconds = _step_seconds(job, limit=max(1.0, 0.02 * budget))
    epoch = len(job.train) * step_seconds + len(job.val) * _evaluation_seconds(job)
    left = _firsts(NEARLY * (budget - (time.perf_counter() - start)))
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
    for step, batch in enumerate(_batches(job)):
        _advance(job, batch, step, 0.0)
        if step == 2:
            begin = time.perf_counter()
        done = step - 2
        if done >= 2 and _all_agree(time.perf_counter() - begin > limit):
            break
    return _firsts((time.perf_counter() - begin) / done)


def _evaluation_seconds(job: Job) -> float:
    """Return the time of one batch of val in the first process; others may have none."""
    engine = TorchEngine(job.whole().eval(), job.metadata)
    begin = 0.0
    for pixels, _ in islice(job.val.batches(), 1):
        engine.logits(pixels.numpy())
        begin = time.perf_counter()
        engine.logits(pixels.numpy())
    return _firsts(time.perf_counter() - begin)
