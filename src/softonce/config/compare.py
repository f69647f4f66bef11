"""The options of `softonce compare`."""

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
    Engine,
    MaxPixels,
    Quiet,
    Threads,
    Trust,
    TtaFlag,
    Workers,
    check_range,
)
from softonce.preprocessing import MAX_PIXELS


@Parameter(name="*")
@dataclass(frozen=True)
class CompareConfig:
    """Compare two classifiers on the same images.

    Example:
        >>> CompareConfig("run-1", "run-2", Path("photos")).data
        'photos'
    """

    first: Path
    """A: a run's folder, its .safetensors file, or an exported file."""
    second: Path
    """B: the same, with the same classes."""
    data: Data
    """The images that both are measured on."""

    _: KW_ONLY

    split: Annotated[
        Literal["train", "val", "test", "all"] | None, Parameter(group=DATA, negative=())
    ] = None
    """Part of DATA to measure. [default: test if it exists, else val]"""
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
    """Run the code that a file holds (.pt2) or names (a network of its author's own), which may do
    anything on this machine."""
    device: Annotated[Device, Parameter(group=HARDWARE)] = "auto"
    """Device that torch computes on."""
    seed: Annotated[int, Parameter(group=DATA)] = 0
    """Seed of the bootstrap intervals."""
    json: Annotated[bool, Parameter(group=OUTPUT, negative=())] = False
    """Print one JSON object instead of a table."""
    quiet: Quiet = False
    """Print only warnings."""

    def __post_init__(self) -> None:
        """Check every number against its range."""
        coerce_fields_(self)
        for name, low in (("batch_size", 1), ("threads", 1), ("workers", 0)):
            check_range(self, name, low)
        for name in ("max_bad_fraction", "seed"):
            check_range(self, name, 0)
        check_range(self, "max_pixels", 1)
