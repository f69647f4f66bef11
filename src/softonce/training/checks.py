"""What contradicts itself, or cannot be trained: each is one clear error before the run begins."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from softonce.config import TrainConfig
from softonce.errors import ConfigError
from softonce.hardware import pick_device
from softonce.preprocessing import num_channels
from softonce.training.layers import layers_of

if TYPE_CHECKING:
    from softonce.data.loader import Loader
    from softonce.models import Network
    from softonce.training.plan import Plan


def check_asked(config: TrainConfig) -> None:
    """Raise a `ConfigError` if what was asked for would be left out."""
    if config.time_budget is not None and config.epochs is not None:
        raise ConfigError(
            f"expected --time-budget or --epochs, found {config.time_budget} and {config.epochs}: "
            "leave one out, of a --config file too"
        )
    asked = {
        "--hflip 0": config.hflip != TrainConfig.hflip and config.hflip,
        "--no-alternating-flip": config.alternating_flip,
        "--auto-augment none": config.auto_augment not in (None, "none") and config.auto_augment,
        "--random-erase 0": config.random_erase,
    }
    for flag, value in asked.items():
        if config.augment == "none" and value:
            raise ConfigError(
                f"expected {flag} with --augment none, which means none at all, found {value}"
            )


def check_settled(config: TrainConfig) -> None:
    """Raise a `ConfigError` if two options contradict each other."""
    if config.sync_bn and pick_device(config.device).type != "cuda":
        raise ConfigError(
            "expected a GPU with --sync-bn, found none: torch synchronises batch norm only there"
        )
    if config.augment != "resized-crop" and config.train_size != config.size:
        raise ConfigError(
            f"expected --train-size {config.size} with --augment {config.augment}, found "
            f"{config.train_size}: only resized-crop trains at another size"
        )
    if config.alternating_flip and config.hflip != 0.5:
        raise ConfigError(
            f"expected --hflip 0.5 with --alternating-flip, found {config.hflip}: leave one out"
        )
    if config.auto_augment != "none" and isinstance(config.mode, int):
        raise ConfigError(
            f"expected --mode RGB or L with --auto-augment {config.auto_augment}, found "
            f"{config.mode} channels: its operations are of colours; set --auto-augment none"
        )
    if config.compile and config.grad_checkpointing:
        raise ConfigError(
            "expected --compile or --grad-checkpointing, found both: the compiler decides by "
            "itself what to keep"
        )
    if config.opt == "adamw" and config.momentum == 1:
        raise ConfigError("expected --momentum below 1 with --opt adamw, found 1: it never forgets")
    if "balanced" in config.class_weights and config.sampler == "balanced":
        raise ConfigError(
            "expected --class-weights balanced or --sampler balanced, found both: rare classes "
            "would count twice over"
        )


def check_shares(train: Loader, num_parts: int = 1) -> None:
    """Raise a `ConfigError` if a batch has not an image for every part of every process."""
    smallest, fewest = len(train.scan) // len(train), train.world_size * num_parts
    if smallest < fewest:
        part = "part of --grad-accum-steps" if num_parts > 1 else "process"
        raise ConfigError(
            f"expected --batch-size of at least {fewest}, one image for each {part}, "
            f"found a batch of {smallest}: raise it, or start fewer processes"
        )


def check_statistics(network: Network, plan: Plan, train: Loader) -> None:
    """Raise a `ConfigError` if batch norm would have to find the variance of a single value."""
    smallest = len(train.scan) // len(train) // train.world_size // plan.grad_accum_steps
    if smallest > 1 or plan.sync_bn:
        return
    tried = copy.deepcopy(network)
    head_epochs = plan.head_epochs
    layers_of(tried, freeze=plan.freeze, head_epochs=head_epochs).begin_epoch(tried, head_epochs)
    side, parameter = plan.train_size, next(tried.parameters())
    try:
        with torch.no_grad():
            tried.forward_features(parameter.new_zeros(1, num_channels(plan.mode), side, side))
    except ValueError as error:
        raise ConfigError(
            f"expected at least 2 images at once for the batch norm of {plan.model} at {side} "
            "px, found 1 (--batch-size over the processes and --grad-accum-steps): raise "
            "--batch-size, or --size"
        ) from error
