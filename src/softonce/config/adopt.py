"""The options of `softonce adopt`."""

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
    BatchSize,
    Column,
    Data,
    Numbers,
    OptionalPath,
    Quiet,
    Resize,
    Size,
    Workers,
    check_range,
)
from softonce.errors import ConfigError
from softonce.preprocessing import Fit, Interpolation, Mode


@Parameter(name="*")
@dataclass(frozen=True)
class AdoptConfig:
    """Make a softonce classifier of another program's model file.

    Example:
        >>> AdoptConfig("other.onnx", "photos", output="own.onnx").file
        PosixPath('own.onnx')
        >>> AdoptConfig("other.onnx").file
        PosixPath('other-adopted.onnx')
    """

    foreign: Annotated[Path, Parameter(name="MODEL")]
    """The model file: ONNX of any exporter, or OpenVINO's .xml."""
    data: Data | None = None
    """Labelled images: they show how pixels are scaled, fit the temperature, and are what both
    files are compared on."""

    _: KW_ONLY

    output: Annotated[OptionalPath, Parameter(name=("--output", "-o"), group=OUTPUT)] = None
    """File to write, with the suffix of MODEL. [default: MODEL-adopted]"""
    classes: Annotated[Path | None, Parameter(group=MODEL, negative=())] = None
    """File with the class names in the order of the scores: one a line, or JSON. [default: the
    file's metadata, a config beside it, or the folders of DATA]"""
    head: Annotated[Literal["softmax", "sigmoid"] | None, Parameter(group=MODEL, negative=())] = (
        None
    )
    """What the scores are meant for, if the graph does not say: classes that exclude each other, or
    labels by themselves."""
    output_name: Annotated[str | None, Parameter(group=MODEL, negative=())] = None
    """Output of MODEL to read, if several hold scores."""
    size: Size = None
    """Side of the square that the network sees, in pixels. [default: from the input's shape]"""
    resize: Resize = None
    """Short side after resizing, before the crop. [default: 8/7 of the size; the size up to 64]"""
    fit: Annotated[Fit | None, Parameter(group=DATA, negative=())] = None
    """How pictures become squares: crop, pad, or squash. [default: crop]"""
    interpolation: Annotated[Interpolation | None, Parameter(group=DATA, negative=())] = None
    """Resampling filter. [default: bilinear]"""
    mode: Annotated[Mode | None, Parameter(group=DATA, negative=())] = None
    """RGB, L for grey, or a number of channels. [default: from the input's shape]"""
    layout: Annotated[Literal["NCHW", "NHWC"] | None, Parameter(group=DATA, negative=())] = None
    """Order of the input's axes. [default: from its shape]"""
    channel_order: Annotated[Literal["RGB", "BGR"] | None, Parameter(group=DATA, negative=())] = (
        None
    )
    """Order of the channels that the network takes. [default: measured on DATA; else RGB]"""
    range: Annotated[
        Literal["0..1", "0..255", "-1..1"] | None, Parameter(group=DATA, negative=())
    ] = None
    """What pixels are scaled to, before --mean and --std. [default: from the graph, a config beside
    it, or measured on DATA]"""
    mean: Numbers = None
    """Subtracted after scaling to --range (0..1 without one), a number a channel, in the network's
    order."""
    std: Numbers = None
    """Divided by, after the mean."""
    path_col: Column = None
    """Column of a table with the paths of images."""
    label_col: Column = None
    """Column of a table with the classes."""
    split_col: Column = None
    """Column of a table with the splits."""
    group_col: Column = None
    """Column of a table with what images belong to."""
    split: Annotated[
        Literal["train", "val", "test", "all"] | None, Parameter(group=DATA, negative=())
    ] = None
    """Part of DATA. [default: val if it exists, else all]"""
    samples: Annotated[int, Parameter(group=DATA)] = 200
    """Most images to measure the scaling and to compare on; the temperature is fitted on all."""
    max_bad_fraction: Annotated[float, Parameter(group=DATA)] = 0.01
    """Share of unreadable files above which nothing is measured; a single one is allowed."""
    batch_size: BatchSize = 32
    """Images per batch."""
    workers: Workers = None
    """Processes that decode images."""
    threads: Annotated[int | None, Parameter(group=HARDWARE, negative=())] = None
    """Number of threads for the network. [default: one per core]"""
    quiet: Quiet = False
    """Print only warnings."""

    def __post_init__(self) -> None:
        """Check every option against its range and the others."""
        coerce_fields_(self)
        for name, low in (
            ("size", 1), ("resize", 1), ("samples", 2), ("batch_size", 1), ("threads", 1),
            ("workers", 0), ("max_bad_fraction", 0),
        ):  # fmt: skip
            check_range(self, name, low)
        if self.std is not None and (self.mean is None or min(self.std) <= 0):
            raise ConfigError(
                f"expected --std above 0, with --mean, found {self.std} and {self.mean}"
            )
        if self.file.suffix.lower() != self.foreign.suffix.lower():
            raise ConfigError(
                f"expected --output to end in {self.foreign.suffix}, as the model does, found "
                f"{self.file.name}: readers know the format by the suffix"
            )
        if self.file == self.foreign:
            raise ConfigError(
                f"expected another file than the model as --output, found {self.file}: the "
                "original stays as it is"
            )

    @property
    def file(self) -> Path:
        """Where the adopted classifier goes."""
        beside = self.foreign.with_name(f"{self.foreign.stem}-adopted{self.foreign.suffix}")
        return self.output or beside
