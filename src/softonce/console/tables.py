"""Tables as text, wherever the process runs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.table import Table


def format_table(table: Table, *, width: int) -> str:
    """Return what a terminal of so many columns prints, without colours or trailing spaces.

    Example:
        >>> from rich.table import Table
        >>> table = Table("a", "b", box=None, pad_edge=False)
        >>> table.add_row("1", "2")
        >>> print(format_table(table, width=80))
        a  b
        1  2
    """
    text = io.StringIO()
    # In a notebook, rich would display the table instead of writing it, and Jupyter asks for
    # colours by the environment.
    console = Console(
        file=text, width=width, color_system=None, force_terminal=False, force_jupyter=False
    )
    console.print(table, highlight=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())
