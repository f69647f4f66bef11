"""The options of `softonce evaluate`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from softonce.config.coercion import coerce_fields_
from softonce.config.fields import (
    DATA,
    HARDWARE,
    MODEL,
    OUTPUT,
    PREDICTIONS_SUFFIXES,
    BatchSize,
    Column,
    Data,
    Device,
    Engine,
    MaxPixels,
    Numbers,
    Quiet,
    Resize,
    Size,
    Threads,
    Trust,
    TtaFlag,
    Weights,
    Workers,
    check_range,
)
from softonce.errors import ConfigError
from softonce.plurals import format_count
from softonce.preprocessing import MAX_PIXELS


@Parameter(name="*")
@dataclass(frozen=True)
class EvaluateConfig:
    """Measure a classifier on a folder of images.

    Example:
        >>> EvaluateConfig((Path("model.safetensors"), Path("photos"))).data
        'photos'
        >>> EvaluateConfig((Path("photos"),), model="cifar_resnet20", weights="a.th").artefact
    """

    paths: Annotated[tuple[Data, ...], Parameter(name="PATHS", negative=())]
    """ARTEFACT DATA; or only DATA, with --model and --weights. ARTEFACT may be a run's folder."""

    _: KW_ONLY

    model: Annotated[str | None, Parameter(name=("--model", "-m"), group=MODEL, negative=())] = None
    """Architecture, for weights that are not an artefact; or, beside an ARTEFACT, the function that
    builds its network, FILE.py:FUNCTION."""
    weights: Weights = None
    """Weights for --model: DEFAULT, a record's name, or a file."""
    split: Annotated[
        Literal["train", "val", "test", "all"] | None, Parameter(group=DATA, negative=())
    ] = None
    """Part of DATA to measure. [default: test if it exists, else val]"""
    size: Size = None
    """Side of the network's square input, in pixels. [default: the weights' own]"""
    resize: Resize = None
    """Short side before the centre crop, in pixels."""
    mean: Numbers = None
    """Mean per channel, in [0, 1]."""
    std: Numbers = None
    """Standard deviation per channel."""
    path_col: Column = None
    """Column of a table that has the paths. [default: found by its name: path, filename, ...]"""
    label_col: Column = None
    """Column of a table that has the labels. [default: label, class, category, ...]"""
    split_col: Column = None
    """Column of a table that tells train from val and test. [default: split, is_valid, ...]"""
    max_pixels: MaxPixels = MAX_PIXELS
    """Pictures of more pixels are left out: a small file may claim to be one of any size."""
    max_bad_fraction: Annotated[float, Parameter(group=DATA)] = 0.01
    """Share of unreadable files above which nothing is measured; a single one is allowed."""
    tta: TtaFlag = "none"
    """flip: average the logits of each image and its mirror image."""
    batch_size: BatchSize = 128
    """Images per batch; the figures do not depend on it."""
    workers: Workers = None
    """Processes that decode images."""
    engine: Engine = "auto"
    """Runtime; an artefact is measured in float32, an exported file in its own precision."""
    threads: Threads = None
    """Number of threads for the network. [default: one per core]"""
    trust: Trust = False
    """Run the code that the file holds (.pt2) or names (a network of its author's own), which may
    do anything on this machine."""
    device: Annotated[Device, Parameter(group=HARDWARE)] = "auto"
    """Device that torch computes on."""
    seed: Annotated[int, Parameter(group=DATA)] = 0
    """Seed of the bootstrap intervals."""
    json: Annotated[bool, Parameter(group=OUTPUT, negative=())] = False
    """Print one JSON object instead of a table."""
    report: Annotated[Path | None, Parameter(group=OUTPUT, negative=())] = None
    """Also write an HTML page."""
    predictions: Annotated[Path | None, Parameter(group=OUTPUT, negative=())] = None
    """Also write a row for each image, FILE.csv or FILE.parquet: path, split, label, pred, loss and
    prob_CLASS for every class."""
    quiet: Quiet = False
    """Print only warnings."""

    def __post_init__(self) -> None:
        """Check the paths against the options."""
        coerce_fields_(self)
        for name, low in (("batch_size", 1), ("threads", 1), ("workers", 0)):
            check_range(self, name, low)
        for name in ("max_bad_fraction", "seed"):
            check_range(self, name, 0)
        check_range(self, "max_pixels", 1)
        suffix = None if self.predictions is None else self.predictions.suffix.lower()
        if suffix is not None and suffix not in PREDICTIONS_SUFFIXES:
            raise ConfigError(
                f"expected --predictions FILE.csv or FILE.parquet, found {self.predictions}: its "
                "suffix says what to write"
            )
        if self.model is None and self.weights is not None:
            raise ConfigError("expected --model and --weights together, found only --weights")
        if self.model is not None and self.weights is None and len(self.paths) == 1:
            raise ConfigError(
                "expected --model and --weights together, or an ARTEFACT before DATA, found only "
                "--model"
            )
        wanted = 2 if self.weights is None else 1
        if len(self.paths) != wanted:
            shape = "ARTEFACT DATA" if wanted == 2 else "only DATA with --model and --weights"
            raise ConfigError(
                f"expected {shape}, found {format_count(len(self.paths), 'path')}; "
                "a file that is not an artefact needs --model NAME --weights FILE"
            )

    @property
    def artefact(self) -> Path | None:
        """The artefact, if one is evaluated."""
        return Path(self.paths[0]) if self.weights is None else None

    @property
    def data(self) -> str:
        """The images."""
        return str(self.paths[-1])
