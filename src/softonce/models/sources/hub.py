"""Whether a published file can be had, asked in seconds: a library's own retries take a minute."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

_SECONDS = 3.0
"""Whether a hub can be reached is asked before every run: without a network nobody waits longer."""


def why_unreachable(repo: str, url: str | None = None) -> str | None:
    """Return why a repository of the hub, or the file of a URL, cannot be had; None if it can.

    Args:
        repo: such as `timm/resnet18.a1_in1k`; one that is in the cache needs no network.
        url: where a file lies that is not on the hub.
    """
    if url is None:
        from huggingface_hub import constants

        if (Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}").exists():
            return None
        if constants.HF_HUB_OFFLINE:
            return f"{repo} is not in the cache, and HF_HUB_OFFLINE is set"
        url = constants.ENDPOINT
    elif (_torch_cache() / Path(urlsplit(url).path).name).exists():
        return None
    asked = urlsplit(url)
    proxy = urlsplit(getproxies().get(asked.scheme, ""))
    host = proxy.hostname or asked.hostname or ""
    port = proxy.port or asked.port or 443
    try:
        socket.create_connection((host, port), timeout=_SECONDS).close()
    except OSError as error:
        return f"{asked.hostname} does not answer ({error.strerror or error})"
    return None


def _torch_cache() -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def is_folder(name: str) -> bool:
    """Return whether a name is a folder with the configuration of a network in it."""
    return os.path.isfile(os.path.join(name, "config.json"))  # noqa: PTH113, PTH118 - any text
