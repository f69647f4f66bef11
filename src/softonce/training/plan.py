"""From what was asked to what is done: every open option gets a value, and is said."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from softonce.config import TrainConfig
from softonce.config.fields import known, preprocessing_from
from softonce.config.toml import from_toml
from softonce.console import LOG
from softonce.data.augment import Augmentation, CropKind
from softonce.data.scan import SMALL_SIDE
from softonce.distributed import world_size
from softonce.errors import ConfigError, StorageError
from softonce.hardware import has_native_bfloat16, pick_device
from softonce.training.head_loss import MANY_LOGITS, WIDE_HEAD, has_plain_head
from softonce.training.recipes import choose_recipe, with_learning_rate, with_recipe

if TYPE_CHECKING:
    from pathlib import Path

    from softonce.data.loader import Loader
    from softonce.models import Classifier
    from softonce.preprocessing import Preprocessing

RUN_FILES = (
    "config.toml",
    "metrics.jsonl",
    "model.safetensors",
    "last.safetensors",
    "report.html",
)

# These may differ when a run is resumed: they change no weight.
_FREE_ON_RESUME = (
    "data",
    "output",
    "resume",
    "config",
    "cache_dir",
    "overwrite",
    "workers",
    "checkpoint_seconds",
    "quiet",
    "track",
    "profile",
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
    if resolved.batch_size != "auto":
        resolved = with_learning_rate(resolved)
    _check(resolved)
    return Resolved(resolved, preprocessing, _augmentation(resolved, preprocessing))


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
        "%s at %d px, %d epochs, batch %d, %s with lr %g (warm-up %.3g epochs, then %s), "
        "weight decay %g, %s%s%s",
        config.model,
        config.size,
        config.epochs,
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


def _augmentation(config: TrainConfig, preprocessing: Preprocessing) -> Augmentation:
    plain = config.augment == "none"
    return Augmentation(
        crop=cast("CropKind", config.augment),
        size=known(config.train_size),
        scale=known(config.scale),
        ratio=config.ratio,
        hflip=0.0 if plain else config.hflip,
        alternating_flip=config.alternating_flip and not plain,
        auto_augment="none" if plain else known(config.auto_augment),
        random_erase=0.0 if plain else known(config.random_erase),
        random_erase_fill=config.random_erase_fill,
        fill=preprocessing.mean,
    )


def resumed(config: TrainConfig) -> TrainConfig:
    """Return the saved configuration of the run that `--resume` names.

    Raises:
        ConfigError: where there is no such run, or an option would make it another one.
    """
    assert config.resume is not None  # noqa: S101 - the caller has looked
    saved = from_toml(config.resume / "config.toml", TrainConfig)
    free = {name: getattr(config, name) for name in _FREE_ON_RESUME}
    free |= {name: getattr(config, name) or getattr(saved, name) for name in ("data", "cache_dir")}
    free["output"] = config.resume
    if config.cache_dir is not None and not (saved.cache or saved.cache_dir):
        raise ConfigError(
            f"expected no --cache-dir, as {config.resume} was begun without a cache, found "
            f"{config.cache_dir}: leave it out; boxes cut from cached pictures differ"
        )
    if config.data is not None:
        _check_same(config, saved, config.resume)
    return dataclasses.replace(saved, **free)


def is_begun(config: TrainConfig) -> bool:
    """Say whether `--output` holds a run that has begun, as after torchrun has started us again."""
    return config.output is not None and (config.output / "config.toml").exists()


def as_resumed(config: TrainConfig) -> TrainConfig:
    """Return the configuration that goes on with the run in `--output`, begun with this one."""
    free = {name: getattr(config, name) for name in ("workers", "checkpoint_seconds", "quiet")}
    return TrainConfig(resume=config.output, **free)


def check_shares(train: Loader, num_parts: int = 1) -> None:
    """Raise a `ConfigError` where a batch has not an image for every part of every process."""
    smallest, fewest = len(train.scan) // len(train), train.world_size * num_parts
    if smallest < fewest:
        part = "part of --grad-accum-steps" if num_parts > 1 else "process"
        raise ConfigError(
            f"expected --batch-size of at least {fewest}, one image for each {part}, "
            f"found a batch of {smallest}: raise it, or start fewer processes"
        )


def with_head_shards(
    config: TrainConfig, network: Classifier, *, has_own_loss: bool
) -> TrainConfig:
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
    for field in dataclasses.fields(TrainConfig):
        asked, before = getattr(config, field.name), getattr(saved, field.name)
        if field.name not in _FREE_ON_RESUME and asked != before:
            raise ConfigError(
                f"expected --{field.name.replace('_', '-')} {before} as {run} was begun "
                f"with, found {asked}: leave it out, or start a new run with --config "
                f"{run / 'config.toml'} --output ANOTHER"
            )


def claim_output(config: TrainConfig) -> Path:
    """Return the run folder, made and empty of an earlier run.

    Raises:
        ConfigError: where none is named, or it holds something and is not to be overwritten.
    """
    if config.output is None:
        raise ConfigError("expected --output RUN, a folder for the results, found none")
    check_output(config)
    try:
        config.output.mkdir(parents=True, exist_ok=True)
        for name in RUN_FILES:
            (config.output / name).unlink(missing_ok=True)
        for state in (config.output / "checkpoints").glob("step-*.safetensors"):
            state.unlink()
    except OSError as error:
        raise StorageError(
            f"expected a folder to write to at --output {config.output}, found: "
            f"{error.strerror or error}; choose another place"
        ) from error
    return config.output


def check_output(config: TrainConfig) -> None:
    """Raise a `ConfigError` where the run folder cannot be used, before any work is done."""
    output = config.output
    if output is None:
        raise ConfigError("expected --output RUN, a folder for the results, found none")
    if output.exists() and not output.is_dir():
        raise ConfigError(f"expected a folder at --output {output}, found a file")
    if output.is_dir() and any(output.iterdir()) and not config.overwrite:
        raise ConfigError(
            f"expected an empty folder at --output {output}, found files in it: go on with "
            f"--resume {output}, replace it with --overwrite, or name another"
        )
