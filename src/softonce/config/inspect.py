"""The options of `softonce inspect`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from softonce.config.coercion import coerce_fields_
from softonce.config.fields import OUTPUT, RUN, Quiet
from softonce.formats import SUFFIXES

Expected = Literal["logits", "probabilities", "log-probabilities"]


@Parameter(name="*")
@dataclass(frozen=True)
class InspectConfig:
    """Show what a model file contains and what its outputs mean.

    Example:
        >>> InspectConfig(Path("model.safetensors")).json
        False
    """

    file: Annotated[
        Path, Parameter(help=f"A model file ({', '.join(SUFFIXES)}), or the folder of a run.")
    ]

    _: KW_ONLY

    expect: Annotated[Expected | None, Parameter(group=RUN)] = None
    """Exit with status 1 unless an output holds this and no rule is broken."""
    json: Annotated[bool, Parameter(group=OUTPUT, negative=())] = False
    """Print one JSON object instead of a table."""
    quiet: Quiet = False
    """Print only warnings."""

    def __post_init__(self) -> None:
        """Check the kind of every option."""
        coerce_fields_(self)
