"""Steps on a copy of the network, by which something is measured before a run begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

from softonce.distributed import all_reduce_max, gather_json
from softonce.training.job import Job
from softonce.training.loop import make_step
from softonce.training.plan import decide

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from softonce.config import TrainConfig
    from softonce.training.plan import Plan

Build: TypeAlias = Callable[["Plan"], Job]
"""A plan -> a job on a copy of the network."""

_PROVISIONAL = {"batch_size": 16, "amp": False, "lr": 1e-3}
"""What stands in for an option that is still to be measured."""


def build_trial(config: TrainConfig, build: Build, **options: float) -> Job:
    """Build a job on a copy of the network, with all layers learning."""
    is_open = {
        "batch_size": config.batch_size == "auto",
        "amp": config.amp is None,
        "lr": config.lr == "find" or config.lr is None,
    }
    stand_ins: dict[str, Any] = {name: _PROVISIONAL[name] for name in is_open if is_open[name]}
    job = build(decide(dataclasses.replace(config, **stand_ins | options)))
    job.layers.begin_epoch(job.step.model, job.layers.head_epochs)
    return job


def repeated_batches(job: Job) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of one epoch after the other, without an end."""
    return (batch for epoch in count() for batch in job.train.batches(epoch))


def advance(job: Job, batch: tuple[Tensor, Tensor], step: int, lr: float) -> float:
    """Make one step; return the mean loss."""
    loss, _, num = make_step(job, *batch, step=step, lr=lr).tolist()
    if job.state.average is not None:
        job.state.average.update_parameters(job.state.model)
    return float(loss / num)


def all_agree(condition: bool) -> bool:
    """Return whether the condition holds in every process: they go on, or stop, together."""
    return all_reduce_max(int(not condition)) == (0,)


def of_first(value: float) -> float:
    """Return what the first process measured, so that all decide alike."""
    return float(gather_json(value)[0])
