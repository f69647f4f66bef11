"""The options of `softonce train`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter

from softonce.config.coercion import coerce_fields_
from softonce.config.fields import (
    AUGMENTATION,
    DATA,
    HARDWARE,
    MODEL,
    OPTIMISATION,
    RUN,
    Column,
    Data,
    Device,
    MaxPixels,
    Numbers,
    Quiet,
    Resize,
    Size,
    Weights,
    Workers,
    check_range,
)
from softonce.errors import ConfigError
from softonce.preprocessing import MAX_CHANNELS, MAX_PIXELS, Fit, Interpolation, Mode

_RANGES = (
    ("epochs", 1),
    ("val_fraction", 0.001, 0.9),
    ("folds", 2),
    ("lr_warmup_epochs", 0),
    ("lr_warmup_decay", 0, 1),
    ("lr_min", 0),
    ("lr_step_size", 1),
    ("lr_gamma", 0, 1),
    ("layer_decay", 0, 1),
    ("head_epochs", 0),
    ("patience", 1),
    ("momentum", 0, 1),
    ("weight_decay", 0),
    ("norm_weight_decay", 0),
    ("bias_weight_decay", 0),
    ("label_smoothing", 0, 1),
    ("clip_grad_norm", 0),
    ("model_ema_decay", 0, 1),
    ("model_ema_steps", 1),
    ("stochastic_depth", 0, 0.99),
    ("mixup_alpha", 0),
    ("cutmix_alpha", 0),
    ("grad_accum_steps", 1),
    ("hflip", 0, 1),
    ("random_erase", 0, 1),
    ("max_pixels", 1),
    ("max_bad_fraction", 0, 1),
    ("checkpoint_seconds", 0),
    ("seed", 0, 2**63 - 1),
    ("workers", 0),
    ("size", 1),
    ("resize", 1),
    ("train_size", 1),
)

ALL = "all"
"""Of `val_fold`: nothing is left out."""

Opt: TypeAlias = Literal["sgd_nesterov", "sgd", "rmsprop", "adamw"]
Scheduler: TypeAlias = Literal["cosineannealinglr", "steplr", "exponentiallr"]
AutoAugment: TypeAlias = Literal["none", "ta_wide"]
SelectBy: TypeAlias = Literal["top1", "nll", "macro_f1", "balanced"]


@Parameter(name="*")
@dataclass(frozen=True)
class TrainConfig:
    """Train a classifier on a folder of images.

    Example:
        >>> TrainConfig(Path("photos"), model="resnet18", epochs=5).epochs
        5
        >>> TrainConfig(Path("photos"), epochs=0)
        Traceback (most recent call last):
        softonce.errors.ConfigError: expected --epochs of at least 1, found 0
    """

    data: Annotated[Data | None, Parameter(name=("--data", "--data-path"), group=DATA)] = None
    """Folder of images, table (CSV, TSV, JSONL, Parquet), tar shards, URL of these, idx:DIR or
    hf-dataset:DIR_OR_NAME."""

    _: KW_ONLY

    val_fraction: Annotated[float, Parameter(group=DATA)] = 0.2
    """Share of each class that is split off as val, if DATA has no val/."""
    val_fold: Annotated[str | None, Parameter(group=DATA, negative=())] = None
    """I/K: val is the Ith of K parts of DATA, instead of --val-fraction; all: train on every image,
    with no epoch chosen and no temperature."""
    folds: Annotated[int | None, Parameter(group=RUN, negative=())] = None
    """Train K runs, each with another K-th of DATA as val, and one on all of it; report the figures
    of every image by the run that did not learn it."""
    size: Size = None
    """Side of the network's square input, in pixels. [default: the model's own]"""
    resize: Resize = None
    """Short side before the centre crop, in pixels. [default: in proportion to --size]"""
    train_size: Annotated[
        int | None, Parameter(name=("--train-size", "--train-crop-size"), group=DATA, negative=())
    ] = None
    """Side of the square during training, in pixels. [default: --size]"""
    fit: Annotated[Fit | None, Parameter(group=DATA, negative=())] = None
    """How an image that is not square becomes square: cropped, padded or squashed. [default: the
    model's own, mostly crop]"""
    interpolation: Annotated[Interpolation | None, Parameter(group=DATA, negative=())] = None
    """Resampling filter, always antialiased. [default: the model's own, mostly bilinear]"""
    mode: Annotated[Mode, Parameter(group=DATA)] = "RGB"
    """Channels of the input: RGB, L for greyscale, or the number of channels of the files."""
    mean: Numbers = None
    """Mean per channel, in [0, 1]. [default: ImageNet's, or the weights' own]"""
    std: Numbers = None
    """Standard deviation per channel. [default: ImageNet's, or the weights' own]"""
    path_col: Column = None
    """Column of a table that has the paths. [default: found by its name: path, filename, ...]"""
    label_col: Column = None
    """Column of a table that has the labels. [default: label, class, category, ...]"""
    split_col: Column = None
    """Column of a table that tells train from val and test. [default: split, is_valid, ...]"""
    group_col: Column = None
    """Column of a table that tells which images belong together, as a patient's: no group has
    images in both train and the val that is split off."""
    class_order: Annotated[Path | None, Parameter(group=DATA, negative=())] = None
    """Text file with the names of the classes, one a line, in the order of their indices. [default:
    sorted, whole numbers by value]"""
    exclude: Annotated[Path | None, Parameter(group=DATA, negative=())] = None
    """Files to leave out: a text file with a path a line, or a table such as RUN/doubles.csv."""
    max_pixels: MaxPixels = MAX_PIXELS
    """Pictures of more pixels are left out: a small file may claim to be one of any size."""
    max_bad_fraction: Annotated[float, Parameter(group=DATA)] = 0.01
    """Share of unreadable files above which the run is refused; a single one is allowed."""

    cache: Annotated[bool, Parameter(group=DATA, negative=())] = False
    """Decode and resize every image once and keep it on disk as uint8 (above 64 px)."""
    cache_dir: Annotated[Path | None, Parameter(group=DATA, negative=())] = None
    """Folder of the cache, and of a frozen backbone's features; implies --cache. [default:
    ~/.cache/softonce/pictures]"""

    model: Annotated[str, Parameter(name=("--model", "-m"), group=MODEL)] = "resnet18"
    """Network: a name of `softonce models`, timm:NAME, torchvision:NAME, hf:NAME_OR_FOLDER,
    FILE.py:FUNCTION or MODULE:FUNCTION."""
    weights: Weights = None
    """Weights to start from: DEFAULT, a record's name, a file, or none. [default: published ones if
    there are any for photographs, and they can be had]"""
    strip_normaliser: Annotated[bool, Parameter(group=MODEL, negative=())] = False
    """Take the softmax or sigmoid off in which a network of another source ends."""
    freeze: Annotated[str, Parameter(group=MODEL)] = "none"
    """Do not train the layers up to this one, such as layer2; backbone: all but the head, whose
    features are computed only once with --augment none."""
    probe: Annotated[bool, Parameter(group=MODEL, negative=())] = False
    """Fit only a linear head, on features that are computed once, to convergence; val chooses how
    strongly it is regularised, or cross-validation of train, if DATA has no val/."""
    stochastic_depth: Annotated[float | None, Parameter(group=MODEL, negative=())] = None
    """Probability of dropping the last residual branch, less in earlier ones. [recipe]"""

    recipe: Annotated[str, Parameter(group=OPTIMISATION)] = "auto"
    """auto, none, scratch-small, scratch-photos, finetune, finetune-small, imagenet-90,
    imagenet-v2; sets what is marked [recipe]."""
    epochs: Annotated[int | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Number of passes over the training images. [recipe, more for few images]"""
    time_budget: Annotated[str | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Time to train, such as 90 (seconds), 10m or 2h; sets the number of epochs."""
    patience: Annotated[int | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Stop after this many epochs without a better one on val, by --select-by."""
    select_by: Annotated[SelectBy, Parameter(group=OPTIMISATION)] = "top1"
    """What on val decides which epoch is kept; balanced: the mean recall of the classes."""
    batch_size: Annotated[
        Literal["auto"] | int | None,
        Parameter(name=("--batch-size", "-b"), group=OPTIMISATION, negative=()),
    ] = None
    """Images per step, over all processes; auto measures what is fastest and fits. [recipe,
    fewer for few images]"""
    opt: Annotated[Opt | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Optimizer. [recipe]"""
    lr: Annotated[Literal["find"] | float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Peak learning rate; find sweeps it on a copy. [recipe, in proportion to the batch]"""
    momentum: Annotated[float, Parameter(group=OPTIMISATION)] = 0.9
    """Momentum of sgd and rmsprop; first beta of adamw."""
    weight_decay: Annotated[
        float | None, Parameter(name=("--weight-decay", "--wd"), group=OPTIMISATION, negative=())
    ] = None
    """Weight decay. [recipe]"""
    norm_weight_decay: Annotated[float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Weight decay of normalisation parameters. [recipe]"""
    bias_weight_decay: Annotated[float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Weight decay of biases. [default: --norm-weight-decay]"""
    layer_decay: Annotated[float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Factor of the learning rate from one stage to the stage before it. [recipe]"""
    head_epochs: Annotated[int | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Epochs at the start that train only the head. [recipe, fewer in a short run]"""
    lr_scheduler: Annotated[Scheduler | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Learning-rate schedule after the warm-up. [recipe]"""
    lr_step_size: Annotated[int | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Epochs per step of steplr. [recipe, in proportion to the epochs]"""
    lr_gamma: Annotated[float, Parameter(group=OPTIMISATION)] = 0.1
    """Factor per step of steplr, or per epoch of exponentiallr."""
    lr_warmup_epochs: Annotated[float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Epochs of warm-up. [recipe, fewer in a short run]"""
    lr_warmup_method: Annotated[Literal["linear", "constant"], Parameter(group=OPTIMISATION)] = (
        "linear"
    )
    """linear: the rate rises during warm-up; constant: it stays at its start."""
    lr_warmup_decay: Annotated[float, Parameter(group=OPTIMISATION)] = 0.01
    """Start of the warm-up, as a share of the learning rate."""
    lr_min: Annotated[float, Parameter(group=OPTIMISATION)] = 0.0
    """Lowest learning rate after the warm-up."""
    label_smoothing: Annotated[float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Share of the target spread evenly over all classes. [recipe]"""
    class_weights: Annotated[
        tuple[str, ...],
        Parameter(group=OPTIMISATION, consume_multiple=True, negative=(), show_default=" ".join),
    ] = ("none",)
    """Class weights in the loss: none, balanced, or NAME=WEIGHT ..."""
    sampler: Annotated[Literal["shuffle", "balanced"], Parameter(group=OPTIMISATION)] = "shuffle"
    """shuffle: each image once per epoch; balanced: each class equally often."""
    clip_grad_norm: Annotated[float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Clip the gradient to this norm."""
    model_ema: Annotated[bool | None, Parameter(group=OPTIMISATION)] = None
    """Keep an exponential moving average of the weights, and deploy it. [recipe]"""
    model_ema_decay: Annotated[float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Decay of the average per update. [recipe]"""
    model_ema_steps: Annotated[int, Parameter(group=OPTIMISATION)] = 1
    """Steps between updates of the average."""
    model_ema_warmup: Annotated[bool | None, Parameter(group=OPTIMISATION)] = None
    """Limit the decay of update n to (1 + n) / (10 + n), to forget the start. [recipe]"""

    augment: Annotated[
        Literal["auto", "pad-crop", "resized-crop", "none"], Parameter(group=AUGMENTATION)
    ] = "auto"
    """Random crop of the padded image (default up to 64 px), or of a random box, resized."""
    scale: Annotated[tuple[float, float] | None, Parameter(group=AUGMENTATION, negative=())] = None
    """Range of the area of the random box, as a share of the image. [recipe]"""
    ratio: Annotated[tuple[float, float], Parameter(group=AUGMENTATION)] = (3 / 4, 4 / 3)
    """Range of the aspect ratio (width / height) of the random box."""
    hflip: Annotated[float, Parameter(group=AUGMENTATION)] = 0.5
    """Probability of a horizontal flip; use 0 for digits, letters and signs."""
    alternating_flip: Annotated[bool, Parameter(group=AUGMENTATION)] = False
    """Flip at random in the first epoch, then every image in every second epoch."""
    auto_augment: Annotated[AutoAugment | None, Parameter(group=AUGMENTATION, negative=())] = None
    """ta_wide: TrivialAugment, one random operation per image. [recipe]"""
    random_erase: Annotated[float | None, Parameter(group=AUGMENTATION, negative=())] = None
    """Probability of erasing a random box. [recipe]"""
    random_erase_fill: Annotated[Literal["noise", "mean"], Parameter(group=AUGMENTATION)] = "noise"
    """Fill of the erased box: random values or the mean colour."""
    mixup_alpha: Annotated[float | None, Parameter(group=AUGMENTATION, negative=())] = None
    """Mixup: blend images and labels with a weight from Beta(alpha, alpha). [recipe]"""
    cutmix_alpha: Annotated[float | None, Parameter(group=AUGMENTATION, negative=())] = None
    """CutMix: paste a box of one image into another, with such a weight. [recipe]"""

    device: Annotated[Device, Parameter(group=HARDWARE)] = "auto"
    """Device to compute on."""
    workers: Workers = None
    """Processes that decode images. [default: one per core, at most 8; none for small images]"""
    amp: Annotated[bool | None, Parameter(group=HARDWARE)] = None
    """bfloat16 autocast. [default: if it is faster, measured if only a measurement can tell]"""
    channels_last: Annotated[bool, Parameter(group=HARDWARE)] = True
    """Use the channels-last memory layout, which is faster for convolutions."""
    sync_bn: Annotated[bool, Parameter(group=HARDWARE)] = False
    """Synchronise batch-norm statistics over all processes of torchrun (only GPUs)."""
    compile: Annotated[bool, Parameter(group=HARDWARE)] = False
    """Compile the network with torch.compile."""
    grad_accum_steps: Annotated[int, Parameter(group=HARDWARE)] = 1
    """Parts of a batch that are computed one after another, to save memory."""
    shard_head: Annotated[bool | None, Parameter(group=HARDWARE)] = None
    """Under torchrun, split the head's weights over the processes. [default: from 16 million
    weights on]"""
    grad_checkpointing: Annotated[bool, Parameter(group=HARDWARE)] = False
    """Recompute activations in the backward pass, to save memory."""
    use_deterministic_algorithms: Annotated[bool, Parameter(group=HARDWARE, negative=())] = False
    """Refuse nondeterministic operations; on a CPU there are none."""
    profile: Annotated[bool, Parameter(group=HARDWARE, negative=())] = False
    """Print where the time of the first steps goes, and write a trace, profile.json."""

    output: Annotated[
        Path | None, Parameter(name=("--output", "-o", "--output-dir"), group=RUN, negative=())
    ] = None
    """Run folder to write. [default: runs/DATA-N, the first that is free]"""
    resume: Annotated[Path | None, Parameter(group=RUN, negative=())] = None
    """Run folder to resume: bit for bit as if it had never stopped; more --epochs extend it."""
    overwrite: Annotated[bool, Parameter(group=RUN, negative=())] = False
    """Replace the run in --output."""
    config: Annotated[Path | None, Parameter(group=RUN, negative=())] = None
    """TOML file of options; the command line takes precedence."""
    seed: Annotated[int, Parameter(group=RUN)] = 0
    """Seed of the split, the initial weights, the order and the augmentation."""
    track: Annotated[Literal["none", "tensorboard"], Parameter(group=RUN)] = "none"
    """Also write the metrics for TensorBoard, into the run folder."""
    checkpoint_seconds: Annotated[float, Parameter(group=RUN)] = 60.0
    """Seconds between saved states; longer if saving would take over 5 % of the time."""
    quiet: Quiet = False
    """Print only warnings."""

    def __post_init__(self) -> None:
        """Check every number against its range; DATA becomes text, as in a TOML file."""
        coerce_fields_(self)
        for name, *bounds in _RANGES:
            check_range(self, name, *bounds)
        if self.batch_size != "auto":
            check_range(self, "batch_size", 1)
        if isinstance(self.mode, int):
            check_range(self, "mode", 1, MAX_CHANNELS)
        if self.lr != "find":
            check_range(self, "lr", 0)
        if self.time_budget is not None:
            seconds_of(self.time_budget)
        if self.val_fold not in (None, ALL):
            fold_of(self.val_fold)
        if self.folds is not None and self.val_fold is not None:
            raise ConfigError(
                "expected --folds or --val-fold, found both: --folds makes every fold"
            )
        for name in ("scale", "ratio"):
            low, high = getattr(self, name) or (1.0, 1.0)
            if not 0 < low <= high or (name == "scale" and high > 1):
                raise ConfigError(
                    f"expected --{name} LOW HIGH, 0 < LOW <= HIGH, found {low} {high}"
                )


def fold_of(text: str) -> tuple[int, int]:
    """Return which one of how many folds a text means.

    Raises:
        ConfigError: if it means none.

    Example:
        >>> fold_of("2/5")
        (2, 5)
        >>> fold_of("6/5")
        Traceback (most recent call last):
        softonce.errors.ConfigError: expected --val-fold I/K, as 2/5, or all, found '6/5'
    """
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count) > 1):
        raise ConfigError(f"expected --val-fold I/K, as 2/5, or all, found {text!r}")
    return int(index), int(count)


def seconds_of(time: str) -> float:
    """Return the seconds of a time such as 90, 45s, 10m or 2h.

    Raises:
        ConfigError: if it is not one.

    Example:
        >>> seconds_of("10m"), seconds_of("1.5h"), seconds_of("90")
        (600.0, 5400.0, 90.0)
    """
    unit = {"s": 1, "m": 60, "h": 3600}.get(time[-1:])
    try:
        seconds = float(time[:-1] if unit else time) * (unit or 1)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"expected --time-budget such as 90, 10m or 2h, found {time!r}")
    return seconds
