"""From what was asked to what is done: every open option gets a value, and is said."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from softonce.config import TrainConfig
from softonce.config.fields import known, preprocessing_from
from softonce.config.toml import from_toml, to_toml
from softonce.console import LOG
from softonce.data.augment import Augmentation, CropKind
from softonce.data.scan import SMALL_SIDE
from softonce.data.sources import absolute
from softonce.distributed import world_size
from softonce.errors import ConfigError, StorageError
from softonce.files import make_folder, names_in, write_text
from softonce.hardware import has_native_bfloat16, pick_device
from softonce.plurals import format_count
from softonce.preprocessing import num_channels
from softonce.training.checkpoint import FOLDER as CHECKPOINTS
from softonce.training.checkpoint import has_state
from softonce.training.head_loss import MANY_LOGITS, WIDE_HEAD, has_plain_head
from softonce.training.layers import layers_of
from softonce.training.metrics_file import MetricsFile
from softonce.training.recipes import choose_recipe, with_learning_rate, with_recipe

if TYPE_CHECKING:
    from softonce.data.loader import Loader
    from softonce.models import Network
    from softonce.preprocessing import Preprocessing

CONFIG = "config.toml"
STARTING = ".starting"
"""Stands in a run folder until an earlier run in it has been replaced."""

RUN_FILES = (
    "metrics.jsonl",
    "model.safetensors",
    "last.safetensors",
    "report.html",
    "lr_find.png",
    "profile.json",
    "bad_batch.safetensors",
)

# These may differ when a run is resumed: they change no weight.
_FREE_AT_RESTART = ("workers", "checkpoint_seconds", "quiet", "track", "profile")
_FREE_ON_RESUME = (
    *_FREE_AT_RESTART,
    "data",
    "output",
    "resume",
    "config",
    "cache_dir",
    "overwrite",
)

MAX_SHRINKING = 3e-4


@dataclass(frozen=True)
class Resolved:
    """A configuration without open options, and what follows from it."""

    config: TrainConfig
    preprocessing: Preprocessing
    augmentation: Augmentation | None


def resolve(
    config: TrainConfig, default: Preprocessing, *, small: bool, num_train: int
) -> Resolved:
    """Fill in every option that was left open; `--lr find` and `-b auto` stay for `measure`.

    Args:
        config: as asked.
        default: what the network or its weights expect.
        small: whether every picture is small and kept in memory.
        num_train: how many images there are to learn from.

    Raises:
        ConfigError: where two options contradict each other.
    """
    _check_asked(config)
    preprocessing = preprocessing_from(config, default)
    small = small and preprocessing.size <= SMALL_SIDE
    config = with_recipe(config, choose_recipe(config, small=small, num_train=num_train))
    augment = config.augment
    if augment == "auto":
        augment = "pad-crop" if small else "resized-crop"
    resolved = dataclasses.replace(
        config,
        size=preprocessing.size,
        resize=preprocessing.resize,
        train_size=config.train_size or preprocessing.size,
        mean=preprocessing.mean,
        std=preprocessing.std,
        augment=augment,
        amp=has_native_bfloat16(pick_device(config.device)) if config.amp is None else config.amp,
    )
    if augment == "none":
        resolved = _without_augmentation(resolved)
    if resolved.batch_size != "auto":
        resolved = with_learning_rate(resolved)
    _check(resolved)
    return Resolved(resolved, preprocessing, _augmentation(resolved, preprocessing))


def _check_asked(config: TrainConfig) -> None:
    """Raise a `ConfigError` where what was asked for would be left out."""
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


def _check(config: TrainConfig) -> None:
    if config.sync_bn and pick_device(config.device).type != "cuda":
        raise ConfigError(
            "expected a GPU with --sync-bn, found none: torch synchronises batch norm there alone"
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


def _warn_of_decay(config: TrainConfig) -> None:
    """Say when SGD shrinks the weights faster than any published recipe does.

    Source:
        github.com/pytorch/vision/issues/8363: 1 % top-1 with a weight decay of 0.01.
    """
    shrinks = known(config.weight_decay) * cast("float", config.lr)
    if known(config.opt).startswith("sgd") and shrinks > MAX_SHRINKING:
        LOG.warning(
            "a weight decay of %g at lr %g shrinks the weights by %.2g a step, and published "
            "recipes by 1e-4 at most: such a network hardly learns; lower --weight-decay",
            config.weight_decay,
            config.lr,
            shrinks,
        )


def say_plan(config: TrainConfig, *, has_loss: bool) -> None:
    """Say in one line what will be done, and what of it is odd.

    Args:
        config: without open options.
        has_loss: whether the network's head and its loss are one, as in `HeadLoss`.
    """
    _warn_of_decay(config)
    if config.shard_head:
        how = f", head shared by {world_size()} processes, its loss in blocks"
    elif has_loss:
        how = f", head and loss in blocks (from {MANY_LOGITS:,} logits a step and process)"
    else:
        how = ""
    LOG.info(
        "%s at %d px, %s, batch %d, %s with lr %g (warm-up %.3g epochs, then %s), "
        "weight decay %g, %s%s%s",
        config.model,
        config.size,
        format_count(known(config.epochs), "epoch"),
        config.batch_size,
        config.opt,
        config.lr,
        config.lr_warmup_epochs,
        "cosine" if config.lr_scheduler == "cosineannealinglr" else config.lr_scheduler,
        config.weight_decay,
        config.augment if config.augment != "none" else "no augmentation",
        ", bfloat16" if config.amp else ", float32",
        ", compiled" * config.compile + how,
    )


def _without_augmentation(config: TrainConfig) -> TrainConfig:
    """Return the configuration with what a recipe augments set to nothing."""
    return dataclasses.replace(config, hflip=0.0, auto_augment="none", random_erase=0.0)


def _augmentation(config: TrainConfig, preprocessing: Preprocessing) -> Augmentation:
    return Augmentation(
        crop=cast("CropKind", config.augment),
        size=known(config.train_size),
        scale=known(config.scale),
        ratio=config.ratio,
        hflip=config.hflip,
        alternating_flip=config.alternating_flip,
        auto_augment=known(config.auto_augment),
        random_erase=known(config.random_erase),
        random_erase_fill=config.random_erase_fill,
        fill=preprocessing.mean,
    )


def resumed(config: TrainConfig) -> TrainConfig:
    """Return the saved configuration of the run that `--resume` names.

    Raises:
        ConfigError: where there is no such run, or an option would make it another one.
    """
    assert config.resume is not None  # noqa: S101 - the caller has looked
    if config.overwrite or config.output not in (None, config.resume):
        raise ConfigError(
            f"expected --resume {config.resume} alone, which goes on in that folder, found "
            f"{'--overwrite' if config.overwrite else f'--output {config.output}'} too"
        )
    saved = from_toml(config.resume / CONFIG, TrainConfig)
    free = {name: getattr(config, name) for name in _FREE_ON_RESUME}
    free |= {name: getattr(config, name) or getattr(saved, name) for name in ("data", "cache_dir")}
    free["output"] = config.resume
    if saved.epochs is not None:  # how many fit has been found
        free["time_budget"] = None
    if config.cache_dir is not None and not (saved.cache or saved.cache_dir):
        raise ConfigError(
            f"expected no --cache-dir, as {config.resume} was begun without a cache, found "
            f"{config.cache_dir}: leave it out; boxes cut from cached pictures differ"
        )
    _check_same(config, saved, config.resume)
    return dataclasses.replace(saved, **free)


def with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """Return the configuration so that `--resume` finds its files from any working directory."""
    assert config.data is not None  # noqa: S101 - checked before
    weights, cache = config.weights, config.cache_dir
    if weights is not None and Path(weights).exists():
        weights = str(Path(weights).absolute())
    return dataclasses.replace(
        config, data=absolute(config.data), weights=weights, cache_dir=cache and cache.absolute()
    )


def check_unfinished(config: TrainConfig) -> None:
    """Raise a `ConfigError` where `--resume` would begin again a run that has come far.

    A run that was killed before its first state has at most the two rows of one epoch.
    """
    run = known(config.resume)
    num_rows = len(MetricsFile(run / "metrics.jsonl").rows())
    if has_state(run) or num_rows > 2 or (run / "last.safetensors").exists():
        raise ConfigError(
            f"expected a saved state that can be read in {run / CHECKPOINTS}, found none, though "
            f"the run was under way: restore it, or start a new run with --config {run / CONFIG} "
            "--output ANOTHER"
        )


def is_begun(config: TrainConfig) -> bool:
    """Say whether `--output` holds a run that torchrun's first start of us has begun."""
    output = config.output
    return output is not None and (output / CONFIG).exists() and not (output / STARTING).exists()


