"""The options of `softonce export`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter

from softonce.config.coercion import coerce_fields_
from softonce.config.fields import (
    DATA,
    OUTPUT,
    Data,
    OptionalPath,
    OwnModel,
    Quiet,
    Trust,
    check_range,
)
from softonce.errors import ConfigError
from softonce.formats import WRITTEN, Precision
from softonce.run_folder import model_file

if TYPE_CHECKING:
    FormatName: TypeAlias = str
else:
    FormatName = Literal[tuple(WRITTEN)]

_FORMATS = ", ".join(f"{form.name} ({form.title})" for form in WRITTEN.values())
Emit: TypeAlias = Literal["both", "probs", "logits"]


@Parameter(name="*")
@dataclass(frozen=True)
class ExportConfig:
    """Write a classifier for other runtimes: pixels in, probabilities out.

    Example:
        >>> ExportConfig(Path("run/model.safetensors"), to="openvino").file
        PosixPath('run/model.xml')
    """

    artefact: Path
    """The classifier: the folder of a run, or the .safetensors file in it."""

    _: KW_ONLY

    to: Annotated[FormatName, Parameter(help=f"Format: {_FORMATS}.")] = "onnx"
    output: Annotated[OptionalPath, Parameter(name=("--output", "-o"), group=OUTPUT)] = None
    """File to write. [default: beside the model file]"""
    emit: Annotated[Emit, Parameter(group=OUTPUT)] = "both"
    """Outputs of the graph: logits, probabilities, or both."""
    precision: Annotated[Precision, Parameter(group=OUTPUT)] = "fp32"
    """Precision of the network; int8 is calibrated on images of --data."""
    opset: Annotated[int, Parameter(group=OUTPUT)] = 18
    """ONNX operator set version."""
    data: Annotated[Data | None, Parameter(group=DATA, negative=())] = None
    """Images for calibration and comparison. [default: the data of the run]"""
    samples: Annotated[int, Parameter(group=DATA)] = 300
    """Most images to use for calibration and for comparison."""
    trust: Trust = False
    """Run the code that builds the network, if it is its author's own; it may do anything on this
    machine."""
    model: OwnModel = None
    """Function that builds the network, FILE.py:FUNCTION, instead of the one the artefact names."""
    force: Annotated[bool, Parameter(group=OUTPUT, negative=())] = False
    """Write the file even if its answers differ from the artefact's."""
    quiet: Quiet = False
    """Print only warnings."""

    def __post_init__(self) -> None:
        """Check every option against its range and the others."""
        coerce_fields_(self)
        check_range(self, "samples", 1)
        check_range(self, "opset", 18)
        form = WRITTEN[self.to]
        if self.precision not in form.precisions:
            offered = ", ".join(form.precisions)
            raise ConfigError(
                f"expected --precision {offered} with --to {self.to}, found {self.precision}"
            )
        if self.file.suffix != form.suffix:
            raise ConfigError(
                f"expected --output to end in {form.suffix} with --to {self.to}, "
                f"found {self.file.name}: readers know the format by the suffix"
            )

    @property
    def file(self) -> Path:
        """Where the export goes."""
        return self.output or model_file(self.artefact).with_suffix(WRITTEN[self.to].suffix)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the graph gives, in its order."""
        return ("logits", "probs") if self.emit == "both" else (self.emit,)
