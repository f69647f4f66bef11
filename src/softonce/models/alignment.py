"""The network within a file of weights: pre-training and other trainers keep more, elsewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch import Tensor

# Where MoCo (encoder_q; base_encoder from version 3 on), BYOL (online_encoder) and DINO (backbone)
# keep the network that is to be used; their heads are projections, and no classifiers.
PRETRAINED = ("encoder_q.", "base_encoder.", "online_encoder.", "backbone.")
# mmpretrain's `backbone.` has a classifier beside it.
_CLASSIFIER = re.compile(r"head\.fc\.(weight|bias)")
_PROJECTION = re.compile(r"(?:fc|head|projector|predictor)\..+")
_SHOWN = 3
"""Names of tensors that a note lists."""


def align(
    tensors: Mapping[str, Tensor], own: Collection[str], source: str
) -> tuple[dict[str, Tensor], str | None]:
    """Return the tensors under the names of a network, and what was done, if anything was.

    A prefix is taken off, or put before all names, only if more of them are the network's then.

    Args:
        tensors: as a file has them.
        own: the names in the network's state dict.
        source: the file.

    Example:
        >>> import torch
        >>> file = {"encoder_q.conv.weight": torch.ones(1), "queue": torch.ones(2)}
        >>> found, note = align(file, {"conv.weight"}, "moco.pth")
        >>> list(found), note
        (['conv.weight'], 'of moco.pth encoder_q.* was loaded, and 1 tensor left out (queue)')
    """
    best, note = dict(tensors), None
    most = sum(key in own for key in tensors)
    for prefix in PRETRAINED:
        found = _within(tensors, prefix, own)
        if (number := sum(key in own for key in found)) > most:
            left = [key for key in tensors if key.removeprefix(prefix) not in found]
            best, most, note = found, number, _describe_left(source, prefix, left)
    for prefix in {f"{key.partition('.')[0]}." for key in own if "." in key}:
        found = {f"{prefix}{key}" if key not in own else key: t for key, t in tensors.items()}
        if (number := sum(key in own for key in found)) > most:
            best, most, note = found, number, None
    return best, note


def _within(tensors: Mapping[str, Tensor], prefix: str, own: Collection[str]) -> dict[str, Tensor]:
    """Return what is below a prefix, without the projection that pre-training puts on top."""
    inside = {
        key.removeprefix(prefix): tensor
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }
    kept = {k: t for k, t in inside.items() if k in own or not _PROJECTION.fullmatch(k)}
    if prefix != "backbone.":
        heads = [key for key in kept if re.fullmatch(r"(?:fc|head)\.(weight|bias)", key)]
        return {key: tensor for key, tensor in kept.items() if key not in heads}
    return kept | {key: t for key, t in tensors.items() if _CLASSIFIER.fullmatch(key)}


def _describe_left(source: str, prefix: str, left: list[str]) -> str:
    loaded = f"of {source} {prefix}* was loaded"
    if not left:
        return loaded
    shown = ", ".join(left[:_SHOWN] + ["..."] * (len(left) > _SHOWN))
    return f"{loaded}, and {format_count(len(left), 'tensor')} left out ({shown})"
