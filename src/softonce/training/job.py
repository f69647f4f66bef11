"""A run in progress, and the saver of its state."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from softonce.distributed import on_rank_zero, rank
from softonce.engines.torch_engine import TorchEngine
from softonce.errors import TrainingError
from softonce.models import Network
from softonce.tensors import write_tensors
from softonce.training.checkpoint import State, save_checkpoint
from softonce.training.features import FeatureEngine
from softonce.training.head_loss import with_whole_head
from softonce.training.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from softonce.artefact import Metadata
    from softonce.data.loader import Loader
    from softonce.engines import Engine
    from softonce.run_folder import RunFolder
    from softonce.training.layers import Layers
    from softonce.training.metrics_file import MetricsFile
    from softonce.training.mixing import Mixing
    from softonce.training.optim import Schedule
    from softonce.training.plan import Plan
    from softonce.training.probe import Probe
    from softonce.training.sinks import Sink
    from softonce.training.step import TrainStep

MAX_SAVING_SHARE = 0.05
"""A state is saved less often than asked for if that would take more of the time."""


@dataclass
class Job:
    """A run in progress: what stays as it is, and the state that changes.

    Args:
        plan: what was decided.
        run: the run folder.
        state: all that changes.
        step: one optimizer step.
        schedule: the learning rate of each step.
        train: batches to learn from.
        val: batches to choose the best epoch by.
        metadata: of the artefacts that are written.
        metrics: the rows of the run.
        device: where to compute.
        layers: of the network: which learn, and when.
        backbone: the network whose features the loaders give, if it is frozen and they are known;
            what learns is then its head.
        probe: fits the head in place of the steps, if `--probe` asks for it.
        mixing: mixup and cutmix, or None.
        sinks: where the rows go, in addition to `metrics`.
    """

    plan: Plan
    run: RunFolder
    state: State
    step: TrainStep
    schedule: Schedule
    train: Loader
    val: Loader
    metadata: Metadata
    metrics: MetricsFile
    device: torch.device
    layers: Layers
    backbone: Network | None = None
    probe: Probe | None = None
    mixing: Mixing | None = None
    sinks: Sequence[Sink] = ()
    saver: Saver = field(init=False)
    watch: Watch = field(init=False)
    first_bad: Tensor = field(init=False)
    end_step: Callable[[], None] = field(init=False, default=lambda: None)

    def __post_init__(self) -> None:
        """Build what watches the run."""
        self.watch = Watch(self.metadata.classes, self.train.num_workers)
        self.first_bad = torch.tensor(-1, device=self.device)

    def note(self, sums: Tensor) -> None:
        """Add a step's sums, and note on the device which batch's loss was the first bad one."""
        self.state.sums += sums
        is_first = ~sums[0].isfinite() & (self.first_bad < 0)
        self.first_bad = self.first_bad.masked_fill(is_first, self.state.progress.batch)
        if self.device.type == "cpu":  # if looking costs nothing
            check_finite(self)

    @property
    def deployed(self) -> nn.Module:
        """The network whose weights are evaluated and written: the average if there is one."""
        average = self.state.average
        if average is None or average.n_averaged == 0:  # of no step yet
            return self.state.model
        return average.module

    def whole(self) -> nn.Module:
        """Return the deployed network with all classes of its head; all processes call it."""
        return with_whole_head(self.deployed)

    def as_deployed(self, network: nn.Module) -> nn.Module:
        """Return the network that an artefact holds: of a head that learns by itself, all of it."""
        if self.backbone is None:
            return network
        assert isinstance(network, Network)  # noqa: S101 - a `FeatureHead`
        return self.backbone.with_head(network.head)

    def engine(self, network: nn.Module) -> Engine:
        """Return what computes logits of the batches of `val`."""
        kind = TorchEngine if self.backbone is None else FeatureEngine
        return kind(network.eval(), self.metadata)


def check_finite(job: Job) -> None:
    """Stop at a loss that is not finite, with the batch that made the first one in the run folder.

    Raises:
        TrainingError: the saved state is from before.
    """
    loss_sum = job.state.sums[0].item()
    if math.isfinite(loss_sum):
        return
    where, batch = job.state.progress, int(job.first_bad.item())
    path = job.run.bad_batch
    step = where.step - where.batch + batch
    on_rank_zero(lambda: _write_batch(job, batch, path, step))
    raise TrainingError(
        f"expected a finite loss, found {loss_sum} first in step {step}, whose images are in "
        f"{path}: look at them; lower --lr, raise --lr-warmup-epochs or set --clip-grad-norm 1"
        f"{'; the saved state is from before' if job.run.states() else ''}"
    )


def _write_batch(job: Job, batch: int, path: Path, step: int) -> None:
    """Make the epoch's batch again, as every batch can be, and write it with its files' names."""
    train = job.train.of_pictures()
    epoch, whole = job.state.progress.epoch, replace(train, rank=0, world_size=1)
    pixels, target = next(iter(whole.batches(epoch, start=batch)))
    record = {"kind": "batch", "epoch": epoch, "step": step, "paths": whole.paths(epoch, batch)}
    write_tensors(path, {"pixels": pixels, "target": target}, record)


class Saver:
    """Decides when to save: after `--checkpoint-seconds`, and never more than 5 % of the time."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.start = time.monotonic() - job.state.progress.seconds
        self.last, self.cost = time.monotonic(), 0.0

    def seconds(self) -> float:
        """Return the seconds of the run so far, over all sittings."""
        return time.monotonic() - self.start

    def is_due(self) -> bool:
        """Return whether the state is to be saved now; only the first process decides."""
        since = time.monotonic() - self.last
        return (
            rank() == 0
            and since >= self.job.plan.checkpoint_seconds
            and (self.cost <= MAX_SAVING_SHARE * since)
        )

    def save(self) -> None:
        """Write the state; one with a loss that is not finite is refused, the last one stays."""
        check_finite(self.job)
        before = time.monotonic()
        self.job.state.progress.seconds = self.seconds()
        save_checkpoint(self.job.run, self.job.state)
        self.last = time.monotonic()
        self.cost = self.last - before
