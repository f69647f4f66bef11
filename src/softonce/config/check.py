"""The options of `softonce check`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from softonce.config.coercion import coerce_fields_
from softonce.config.fields import OUTPUT, OptionalPath, Quiet

RULES = Group("Rules", sort_key=1)
REPAIR = Group("Repair", sort_key=2)
Codes = Annotated[tuple[str, ...], Parameter(group=RULES, consume_multiple=True, negative=())]
Flag = Annotated[bool, Parameter(negative=())]


@Parameter(name="*")
@dataclass(frozen=True)
class CheckConfig:
    """Check how scores flow from where they are made to where they are used.

    Example:
        >>> CheckConfig((Path("train.py"),)).format
        'text'
    """

    paths: tuple[Path, ...] = ()
    """Files and folders, checked together as one project."""

    _: KW_ONLY

    select: Codes = ()
    """Rules, or beginnings of their codes; all that are on by default where none is named."""
    ignore: Codes = ()
    """Rules, or beginnings of their codes, to leave out."""
    exclude: Codes = ()
    """Glob patterns of paths to leave out."""
    notes: Annotated[Flag, Parameter(group=RULES)] = False
    """Show notes, too."""
    strict: Annotated[Flag, Parameter(group=RULES)] = False
    """End with status 1 for warnings as well."""
    baseline: Annotated[OptionalPath, Parameter(group=RULES)] = None
    """A file of known findings, which are not reported."""
    write_baseline: Annotated[Flag, Parameter(group=RULES)] = False
    """Write the findings of now into the baseline file."""
    fix: Annotated[Flag, Parameter(group=REPAIR)] = False
    """Make the safe repairs."""
    diff: Annotated[Flag, Parameter(group=REPAIR)] = False
    """Print the safe repairs as a patch, and make none."""
    format: Annotated[Literal["text", "json", "sarif", "github"], Parameter(group=OUTPUT)] = "text"
    """How to print the findings."""
    quiet: Quiet = False
    """Print findings only."""

    def __post_init__(self) -> None:
        """Check the kind of every option."""
        coerce_fields_(self)
