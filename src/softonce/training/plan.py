"""From what was asked to what is done: every open option gets a value, and is said."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from softonce.config import TrainConfig
from softonce.config.fields import preprocessing_from
from softonce.config.toml import to_toml
from softonce.config.train import AutoAugment, Opt, Scheduler
from softonce.console import LOG
from softonce.data.augment import Augmentation, CropKind
from softonce.data.scan import SMALL_SIDE
from softonce.data.sources import absolute
from softonce.distributed import world_size
from softonce.errors import ConfigError
from softonce.hardware import has_native_bfloat16, pick_device
from softonce.models.sources.own import with_absolute_file
from softonce.plurals import format_count
from softonce.preprocessing import Fit, Interpolation, Preprocessing
from softonce.run_folder import RunFolder
from softonce.training.checks import check_asked, check_settled
from softonce.training.head_loss import MANY_LOGITS, WIDE_HEAD
from softonce.training.recipes import (
    MIN_BATCH_SIZE,
    NOTHING,
    choose_recipe,
    has_weights,
    in_epochs,
    learning_rate,
    with_enough_steps,
    with_recipe,
)

if TYPE_CHECKING:
    import torch

    from softonce.models import Network

# SGD that multiplies the weights by less than 1 - this a step is beyond every published recipe.
MAX_SHRINKING = 3e-4


@dataclass(frozen=True, kw_only=True)
class Plan(TrainConfig):
    """What was decided: a configuration in which no option is open.

    It is written into `config.toml`, and asks for the same run again. As in every configuration the
    annotations are checked, so that None or `auto` in place of a decision is an error.
    """

    data: str
    size: int
    resize: int
    train_size: int
    fit: Fit
    interpolation: Interpolation
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str
    stochastic_depth: float
    epochs: int
    batch_size: int
    opt: Opt
    lr: float
    weight_decay: float
    norm_weight_decay: float
    layer_decay: float
    head_epochs: int
    lr_scheduler: Scheduler
    lr_step_size: int
    lr_warmup_epochs: float
    label_smoothing: float
    model_ema: bool
    model_ema_decay: float
    model_ema_warmup: bool
    augment: CropKind
    scale: tuple[float, float]
    auto_augment: AutoAugment
    random_erase: float
    mixup_alpha: float
    cutmix_alpha: float
    amp: bool
    shard_head: bool
    output: Path

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        return RunFolder(self.output)

    @property
    def preprocessing(self) -> Preprocessing:
        """What the network sees of a picture."""
        return preprocessing_of(self)

    @property
    def augmentation(self) -> Augmentation:
        """What training changes in a picture."""
        return Augmentation(
            crop=self.augment,
            size=self.train_size,
            scale=self.scale,
            ratio=self.ratio,
            hflip=self.hflip,
            alternating_flip=self.alternating_flip,
            auto_augment=self.auto_augment,
            random_erase=self.random_erase,
            random_erase_fill=self.random_erase_fill,
            fill=self.mean,
        )


def settle(
    config: TrainConfig, default: Preprocessing, *, small: bool, num_train: int
) -> TrainConfig:
    """Fill in what the data and the recipe decide; what hangs on a measurement stays open.

    Args:
        config: as asked.
        default: what the network or its weights expect.
        small: whether every picture is small and kept in memory.
        num_train: how many images there are to learn from.

    Raises:
        ConfigError: if two options contradict each other.
    """
    check_asked(config)
    preprocessing = preprocessing_from(config, default)
    small = small and preprocessing.size <= SMALL_SIDE
    recipe = choose_recipe(
        config, small=small, small_network=default.size <= SMALL_SIDE, num_train=num_train
    )
    config = with_recipe(config, recipe)
    # Batch norm wants two images at once, in every part of every process.
    smallest = max(MIN_BATCH_SIZE, 2 * world_size() * config.grad_accum_steps)
    config = with_enough_steps(config, num_train, min_batch_size=smallest)
    augment = config.augment
    if augment == "auto":
        augment = "pad-crop" if small else "resized-crop"
    settled = dataclasses.replace(
        config,
        size=preprocessing.size,
        resize=preprocessing.resize,
        train_size=config.train_size or preprocessing.size,
        fit=preprocessing.fit,
        interpolation=preprocessing.interpolation,
        mean=preprocessing.mean,
        std=preprocessing.std,
        augment=augment,
        amp=default_amp(pick_device(config.device)) if config.amp is None else config.amp,
    )
    if augment == "none":
        settled = dataclasses.replace(settled, hflip=0.0, auto_augment="none", random_erase=0.0)
    check_settled(settled)
    return settled


def preprocessing_of(settled: TrainConfig) -> Preprocessing:
    """Return what the network sees of a picture, from options none of which is open."""
    names = [field.name for field in dataclasses.fields(Preprocessing)]
    return Preprocessing(**{name: getattr(settled, name) for name in names})


def default_amp(device: torch.device) -> bool | None:
    """Return whether to train in bfloat16 if nothing else is asked; None if only a step can tell.

    A processor may have the instructions and still be faster without, as one of Intel's with
    AVX512_BF16 and no AMX.
    """
    is_native = has_native_bfloat16(device)
    return None if is_native and device.type == "cpu" else is_native


def decide(settled: TrainConfig) -> Plan:
    """Fill in what follows from the batch and the epochs, when these are known.

    Args:
        settled: from `settle`, with numbers in place of what was to be measured.
    """
    options = vars(settled)
    rate = learning_rate(
        settled.recipe,
        opt=options["opt"],
        batch_size=options["batch_size"],
        pretrained=has_weights(settled),
    )
    last = {
        "lr": rate,
        "weights": NOTHING,
        "shard_head": False,
        **in_epochs(settled.recipe, options["epochs"]),
    }
    last = {name: value for name, value in last.items() if options[name] is None}
    return Plan(**options | last)


def _warn_of_decay(plan: Plan) -> None:
    """Warn if SGD shrinks the weights faster than any published recipe does.

    Source:
        github.com/pytorch/vision/issues/8363: 1 % top-1 with a weight decay of 0.01.
    """
    shrinks = plan.weight_decay * plan.lr
    if plan.opt.startswith("sgd") and shrinks > MAX_SHRINKING:
        LOG.warning(
            "a weight decay of %g at lr %g shrinks the weights by %.2g a step, and published "
            "recipes by 1e-4 at most: such a network hardly learns; lower --weight-decay",
            plan.weight_decay,
            plan.lr,
            shrinks,
        )


def say_plan(plan: Plan, *, steps_per_epoch: int, has_loss: bool) -> None:
    """Say in one line what will be done, and what of it is odd.

    Args:
        plan: what was decided.
        steps_per_epoch: how many there are.
        has_loss: whether the network's head and its loss are one, as in `HeadLoss`.
    """
    if plan.probe:
        LOG.info("%s at %d px: a linear probe of its features", plan.model, plan.size)
        return
    _warn_of_decay(plan)
    if plan.shard_head:
        how = f", head shared by {world_size()} processes, its loss in blocks"
    elif has_loss:
        how = f", head and loss in blocks (from {MANY_LOGITS:,} logits a step and process)"
    else:
        how = ""
    LOG.info(
        "%s at %d px, %s of %s, batch %d, %s with lr %g (warm-up %s, then %s), "
        "weight decay %g, %s%s%s",
        plan.model,
        plan.size,
        format_count(plan.epochs, "epoch"),
        format_count(steps_per_epoch, "step"),
        plan.batch_size,
        plan.opt,
        plan.lr,
        _in_words(plan.lr_warmup_epochs),
        "cosine" if plan.lr_scheduler == "cosineannealinglr" else plan.lr_scheduler,
        plan.weight_decay,
        plan.augment if plan.augment != "none" else "no augmentation",
        ", bfloat16" if plan.amp else ", float32",
        ", compiled" * plan.compile + how,
    )


def _in_words(epochs: float) -> str:
    return "1 epoch" if epochs == 1 else f"{epochs:.3g} epochs"


def with_absolute_paths(config: TrainConfig, data: str) -> TrainConfig:
    """Return the configuration so that `--resume` finds its files from any working directory."""
    weights, cache = config.weights, config.cache_dir
    if weights is not None and Path(weights).exists():
        weights = str(Path(weights).absolute())
    return dataclasses.replace(
        config,
        data=absolute(data),
        model=with_absolute_file(config.model),
        weights=weights,
        cache_dir=cache and cache.absolute(),
        class_order=config.class_order and config.class_order.absolute(),
        exclude=config.exclude and config.exclude.absolute(),
    )


def with_head_shards(config: TrainConfig, network: Network, *, has_own_loss: bool) -> TrainConfig:
    """Settle `--shard-head`: if it is open, the processes share a head that is wide.

    Raises:
        ConfigError: if it is asked for, and the loss cannot follow the head at once.
    """
    can_shard = network.ends_in_head and not has_own_loss
    if config.shard_head and not can_shard:
        raise ConfigError(
            f"expected a network that ends in its Linear head, and softonce's own loss, with "
            f"--shard-head, found {config.model}{' and your own loss' if has_own_loss else ''}: "
            "leave --shard-head out"
        )
    head = network.head
    is_large = isinstance(head, nn.Linear) and head.weight.numel() >= WIDE_HEAD
    is_wide = can_shard and is_large and world_size() > 1
    asked = is_wide if config.shard_head is None else config.shard_head
    return dataclasses.replace(config, shard_head=asked)


def to_text(config: TrainConfig) -> str:
    """Return the text of `config.toml`, which `--resume` goes on with."""
    saved = dataclasses.replace(config, resume=None, config=None, overwrite=False)
    values = vars(saved) | {"output": None}
    if saved.time_budget is not None:  # how many fit into it is still to be found
        values["epochs"] = None
    return to_toml(TrainConfig(**values))
