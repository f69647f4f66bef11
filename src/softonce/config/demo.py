"""The options of `softonce demo`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from softonce.config.coercion import coerce_fields_
from softonce.config.fields import OPTIMISATION, RUN, Quiet, check_range


@Parameter(name="*")
@dataclass(frozen=True)
class DemoConfig:
    """Train on handwritten digits and photographs, and show every command.

    Example:
        >>> DemoConfig().output
        PosixPath('softonce-demo')
    """

    _: KW_ONLY

    output: Annotated[Path, Parameter(name=("--output", "-o"), group=RUN)] = Path("softonce-demo")
    """Folder to write; an earlier demo in it is replaced."""
    epochs: Annotated[int, Parameter(group=OPTIMISATION)] = 30
    """Number of passes over the training digits; half as many over the photographs."""
    quiet: Quiet = False
    """Print only warnings."""

    def __post_init__(self) -> None:
        """Check every number against its range."""
        coerce_fields_(self)
        check_range(self, "epochs", 1)
