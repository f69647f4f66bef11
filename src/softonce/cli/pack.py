"""`softonce pack`."""

from __future__ import annotations

from softonce.config import PackConfig


def pack(config: PackConfig) -> None:
    """Write images into tar shards with an index, which train and evaluate read as they are.

    The files are copied byte for byte; the same data give the same shards.
    """
    from softonce.cli.tables import print_paths
    from softonce.data.pack import pack as write_shards

    print_paths({"shards": write_shards(config)})