def as_resumed(config: TrainConfig) -> TrainConfig:
    """Return the configuration that goes on with the run in `--output`, begun with this one."""
    free = {name: getattr(config, name) for name in _FREE_AT_RESTART}
    return TrainConfig(resume=config.output, **free)


def mark_start(config: TrainConfig) -> None:
    """Note that the run in `--output` is an earlier one, lest a restart goes on with that."""
    if config.output is not None and (config.output / CONFIG).exists():
        write_text(config.output / STARTING, "")


def check_shares(train: Loader, num_parts: int = 1) -> None:
    """Raise a `ConfigError` where a batch has not an image for every part of every process."""
    smallest, fewest = len(train.scan) // len(train), train.world_size * num_parts
    if smallest < fewest:
        part = "part of --grad-accum-steps" if num_parts > 1 else "process"
        raise ConfigError(
            f"expected --batch-size of at least {fewest}, one image for each {part}, "
            f"found a batch of {smallest}: raise it, or start fewer processes"
        )


def check_statistics(network: Network, config: TrainConfig, train: Loader) -> None:
    """Raise a `ConfigError` where batch norm would have to find the variance of a single value."""
    smallest = len(train.scan) // len(train) // train.world_size // config.grad_accum_steps
    if smallest > 1 or config.sync_bn:
        return
    tried = copy.deepcopy(network)
    head_epochs = known(config.head_epochs)
    layers_of(tried, freeze=config.freeze, head_epochs=head_epochs).begin_epoch(tried, head_epochs)
    side, parameter = known(config.train_size), next(tried.parameters())
    try:
        with torch.no_grad():
            tried.forward_features(parameter.new_zeros(1, num_channels(config.mode), side, side))
    except ValueError as error:
        raise ConfigError(
            f"expected at least 2 images at once for the batch norm of {config.model} at {side} "
            "px, found 1 (--batch-size over the processes and --grad-accum-steps): raise "
            "--batch-size, or --size"
        ) from error


