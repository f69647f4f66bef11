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
    """Python script to run, a folder with a __main__.py, `-` for standard input, or a module
    with -m; its exit status is passed on."""
    arguments: tuple[str, ...] = ()
    """Arguments of the script: everything after its name."""

    _: KW_ONLY

    module: Annotated[bool, Parameter(name=("--module", "-m"), group=RUN, negative=())] = False
    """Run a module by its name, as `python -m` does."""
    steps: Annotated[int, Parameter(group=RUN)] = 20
    """Number of steps to examine at the start."""
    every: Annotated[int, Parameter(group=RUN)] = 97
    """After that, examine one step in this many."""
    fail: Annotated[bool, Parameter(group=RUN, negative=())] = False
    """Exit with status 1 if an error is found and the script itself exits with 0."""
    json: Annotated[bool, Parameter(group=OUTPUT, negative=())] = False
    """Print the findings as one JSON array, to standard error."""

    def __post_init__(self) -> None:
        """Check every number against its range."""
        coerce_fields_(self)
        check_range(self, "steps", 1)
        check_range(self, "every", 1)
