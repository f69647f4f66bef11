"""The options of `softonce watch`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from softonce.config.coercion import coerce_fields_
from softonce.config.fields import OUTPUT, RUN, check_range


@Parameter(name="*")
@dataclass(frozen=True)
class WatchConfig:
    """Run a script and watch the inputs of its losses.

    Example:
        >>> WatchConfig(Path("train.py"), ("--lr", "0.1")).steps
        20
    """

    script: Path
    """Python script to run; its exit status is passed on."""
    arguments: tuple[str, ...] = ()
    """Arguments of the script: everything after its name."""

    _: KW_ONLY

    steps: Annotated[int, Parameter(group=RUN)] = 20
    """Number of steps to examine at the start."""
    every: Annotated[int, Parameter(group=RUN)] = 97
    """After that, examine one step in this many."""
    json: Annotated[bool, Parameter(group=OUTPUT, negative=())] = False
    """Print the findings as one JSON array, to standard error."""

    def __post_init__(self) -> None:
        """Check every number against its range."""
        coerce_fields_(self)
        check_range(self, "steps", 1)
        check_range(self, "every", 1)
