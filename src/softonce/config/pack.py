"""The options of `softonce pack`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from softonce.config.coercion import coerce_fields_
from softonce.config.fields import DATA, OUTPUT, Column, Data, Quiet, check_range


@Parameter(name="*")
@dataclass(frozen=True)
class PackConfig:
    """Write images into tar shards.

    Example:
        >>> PackConfig("photos", Path("shards")).shard_size
        1000
    """

    data: Data
    """Folder of images, table (CSV, TSV, JSONL, Parquet), or a URL of these; idx:DIR."""
    output: Annotated[Path, Parameter(name=("--output", "-o", "--out"))]
    """Folder to write: tar files and their index."""

    _: KW_ONLY

    path_col: Column = None
    """Column of a table that has the paths. [default: found by its name: path, filename, ...]"""
    label_col: Column = None
    """Column of a table that has the labels. [default: label, class, category, ...]"""
    split_col: Column = None
    """Column of a table that tells train from val and test. [default: split, is_valid, ...]"""
    shard_size: Annotated[int, Parameter(group=DATA)] = 1000
    """Largest size of a tar file, in MB (10^6 bytes); a larger image gets its own file."""
    overwrite: Annotated[bool, Parameter(group=OUTPUT, negative=())] = False
    """Replace the shards in OUTPUT."""
    quiet: Quiet = False
    """Print only warnings."""

    def __post_init__(self) -> None:
        """Check the size."""
        coerce_fields_(self)
        check_range(self, "shard_size", 1)
