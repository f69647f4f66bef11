"""The options of `softonce audit`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from softonce.config.coercion import coerce_fields_
from softonce.config.fields import (
    DATA,
    HARDWARE,
    OUTPUT,
    RUN,
    BatchSize,
    Column,
    Data,
    Device,
    Engine,
    Numbers,
    OptionalPath,
    Quiet,
    Size,
    Threads,
    Trust,
    check_range,
)
from softonce.config.inspect import Expected


@Parameter(name="*")
@dataclass(frozen=True)
class AuditConfig:
    """Tell what a classifier's numbers mean and whether they can be trusted.

    Example:
        >>> AuditConfig("answers.csv").label_col is None
        True
        >>> AuditConfig("answers.csv", max_ece=2)
        Traceback (most recent call last):
        softonce.errors.ConfigError: expected --max-ece of 0 to 1, found 2
    """

    target: Data
    """Answers in a .csv, .tsv, .jsonl, .json, .parquet, .npy or .npz file; or a model file, or the
    http(s) address of a service, with DATA."""
    data: Data | None = None
    """Images to ask a model file or a service about; folders or a table that say the classes."""

    _: KW_ONLY

    field: Column = None
    """Where the scores are: a column, what their columns begin with, or a path into JSON such as
    outputs[0].data. [default: found by usual names]"""
    label_col: Column = None
    """Column, key or array of the right classes. [default: label, target, truth, y_true, ...]"""
    expect: Annotated[Expected | None, Parameter(group=RUN)] = None
    """What the numbers should be; another kind is a fault. [default: what their names say]"""
    max_ece: Annotated[float | None, Parameter(group=RUN)] = None
    """A calibration error that certainly exceeds this is a fault; it takes labels."""
    limit: Annotated[int, Parameter(group=DATA)] = 200
    """Images that a service or a foreign model file is asked about, drawn at random."""
    ask: Annotated[
        Literal["softonce", "huggingface", "kserve", "raw"] | None, Parameter(group=RUN)
    ] = None
    """How a service is asked: {"images": [{"data": BASE64}]}, {"inputs": BASE64}, a tensor of
    bytes, or the image as the body. [default: by the address]"""
    timeout: Annotated[float, Parameter(group=RUN)] = 30.0
    """Seconds within which a service answers a request."""
    token_file: Annotated[OptionalPath, Parameter(group=RUN)] = None
    """File with the bearer token of a service. [default: the variable SOFTONCE_TOKEN]"""
    size: Size = None
    """Side of a foreign model's input, in pixels. [default: as the file says, else 224]"""
    mean: Numbers = None
    """Mean per channel of a foreign model's input, in [0, 1]. [default: ImageNet's]"""
    std: Numbers = None
    """Standard deviation per channel."""
    batch_size: BatchSize = 32
    """Images that are asked about together."""
    engine: Engine = "auto"
    """Runtime of a model file."""
    threads: Threads = None
    """Number of threads for the network. [default: one per core]"""
    trust: Trust = False
    """Run the code that a model file holds (.pt2) or names (a network of its author's own)."""
    device: Annotated[Device, Parameter(group=HARDWARE)] = "auto"
    """Device that torch computes on."""
    seed: Annotated[int, Parameter(group=DATA)] = 0
    """Seed of the draws: of images, folds and bootstrap intervals."""
    json: Annotated[bool, Parameter(group=OUTPUT, negative=())] = False
    """Print one JSON object instead of tables."""
    report: Annotated[OptionalPath, Parameter(group=OUTPUT)] = None
    """Also write an HTML page."""
    write: Annotated[OptionalPath, Parameter(group=OUTPUT)] = None
    """Also write the answers of a file repaired: further softmaxes undone, and the temperature."""
    quiet: Quiet = False
    """Print only warnings."""

    def __post_init__(self) -> None:
        """Check every number against its range."""
        coerce_fields_(self)
        check_range(self, "max_ece", 0, 1)
        check_range(self, "timeout", 0.1, 3600)
        for name in ("limit", "batch_size", "threads", "size"):
            check_range(self, name, 1)
        check_range(self, "seed", 0)
