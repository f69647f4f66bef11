"""`softonce models`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from softonce.config.models import ModelsConfig
from softonce.console import LOG

if TYPE_CHECKING:
    from softonce.models.listing import Row


def models(config: ModelsConfig = ModelsConfig()) -> None:  # noqa: B008 - frozen
    """List the networks that can be trained, with what is published of them.

    A name is what --model takes. Without a prefix (timm:, torchvision:) the pattern is looked for
    in every source that is installed.
    """
    from softonce.models.listing import count_elsewhere, find_rows

    rows = find_rows(config.pattern)
    if config.json:
        for row in rows:
            print(json.dumps(row.to_dict()))  # noqa: T201 - the result
    else:
        _print_rows(rows)
    if config.pattern:
        return
    for prefix, count in count_elsewhere().items():
        found = (
            "is not installed, or does not fit this torch"
            if count is None
            else f"has {count:,} more"
        )
        LOG.info("%s %s; softonce models '%s:*' lists them", prefix, found, prefix)


def _print_rows(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for title in ("parameters", "pixels", "top-1"):
        table.add_column(title, justify="right")
    for row in rows:
        top1 = "" if row.accuracy is None else f"{row.accuracy:.2f} %"
        numbers = ("" if n is None else f"{n:,}" for n in (row.num_params, row.size))
        table.add_row(row.name, *numbers, top1)
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=160)
    console.print(table)
