"""Parameter groups, the learning rate as a function of the step, and the average of the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from softonce.config.train import Scheduler
    from softonce.training.layers import Layers
    from softonce.training.plan import Plan


@dataclass(frozen=True)
class Schedule:
    """A warm-up, then a fall; no state, so nothing to save.

    Args:
        peak: the largest learning rate.
        num_steps: steps of the whole run.
        num_warmup_steps: steps of the warm-up.
        start: share of `peak` at the first step.
        end: the learning rate that the fall ends at.
        steps_per_epoch: for `steplr` and `exponentiallr`.
        kind: half a cosine, steps down, or an exponential, each as torch's scheduler of that name.
        step_size: epochs between two steps of `steplr`.
        gamma: factor of a step of `steplr`, or of an epoch of `exponentiallr`.
        rising: whether the warm-up is linear; else it stays at `start`.

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
    steps_per_epoch: int = 1
    kind: Scheduler = "cosineannealinglr"
    step_size: int = 30
    gamma: float = 0.1
    rising: bool = True

    def lr(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.num_warmup_steps:
            done = step / self.num_warmup_steps if self.rising else 0.0
            return self.peak * (self.start + (1 - self.start) * done)
        since = step - self.num_warmup_steps
        if self.kind == "cosineannealinglr":
            done = since / max(1, self.num_steps - self.num_warmup_steps)
            return self.end + (self.peak - self.end) * 0.5 * (1 + math.cos(math.pi * min(done, 1)))
        epochs = since / self.steps_per_epoch
        if self.kind == "steplr":
            epochs = float(math.floor(epochs) // self.step_size)
        return max(self.end, self.peak * math.pow(self.gamma, epochs))


def build_schedule(plan: Plan, steps_per_epoch: int) -> Schedule:
    """Return the schedule that a plan asks for."""
    return Schedule(
        peak=plan.lr,
        num_steps=plan.epochs * steps_per_epoch,
        num_warmup_steps=round(min(plan.lr_warmup_epochs, plan.epochs) * steps_per_epoch),
        start=plan.lr_warmup_decay,
        end=plan.lr_min,
        steps_per_epoch=steps_per_epoch,
        kind=plan.lr_scheduler,
        step_size=plan.lr_step_size,
        gamma=plan.lr_gamma,
        rising=plan.lr_warmup_method == "linear",
    )


def build_optimizer(layers: Layers, plan: Plan) -> Optimizer:
    """Return the optimizer of `--opt`; frozen layers have no part in it.

    Norm parameters and biases have decays of their own; each layer has its own `lr_scale`, by
    which `--layer-decay` slows it down.
    """
    groups = parameter_groups(layers, plan)
    lr, momentum = plan.lr, plan.momentum
    fused: Any = {"fused": True}
    if plan.opt == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=(momentum, 0.999), **fused)
    if plan.opt == "rmsprop":  # torchvision's two constants
        return torch.optim.RMSprop(groups, lr=lr, momentum=momentum, eps=0.0316, alpha=0.9)
    nesterov = plan.opt == "sgd_nesterov" and momentum > 0
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, **fused)


def parameter_groups(layers: Layers, plan: Plan) -> list[dict[str, Any]]:
    """Return groups of parameters that share a decay, a learning rate and their first step.

    Torch's fused SGD wants a momentum of all parameters of a group, or of none.
    """
    norm = plan.norm_weight_decay
    bias = norm if plan.bias_weight_decay is None else plan.bias_weight_decay
    decays = {"weight": plan.weight_decay, "norm": norm, "bias": bias}
    grouped: dict[tuple[float, float, bool], list[Tensor]] = {}
    seen: set[Tensor] = set()  # a network may use a parameter in two places
    for depth, layer in enumerate(reversed(layers.trained)):
        scale = plan.layer_decay**depth
        is_later = depth > 0 and layers.head_epochs > 0
        for kind, parameter in _kinds(layer):
            if parameter in seen:
                continue
            seen.add(parameter)
            grouped.setdefault((decays[kind], scale, is_later), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "lr_scale": scale}
        for (decay, scale, _), parameters in grouped.items()
    ]


def _kinds(layer: list[nn.Module]) -> list[tuple[str, Tensor]]:
    """Name the kind of each parameter: weight, norm or bias.

    Position embeddings and tokens are no weights of a layer: as in timm they count as norms.
    """
    return [
        (_kind(name, parameter), parameter)
        for part in layer
        for module in part.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.requires_grad
    ]


def _kind(name: str, parameter: Tensor) -> str:
    if name.endswith("bias"):
        return "bias"
    return "weight" if parameter.ndim > 1 and name.endswith("weight") else "norm"


def build_average(model: nn.Module, plan: Plan) -> AveragedModel | None:
    """Return the moving average of weights and buffers, if `--model-ema` asks for it.

    With `--model-ema-warmup`, update n keeps at most (1 + n) / (10 + n).

    Source:
        The warm-up is that of `tf.train.ExponentialMovingAverage` with `num_updates`.
    """
    if not plan.model_ema:
        return None
    decay = plan.model_ema_decay

    def average_(averaged: Any, current: Any, num_averaged: Tensor | int) -> None:
        count = int(num_averaged)
        kept = min(decay, (1 + count) / (10 + count)) if plan.model_ema_warmup else decay
        get_ema_multi_avg_fn(kept)(averaged, current, num_averaged)  # type: ignore[no-untyped-call] # torch's

    return AveragedModel(model, multi_avg_fn=average_, use_buffers=True)
