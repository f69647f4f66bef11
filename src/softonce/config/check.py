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
    """Find second softmaxes and other score mistakes in source code.

    Example:
        >>> CheckConfig((Path("train.py"),)).format
        'text'
    """

    paths: tuple[Path, ...] = ()
    """Files and folders, checked together as one project."""

    _: KW_ONLY

    select: Codes = ()
    """Rules to check, by code or prefix of a code. [default: those that are on by default]"""
    ignore: Codes = ()
    """Rules to leave out, by code or prefix of a code."""
    exclude: Codes = ()
    """Glob patterns of paths to leave out."""
    notes: Annotated[Flag, Parameter(group=RULES)] = False
    """Show notes as well."""
    strict: Annotated[Flag, Parameter(group=RULES)] = False
    """End with status 1 for warnings as well."""
    baseline: Annotated[OptionalPath, Parameter(group=RULES)] = None
    """File of known findings, which are not reported."""
    write_baseline: Annotated[Flag, Parameter(group=RULES)] = False
    """Write the current findings into the baseline file."""
    fix: Annotated[Flag, Parameter(group=REPAIR)] = False
    """Make the safe repairs."""
    diff: Annotated[Flag, Parameter(group=REPAIR)] = False
    """Print the safe repairs as a patch; change nothing."""
    format: Annotated[Literal["text", "json", "sarif", "github"], Parameter(group=OUTPUT)] = "text"
    """Output format."""
    quiet: Quiet = False
    """Print only findings."""

    def __post_init__(self) -> None:
        """Check the kind of every option."""
        coerce_fields_(self)
