"""The options of `softonce predict`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from softonce.config.coercion import coerce_fields_
from softonce.config.fields import (
    HARDWARE,
    OUTPUT,
    BatchSize,
    Data,
    Device,
    Engine,
    Quiet,
    Threads,
    Trust,
    TtaFlag,
    check_range,
)


@Parameter(name="*")
@dataclass(frozen=True)
class PredictConfig:
    """Classify images.

    Example:
        >>> PredictConfig(Path("model.safetensors"), ("a.jpg",), top_k=1).top_k
        1
    """

    artefact: Path
    """The classifier: the folder of a run, its .safetensors file, or an exported file."""
    images: tuple[Data, ...] = ()
    """Files, folders, glob patterns, URLs; `-` reads one path a line from standard input."""

    _: KW_ONLY

    top_k: Annotated[int, Parameter(group=OUTPUT)] = 5
    """How many classes to name for each image."""
    format: Annotated[Literal["table", "jsonl", "csv"], Parameter(group=OUTPUT)] = "table"
    """What to print."""
    emit: Annotated[Literal["probs", "logits"], Parameter(group=OUTPUT)] = "probs"
    """What the table and the CSV show; jsonl always has both."""
    tta: TtaFlag = "none"
    """Flip: average the logits of each picture and its mirror image."""
    batch_size: BatchSize = 32
    """Images at a time."""
    engine: Engine = "auto"
    """What computes; auto is the fastest that is installed and runs such a file, and says so."""
    threads: Threads = None
    """How many threads compute. [default: one a core]"""
    trust: Trust = False
    """Run a program of torch.export, which may do anything."""
    device: Annotated[Device, Parameter(group=HARDWARE)] = "auto"
    """Where torch computes."""
    quiet: Quiet = False
    """Say warnings only."""

    def __post_init__(self) -> None:
        """Check every number against its range."""
        coerce_fields_(self)
        check_range(self, "top_k", 1)
        check_range(self, "batch_size", 1)
        check_range(self, "threads", 1)
