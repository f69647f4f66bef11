"""The options of `softonce decide`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from softonce.config.coercion import coerce_fields_
from softonce.config.fields import (
    DATA,
    HARDWARE,
    OUTPUT,
    BatchSize,
    Column,
    Data,
    Device,
    MaxPixels,
    OwnModel,
    Quiet,
    Threads,
    Trust,
    Workers,
    check_range,
)
from softonce.errors import ConfigError
from softonce.preprocessing import MAX_PIXELS

_SMALLEST, _LARGEST = 1e-6, 1 - 1e-6


@Parameter(name="*")
@dataclass(frozen=True)
class DecideConfig:
    """Store in a classifier which answers it withholds, which sets it gives, and what it marks.

    Example:
        >>> DecideConfig("run", "photos", accuracy=0.95).accuracy
        0.95
        >>> DecideConfig("run", "photos")
        Traceback (most recent call last):
        softonce.errors.ConfigError: expected --accuracy, --coverage, ... found none: say ...
    """

    artefact: Path
    """The classifier, in which the rules are kept: a run's folder, its .safetensors file, or what
    `softonce adopt` wrote."""
    data: Data
    """Images that it was not trained on, like those that it will meet."""

    _: KW_ONLY

    accuracy: Annotated[float | None, Parameter(group=OUTPUT, negative=())] = None
    """Withhold answers so that this share of the others is right, such as 0.95."""
    coverage: Annotated[float | None, Parameter(group=OUTPUT, negative=())] = None
    """Give a set of classes with each answer, which holds the right one this often, such as 0.9."""
    false_alarms: Annotated[float | None, Parameter(group=OUTPUT, negative=())] = None
    """Mark images unlike those of training, and falsely at most this share of others, as 0.05."""
    method: Annotated[Literal["lac", "aps", "raps"], Parameter(group=OUTPUT)] = "lac"
    """How sets are made: lac, the smallest; aps and raps, larger if it is unsure, never empty."""
    off: Annotated[bool, Parameter(group=OUTPUT, negative=())] = False
    """Remove all rules: every answer is given."""
    split: Annotated[Literal["val", "test", "all"] | None, Parameter(group=DATA, negative=())] = (
        None
    )
    """Part of DATA. [default: test if it exists, else val]"""
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
    batch_size: BatchSize = 128
    """Images per batch."""
    workers: Workers = None
    """Processes that decode images."""
    threads: Threads = None
    """Number of threads for the network. [default: one per core]"""
    trust: Trust = False
    """Run the code that the file names (a network of its author's own)."""
    model: OwnModel = None
    """Function that builds the network, FILE.py:FUNCTION, instead of the one the artefact names."""
    device: Annotated[Device, Parameter(group=HARDWARE)] = "auto"
    """Device that torch computes on."""
    quiet: Quiet = False
    """Print only warnings."""

    def __post_init__(self) -> None:
        """Check that a rule is asked for, and every number against its range."""
        coerce_fields_(self)
        for name, low in (("batch_size", 1), ("threads", 1), ("workers", 0)):
            check_range(self, name, low)
        check_range(self, "max_bad_fraction", 0)
        check_range(self, "max_pixels", 1)
        for name in ("accuracy", "coverage", "false_alarms"):
            check_range(self, name, _SMALLEST, _LARGEST)
        asked = any(rule is not None for rule in (self.accuracy, self.coverage, self.false_alarms))
        if asked == self.off:
            found = "both" if self.off else "none"
            raise ConfigError(
                f"expected --accuracy, --coverage, --false-alarms or --off, found {found}: say "
                "which rules to keep"
            )
