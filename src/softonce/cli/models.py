"""`softonce models`."""

from __future__ import annotations

import json

from softonce.config.models import ModelsConfig
from softonce.console import LOG


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
        from softonce.cli.tables import print_networks

        print_networks(rows)
    if config.pattern:
        return
    for prefix, count in count_elsewhere().items():
        found = (
            "is not installed, or does not fit this torch"
            if count is None
            else f"has {count:,} more"
        )
        LOG.info("%s %s; softonce models '%s:*' lists them", prefix, found, prefix)