def with_head_shards(config: TrainConfig, network: Network, *, has_own_loss: bool) -> TrainConfig:
    """Settle `--shard-head`: where it is open, the processes share a head that is wide.

    Raises:
        ConfigError: where it is asked for, and the loss cannot follow the head at once.
    """
    can_shard = has_plain_head(network) and not has_own_loss
    if config.shard_head and not can_shard:
        raise ConfigError(
            f"expected a network that ends in its Linear head, and softonce's own loss, with "
            f"--shard-head, found {config.model}{' and a loss of yours' if has_own_loss else ''}: "
            "leave --shard-head out"
        )
    is_wide = can_shard and network.fc.weight.numel() >= WIDE_HEAD and world_size() > 1
    asked = is_wide if config.shard_head is None else config.shard_head
    return dataclasses.replace(config, shard_head=asked)


def _check_same(config: TrainConfig, saved: TrainConfig, run: Path) -> None:
    fields = [
        field for field in dataclasses.fields(TrainConfig) if field.name not in _FREE_ON_RESUME
    ]
    rows = [(f, getattr(config, f.name), getattr(saved, f.name)) for f in fields]
    # On the command line the saved options stand in for those that were not given.
    stand_in = not any(asked is None and before is not None for _, asked, before in rows)
    for field, asked, before in rows:
        if asked != before and (stand_in or asked != field.default):
            flag = f"--{field.name.replace('_', '-')}"
            raise ConfigError(
                f"expected {f'no {flag}' if before is None else f'{flag} {before}'}, as in "
                f"{run / CONFIG}, found {asked}: leave it out, or start a new run with --config "
                f"{run / CONFIG} --output ANOTHER"
            )


def claim_output(config: TrainConfig) -> None:
    """Make the run folder, take an earlier run out of it, and write the configuration into it.

    Raises:
        ConfigError: where none is named, or it holds something and is not to be overwritten.
        StorageError: where it cannot be written.
    """
    check_output(config)
    output = known(config.output)
    make_folder(output)
    try:
        for name in RUN_FILES:
            (output / name).unlink(missing_ok=True)
        for state in (output / CHECKPOINTS).glob("step-*.safetensors"):
            state.unlink()
        save_config(config)
        (output / STARTING).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"expected to replace what is at --output {output}, found: {error.strerror or error}; "
            "choose another place"
        ) from error


def save_config(config: TrainConfig) -> None:
    """Write the configuration that `--resume` goes on with; what was there is replaced at once."""
    saved = dataclasses.replace(config, output=None, resume=None, config=None, overwrite=False)
    if saved.time_budget is not None:  # how many fit into it is still to be found
        saved = dataclasses.replace(saved, epochs=None)
    write_text(known(config.output) / CONFIG, to_toml(saved))


def check_output(config: TrainConfig) -> None:
    """Raise a `ConfigError` where the run folder cannot be used, before any work is done."""
    output = config.output
    if output is None:
        raise ConfigError("expected --output RUN, a folder for the results, found none")
    if output.exists() and not output.is_dir():
        raise ConfigError(f"expected a folder at --output {output}, found a file")
    if output.is_dir() and names_in(output) and not config.overwrite:
        raise ConfigError(
            f"expected an empty folder at --output {output}, found files in it: go on with "
            f"--resume {output}, replace it with --overwrite, or name another"
        )
