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
    """Run a script and watch what its losses are given.

    Example:
        >>> WatchConfig(Path("train.py"), ("--lr", "0.1")).steps
        20
    """

    script: Path
    """A Python script; its own exit status is what this ends with."""
    arguments: tuple[str, ...] = ()
    """What the script is given; everything after its name is its own."""

    _: KW_ONLY

    steps: Annotated[int, Parameter(group=RUN)] = 20
    """How many steps are looked at from the start."""
    every: Annotated[int, Parameter(group=RUN)] = 97
    """After that one step in so many is looked at."""
    json: Annotated[bool, Parameter(group=OUTPUT, negative=())] = False
    """Print the findings as one JSON array, to standard error."""

    def __post_init__(self) -> None:
        """Check every number against its range."""
        coerce_fields_(self)
        check_range(self, "steps", 1)
        check_range(self, "every", 1)
