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
    MaxPixels,
    OptionalPath,
    OwnModel,
    PrecisionFlag,
    Quiet,
    Threads,
    Trust,
    TtaFlag,
    check_range,
)
from softonce.errors import ConfigError
from softonce.preprocessing import MAX_PIXELS


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
    """Files, folders, glob patterns, URLs, manifests (.csv or .jsonl with a column path); `-` reads
    one path a line from standard input."""

    _: KW_ONLY

    top_k: Annotated[int, Parameter(group=OUTPUT)] = 5
    """Number of classes to list for each image."""
    format: Annotated[Literal["table", "jsonl", "csv"], Parameter(group=OUTPUT)] = "table"
    """Output format."""
    emit: Annotated[Literal["probs", "logits", "features"], Parameter(group=OUTPUT)] = "probs"
    """Numbers in the table, the CSV and the annotated images; jsonl always has both. features: what
    an artefact's network has before its head, written to --output."""
    output: Annotated[OptionalPath, Parameter(name=("--output", "-o"), group=OUTPUT)] = None
    """File of --emit features, .npz or .parquet."""
    show: Annotated[OptionalPath, Parameter(group=OUTPUT)] = None
    """New folder for copies of the images, with class and probability written beneath."""
    max_pixels: MaxPixels = MAX_PIXELS
    """Pictures of more pixels are left out: a small file may claim to be one of any size."""
    tta: TtaFlag = "none"
    """flip: average the logits of each image and its mirror image."""
    batch_size: BatchSize = 32
    """Images per batch."""
    engine: Engine = "auto"
    """Runtime; auto measures which of the installed ones is fastest for the file, and prints it."""
    precision: PrecisionFlag = "auto"
    """Precision of an artefact in torch; auto is bfloat16 only if that is measured to be faster."""
    threads: Threads = None
    """Number of threads for the network. [default: one per core]"""
    trust: Trust = False
    """Run the code that the file holds (.pt2) or names (a network of its author's own), which may
    do anything on this machine."""
    model: OwnModel = None
    """Function that builds the network, FILE.py:FUNCTION, instead of the one the artefact names."""
    device: Annotated[Device, Parameter(group=HARDWARE)] = "auto"
    """Device that torch computes on."""
    quiet: Quiet = False
    """Print only warnings."""

    def __post_init__(self) -> None:
        """Check every number against its range."""
        coerce_fields_(self)
        check_range(self, "top_k", 1)
        check_range(self, "max_pixels", 1)
        check_range(self, "batch_size", 1)
        check_range(self, "threads", 1)
        self._check_features()

    @property
    def numbers(self) -> Literal["probs", "logits"]:
        """What tables show of a prediction; there is none if features are asked for."""
        if self.emit == "features":
            raise ConfigError(
                "expected probs or logits for a prediction, found features: softonce predict "
                "writes them to --output, Classifier.features returns them"
            )
        return self.emit

    def _check_features(self) -> None:
        """Raise a `ConfigError` if an option has no meaning for features, or only for them."""
        if self.emit != "features":
            if self.output is not None:
                raise ConfigError(
                    f"expected --emit features with --output {self.output}, found {self.emit}: "
                    "redirect standard output into a file"
                )
            return
        if self.output is None or self.output.suffix not in (".npz", ".parquet"):
            raise ConfigError(
                "expected --output FILE.npz or FILE.parquet with --emit features, found "
                f"{self.output or 'none'}: name one; Classifier.features returns them as an array"
            )
        for name in ("top_k", "format", "show", "tta", "precision"):
            asked, usual = getattr(self, name), getattr(type(self), name, None)
            if asked != usual:
                raise ConfigError(
                    f"expected no --{name.replace('_', '-')} with --emit features, found {asked}: "
                    "leave it out"
                )
        if self.engine not in ("auto", "torch"):
            raise ConfigError(
                f"expected --engine torch or auto with --emit features, found {self.engine}: "
                "features are the torch network's"
            )
