"""Tables as text, wherever the process runs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from softonce.console.plain import PlainConsole

if TYPE_CHECKING:
    from rich.table import Table


def set_apart(table: Table) -> Group:
    """Return a table with its title and caption in lines as wide as the terminal.

    Beside a table of a few narrow columns they would be wrapped to its width.
    """
    parts = [Text(str(text)) if text else None for text in (table.title, table.caption)]
    table.title = table.caption = None
    title, caption = parts
    return Group(*(part for part in (title, table, caption) if part is not None))


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
    console = PlainConsole(
        file=text, width=width, color_system=None, force_terminal=False, force_jupyter=False
    )
    console.print(set_apart(table), highlight=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())
