"""The options of `softonce.train` by name, for type checkers and editors.

A type checker cannot read them from `TrainConfig`; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from softonce.config.fields import Data, Device
from softonce.config.toml import settle
from softonce.config.train import AutoAugment, Opt, Scheduler, SelectBy, TrainConfig
from softonce.preprocessing import Fit, Interpolation, Mode


class TrainOptions(TypedDict, total=False):
    """The fields of `TrainConfig`, each of which may be left out."""

    data: str | Path | None
    val_fraction: float
    val_fold: str | None
    folds: int | None
    size: int | None
    resize: int | None
    train_size: int | None
    fit: Fit | None
    interpolation: Interpolation | None
    mode: Mode
    mean: Sequence[float] | None
    std: Sequence[float] | None
    path_col: str | None
    label_col: str | None
    split_col: str | None
    group_col: str | None
    class_order: Path | str | None
    exclude: Path | str | None
    max_pixels: int
    max_bad_fraction: float
    cache: bool
    cache_dir: Path | str | None
    model: str | Callable[..., Any]
    weights: str | None
    strip_normaliser: bool
    freeze: str
    probe: bool
    stochastic_depth: float | None
    recipe: str
    epochs: int | None
    time_budget: str | None
    patience: int | None
    select_by: SelectBy
    batch_size: Literal["auto"] | int | None
    opt: Opt | None
    lr: Literal["find"] | float | None
    momentum: float
    weight_decay: float | None
    norm_weight_decay: float | None
    bias_weight_decay: float | None
    layer_decay: float | None
    head_epochs: int | None
    lr_scheduler: Scheduler | None
    lr_step_size: int | None
    lr_gamma: float
    lr_warmup_epochs: float | None
    lr_warmup_method: Literal["linear", "constant"]
    lr_warmup_decay: float
    lr_min: float
    label_smoothing: float | None
    class_weights: Sequence[str]
    sampler: Literal["shuffle", "balanced"]
    clip_grad_norm: float | None
    model_ema: bool | None
    model_ema_decay: float | None
    model_ema_steps: int
    model_ema_warmup: bool | None
    augment: Literal["auto", "pad-crop", "resized-crop", "none"]
    scale: Sequence[float] | None
    ratio: Sequence[float]
    hflip: float
    alternating_flip: bool
    auto_augment: AutoAugment | None
    random_erase: float | None
    random_erase_fill: Literal["noise", "mean"]
    mixup_alpha: float | None
    cutmix_alpha: float | None
    device: Device
    workers: int | None
    amp: bool | None
    channels_last: bool
    sync_bn: bool
    compile: bool
    grad_accum_steps: int
    shard_head: bool | None
    grad_checkpointing: bool
    use_deterministic_algorithms: bool
    profile: bool
    output: Path | str | None
    resume: Path | str | None
    overwrite: bool
    config: Path | str | None
    seed: int
    track: Literal["none", "tensorboard"]
    checkpoint_seconds: float
    quiet: bool


def merge_options(given: TrainConfig | Data | None, options: TrainOptions) -> TrainConfig:
    """Return what a call asks for; `config`, a TOML file, gives what the call does not."""
    return settle(TrainConfig, *(() if given is None else (given,)), **options)
