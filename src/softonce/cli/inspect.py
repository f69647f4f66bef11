"""`softonce inspect`."""

from __future__ import annotations

import json

from softonce.config import InspectConfig


def inspect(config: InspectConfig) -> None:
    """Show what a model file says of itself; nothing is unpickled and no tensor is read."""
    from softonce.artefact import read_metadata

    metadata = read_metadata(config.file)
    if config.json:
        print(json.dumps(metadata.to_dict(), ensure_ascii=False))  # noqa: T201 - the result
        return
    from softonce.cli.tables import print_metadata

    print_metadata(metadata)
