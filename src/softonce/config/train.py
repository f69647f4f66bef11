"""The options of `softonce train`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from softonce.config.fields import (
    AUGMENTATION,
    DATA,
    HARDWARE,
    MODEL,
    OPTIMISATION,
    RUN,
    BatchSize,
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
from softonce.preprocessing import Fit, Interpolation, Mode

_RANGES = (
    ("epochs", 1),
    ("batch_size", 1),
    ("val_fraction", 0.001, 0.9),
    ("lr", 0),
    ("lr_warmup_epochs", 0),
    ("lr_warmup_decay", 0, 1),
    ("lr_min", 0),
    ("momentum", 0, 1),
    ("weight_decay", 0),
    ("norm_weight_decay", 0),
    ("label_smoothing", 0, 1),
    ("clip_grad_norm", 0),
    ("model_ema_decay", 0, 1),
    ("hflip", 0, 1),
    ("random_erase", 0, 1),
    ("max_bad_fraction", 0, 1),
    ("checkpoint_seconds", 0),
    ("seed", 0, 2**63 - 1),
    ("workers", 0),
    ("size", 1),
    ("train_size", 1),
)


@Parameter(name="*")
@dataclass(frozen=True)
class TrainConfig:
    """Train a classifier on a folder of images.

    Example:
        >>> TrainConfig(Path("photos"), model="resnet18", epochs=5).batch_size
        128
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
    """Colour mode that the network sees: RGB, or L for grey."""
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

    epochs: Annotated[int, Parameter(group=OPTIMISATION)] = 30
    """How often every training image is seen."""
    batch_size: BatchSize = 128
    """Images a step, over all processes."""
    opt: Annotated[Literal["sgd", "adamw"], Parameter(group=OPTIMISATION)] = "sgd"
    """Optimizer; sgd is Nesterov's."""
    lr: Annotated[float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Largest learning rate. [default: by optimizer, batch size and weights]"""
    momentum: Annotated[float, Parameter(group=OPTIMISATION)] = 0.9
    """Momentum of sgd, the first beta of adamw."""
    weight_decay: Annotated[
        float | None, Parameter(name=("--weight-decay", "--wd"), group=OPTIMISATION, negative=())
    ] = None
    """Decay of the weights. [default: 5e-4 with sgd, 0.05 with adamw]"""
    norm_weight_decay: Annotated[float, Parameter(group=OPTIMISATION)] = 0.0
    """Decay of norm parameters and biases."""
    lr_warmup_epochs: Annotated[float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Epochs of linear warm-up, before the cosine. [default: a tenth, at most 5]"""
    lr_warmup_decay: Annotated[float, Parameter(group=OPTIMISATION)] = 0.01
    """Share of the learning rate that the warm-up starts from."""
    lr_min: Annotated[float, Parameter(group=OPTIMISATION)] = 0.0
    """Learning rate at the end."""
    label_smoothing: Annotated[float, Parameter(group=OPTIMISATION)] = 0.0
    """Share of the target that is spread over all classes."""
    clip_grad_norm: Annotated[float | None, Parameter(group=OPTIMISATION, negative=())] = None
    """Largest norm of the gradient."""
    model_ema: Annotated[bool, Parameter(group=OPTIMISATION)] = False
    """Keep an exponential moving average of the weights, and use it."""
    model_ema_decay: Annotated[float, Parameter(group=OPTIMISATION)] = 0.998
    """Share of the average that a step keeps."""

    augment: Annotated[
        Literal["auto", "pad-crop", "resized-crop", "none"], Parameter(group=AUGMENTATION)
    ] = "auto"
    """Random crop: of a padded picture (up to 64 px), or of a random box that is resized."""
    scale: Annotated[tuple[float, float], Parameter(group=AUGMENTATION)] = (0.25, 1.0)
    """Area of the random box, as a share of the picture."""
    ratio: Annotated[tuple[float, float], Parameter(group=AUGMENTATION)] = (3 / 4, 4 / 3)
    """Width over height of the random box."""
    hflip: Annotated[float, Parameter(group=AUGMENTATION)] = 0.5
    """Probability of a mirrored picture; 0 for digits, letters, signs."""
    random_erase: Annotated[float, Parameter(group=AUGMENTATION)] = 0.0
    """Probability that a random box is blanked."""

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
    checkpoint_seconds: Annotated[float, Parameter(group=RUN)] = 60.0
    """Longest time between two saved states (but saving takes at most 5 % of the time)."""
    quiet: Quiet = False
    """Say warnings only."""

    def __post_init__(self) -> None:
        """Check every number against its range; DATA becomes text, as in a TOML file."""
        object.__setattr__(self, "data", None if self.data is None else str(self.data))
        for name, *bounds in _RANGES:
            check_range(self, name, *bounds)
        for name in ("scale", "ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high or (name == "scale" and high > 1):
                raise ConfigError(
                    f"expected --{name} LOW HIGH, 0 < LOW <= HIGH, found {low} {high}"
                )
