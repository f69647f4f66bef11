"""Parameter groups, the learning rate as a function of the step, and the average of the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from softonce.config import TrainConfig


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then half a cosine; no state, so nothing to save.

    Args:
        peak: the largest learning rate.
        num_steps: steps of the whole run.
        num_warmup_steps: steps of the warm-up.
        start: share of `peak` at the first step.
        end: the learning rate that the cosine reaches.

    Example:
        >>> schedule = Schedule(peak=1.0, num_steps=10, num_warmup_steps=4, start=0.0, end=0.0)
        >>> [round(schedule.lr(step), 2) for step in (0, 2, 4, 7, 10)]
        [0.0, 0.5, 1.0, 0.5, 0.0]

    Source:
        Warm-up: Goyal et al. 2017 (arXiv 1706.02677), section 2.2. Cosine: Loshchilov and Hutter
        2016 (arXiv 1608.03983), section 3.
    """

    peak: float
    num_steps: int
    num_warmup_steps: int
    start: float
    end: float

    def lr(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.num_warmup_steps:
            done = step / self.num_warmup_steps
            return self.peak * (self.start + (1 - self.start) * done)
        left = max(1, self.num_steps - self.num_warmup_steps)
        done = (step - self.num_warmup_steps) / left
        return self.end + (self.peak - self.end) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def build_schedule(config: TrainConfig, steps_per_epoch: int) -> Schedule:
    """Return the schedule that a resolved configuration asks for."""
    assert config.lr is not None  # noqa: S101 - resolved before
    assert config.lr_warmup_epochs is not None  # noqa: S101 - resolved before
    return Schedule(
        peak=config.lr,
        num_steps=config.epochs * steps_per_epoch,
        num_warmup_steps=round(min(config.lr_warmup_epochs, config.epochs) * steps_per_epoch),
        start=config.lr_warmup_decay,
        end=config.lr_min,
    )


def build_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """Return Nesterov SGD or AdamW; norm parameters and biases have their own decay."""
    assert config.lr is not None  # noqa: S101 - resolved before
    assert config.weight_decay is not None  # noqa: S101 - resolved before
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": config.norm_weight_decay},
    ]
    if config.opt == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999))
    nesterov = config.momentum > 0
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov)


def build_average(model: nn.Module, config: TrainConfig) -> AveragedModel | None:
    """Return the moving average of weights and buffers, where `--model-ema` asks for it."""
    if not config.model_ema:
        return None
    average = get_ema_multi_avg_fn(config.model_ema_decay)  # type: ignore[no-untyped-call] # torch's
    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)
