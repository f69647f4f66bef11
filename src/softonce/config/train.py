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
    Data,
    Device,
    Numbers,
    Quiet,
    Resize,
    Size,
    Weights,
    Workers,
    check_range,
)
from softonce.errors import ConfigError
from softonce.preprocessing import MAX_CHANNELS, Fit, Interpolation, Mode

_RANGES = (
    ("epochs", 1),
    ("val_fraction", 0.001, 0.9),
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
    ("max_bad_fraction", 0, 1),
    ("checkpoint_seconds", 0),
    ("seed", 0, 2**63 - 1),
    ("workers", 0),
    ("size", 1),
    ("resize", 1),
    ("train_size", 1),
)

Opt: TypeAlias = Literal["sgd_nesterov", "sgd", "rmsprop", "adamw"]
Scheduler: TypeAlias = Literal["cosineannealinglr", "steplr", "exponentiallr"]
AutoAugment: TypeAlias = Literal["none", "ta_wide"]


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
    """Folder of images, CSV or JSONL manifest, tar shards, each also a URL; idx:DIR."""

    _: KW_ONLY

    val_fraction: Annotated[float, Parameter(group=DATA)] = 0.2
    """Share of each class that becomes val, where DATA has no val/."""
    size: Size = None
    """Side of the square that the network sees, in pixels. [default: the model's own]"""
    resize: Resize = None
    """Short side before the centre crop, in pixels. [default: in the model's proportion]"""
    train_size: Annotated[
        int | None, Parameter(name=("--train-size", "--train-crop-size"), group=DATA, negative=())
    ] = None
    """Side of the square while training, in pixels. [default: --size]"""
    fit: Annotated[Fit, Parameter(group=DATA)] = "crop"
    """How a picture that is not square becomes one: cut, padded or squashed."""
    interpolation: Annotated[Interpolation, Parameter(group=DATA)] = "bilinear"
    """Resampling filter, always antialiased."""
    mode: Annotated[Mode, Parameter(group=DATA)] = "RGB"
    """What the network sees: RGB, L for grey, or the number of channels that the files have."""
    mean: Numbers = None
    """Mean per channel, in [0, 1]. [default: ImageNet's, or the weights' own]"""
    std: Numbers = None
    """Standard deviation per channel. [default: ImageNet's, or the weights' own]"""
    max_bad_fraction: Annotated[float, Parameter(group=DATA)] = 0.01
    """Share of unreadable files above which the run is refused; a single one never is."""

    cache: Annotated[bool, Parameter(group=DATA, negative=())] = False
    """Decode and resize every picture once, and keep it as uint8 on disk (above 64 px)."""
    cache_dir: Annotated[Path | None, Parameter(group=DATA, negative=())] = None
    """Folder of the cache, which this asks for. [default: ~/.cache/softonce/pictures]"""

    model: Annotated[str, Parameter(name=("--model", "-m"), group=MODEL)] = "resnet18"
    """Name of the network: `softonce.list_models()` lists them."""
    weights: Weights = None
    """Weights to start from: DEFAULT, a record's name, or a file."""
    freeze: Annotated[str, Parameter(group=MODEL)] = "none"
    """Leave the network as it is up to this layer, such as layer2; backbone: all but the head."""
    stochastic_depth: Annotated[float | None, Parameter(group=MODEL, negative=())] = None
    """Probability that the last residual is left out for an image; less before. [recipe]"""

    recipe: Annotated[str, Parameter(group=OPTIMISATION)] = "auto"
    """auto, none, scratch-small, finetune, imagenet-90, imagenet-v2: fills [recipe] in."""
    epochs: Annotated[int | None, Parameter(group=OPTIMISATION, negative=())] = None
    """How often every training image is seen. [recipe]"""
    time_budget: Annotated[str | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Time to train, such as 90, 10m or 2h: as many epochs as fit, measured at the start."""
    patience: Annotated[int | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Stop after this many epochs without a better top-1 on val."""
    batch_size: Annotated[
        Literal["auto"] | int | None,
        Parameter(name=("--batch-size", "-b"), group=OPTIMISATION, negative=()),
    ] = None
    """Images a step, over all processes; auto measures which is fastest and fits. [recipe]"""
    opt: Annotated[Opt | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Optimizer. [recipe]"""
    lr: Annotated[Literal["find"] | float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Largest learning rate; find tries them all on a copy. [recipe, in proportion to the batch]"""
    momentum: Annotated[float, Parameter(group=OPTIMISATION)] = 0.9
    """Momentum of sgd and rmsprop, the first beta of adamw."""
    weight_decay: Annotated[
        float | None, Parameter(name=("--weight-decay", "--wd"), group=OPTIMISATION, negative=())
    ] = None
    """Decay of the weights. [recipe]"""
    norm_weight_decay: Annotated[float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Decay of norm parameters. [recipe]"""
    bias_weight_decay: Annotated[float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Decay of biases. [default: --norm-weight-decay]"""
    layer_decay: Annotated[float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Factor of the learning rate from each stage to the one before it. [recipe]"""
    head_epochs: Annotated[int | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Epochs at the start in which the head learns alone. [recipe, fewer where the epochs are]"""
    lr_scheduler: Annotated[Scheduler | None, Parameter(group=OPTIMISATION, negative=())] = None
    """How the learning rate falls after the warm-up. [recipe]"""
    lr_step_size: Annotated[int | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Epochs between two steps of steplr. [recipe, in proportion to the epochs]"""
    lr_gamma: Annotated[float, Parameter(group=OPTIMISATION)] = 0.1
    """Factor of a step of steplr, or of an epoch of exponentiallr."""
    lr_warmup_epochs: Annotated[float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Epochs of warm-up. [recipe, fewer where the epochs are]"""
    lr_warmup_method: Annotated[Literal["linear", "constant"], Parameter(group=OPTIMISATION)] = (
        "linear"
    )
    """Whether the warm-up rises, or stays where it starts."""
    lr_warmup_decay: Annotated[float, Parameter(group=OPTIMISATION)] = 0.01
    """Share of the learning rate that the warm-up starts from."""
    lr_min: Annotated[float, Parameter(group=OPTIMISATION)] = 0.0
    """Learning rate that is never gone below after the warm-up."""
    label_smoothing: Annotated[float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Share of the target that is spread over all classes. [recipe]"""
    class_weights: Annotated[
        tuple[str, ...],
        Parameter(group=OPTIMISATION, consume_multiple=True, negative=(), show_default=" ".join),
    ] = ("none",)
    """Factors of the classes in the loss: none, balanced, or NAME=WEIGHT ..."""
    sampler: Annotated[Literal["shuffle", "balanced"], Parameter(group=OPTIMISATION)] = "shuffle"
    """Order of the images: each once an epoch, or every class equally often."""
    clip_grad_norm: Annotated[float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Largest norm of the gradient."""
    model_ema: Annotated[bool | None, Parameter(group=OPTIMISATION)] = None
    """Keep an exponential moving average of the weights, and use it. [recipe]"""
    model_ema_decay: Annotated[float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Share of the average that an update keeps. [recipe]"""
    model_ema_steps: Annotated[int, Parameter(group=OPTIMISATION)] = 1
    """Steps from one update of the average to the next."""
    model_ema_warmup: Annotated[bool | None, Parameter(group=OPTIMISATION)] = None
    """Let the average forget faster at the start: keep at most (1 + n) / (10 + n). [recipe]"""

    augment: Annotated[
        Literal["auto", "pad-crop", "resized-crop", "none"], Parameter(group=AUGMENTATION)
    ] = "auto"
    """Random crop: of a padded picture (up to 64 px), or of a random box that is resized."""
    scale: Annotated[tuple[float, float] | None, Parameter(group=AUGMENTATION, negative=())] = None
    """Area of the random box, as a share of the picture. [recipe]"""
    ratio: Annotated[tuple[float, float], Parameter(group=AUGMENTATION)] = (3 / 4, 4 / 3)
    """Width over height of the random box."""
    hflip: Annotated[float, Parameter(group=AUGMENTATION)] = 0.5
    """Probability of a mirrored picture; 0 for digits, letters, signs."""
    alternating_flip: Annotated[bool, Parameter(group=AUGMENTATION)] = False
    """Mirror by chance in the first epoch only, and every picture in every second epoch."""
    auto_augment: Annotated[AutoAugment | None, Parameter(group=AUGMENTATION, negative=())] = None
    """ta_wide: TrivialAugment, one random operation a picture. [recipe]"""
    random_erase: Annotated[float | None, Parameter(group=AUGMENTATION, negative=())] = None
    """Probability that a random box is blanked. [recipe]"""
    random_erase_fill: Annotated[Literal["noise", "mean"], Parameter(group=AUGMENTATION)] = "noise"
    """What the box is filled with: random values, or the mean colour."""
    mixup_alpha: Annotated[float | None, Parameter(group=AUGMENTATION, negative=())] = None
    """Mix pictures and their classes, in a share from Beta(alpha, alpha). [recipe]"""
    cutmix_alpha: Annotated[float | None, Parameter(group=AUGMENTATION, negative=())] = None
    """Paste a box of one picture into another, in such a share. [recipe]"""

    device: Annotated[Device, Parameter(group=HARDWARE)] = "auto"
    """Where to compute."""
    workers: Workers = None
    """Processes that decode images. [default: one a core, at most 8; none for small images]"""
    amp: Annotated[bool | None, Parameter(group=HARDWARE)] = None
    """bfloat16 autocast. [default: where the hardware multiplies it natively]"""
    channels_last: Annotated[bool, Parameter(group=HARDWARE)] = True
    """Memory layout that convolutions like."""
    sync_bn: Annotated[bool, Parameter(group=HARDWARE)] = False
    """Compute batch statistics over all processes under torchrun (GPUs only)."""
    compile: Annotated[bool, Parameter(group=HARDWARE)] = False
    """Compile the network with torch.compile."""
    grad_accum_steps: Annotated[int, Parameter(group=HARDWARE)] = 1
    """Parts that a batch is worked through in, to save memory; the gradient stays the batch's."""
    shard_head: Annotated[bool | None, Parameter(group=HARDWARE)] = None
    """Under torchrun, keep of each class's head weights one copy, not one a process. [default:
    where the head has 16 million weights]"""
    grad_checkpointing: Annotated[bool, Parameter(group=HARDWARE)] = False
    """Compute maps again in the backward pass instead of keeping them, to save memory."""
    use_deterministic_algorithms: Annotated[bool, Parameter(group=HARDWARE, negative=())] = False
    """Refuse operations that may round otherwise next time; the CPU has none of them."""
    profile: Annotated[bool, Parameter(group=HARDWARE, negative=())] = False
    """Say where the time of the first steps goes, and write profile.json, a trace."""

    output: Annotated[
        Path | None, Parameter(name=("--output", "-o", "--output-dir"), group=RUN, negative=())
    ] = None
    """Run folder to write."""
    resume: Annotated[Path | None, Parameter(group=RUN, negative=())] = None
    """Run folder to go on with, bit for bit as if it had never stopped."""
    overwrite: Annotated[bool, Parameter(group=RUN, negative=())] = False
    """Replace what is in --output."""
    config: Annotated[Path | None, Parameter(group=RUN, negative=())] = None
    """TOML file with options by these names; the command line wins."""
    seed: Annotated[int, Parameter(group=RUN)] = 0
    """Fixes the split, the initial weights, the order and the augmentation."""
    track: Annotated[Literal["none", "tensorboard"], Parameter(group=RUN)] = "none"
    """Also send the rows of metrics.jsonl there, into the run folder."""
    checkpoint_seconds: Annotated[float, Parameter(group=RUN)] = 60.0
    """Longest time between two saved states (but saving takes at most 5 % of the time)."""
    quiet: Quiet = False
    """Say warnings only."""

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
        for name in ("scale", "ratio"):
            low, high = getattr(self, name) or (1.0, 1.0)
            if not 0 < low <= high or (name == "scale" and high > 1):
                raise ConfigError(
                    f"expected --{name} LOW HIGH, 0 < LOW <= HIGH, found {low} {high}"
                )


def seconds_of(time: str) -> float:
    """Return the seconds of a time such as 90, 45s, 10m or 2h.

    Raises:
        ConfigError: where it is none.

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
