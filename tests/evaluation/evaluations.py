"""Evaluations of made-up logits, for tests that need no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from softonce.data.names import Names
from softonce.data.samples import Samples
from softonce.data.scan import Scan
from softonce.data.sources import open_source
from softonce.evaluation import Evaluation, summarise


def random_logits(
    n: int, num_classes: int = 3, *, seed: int = 0, skill: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Return logits (n, num_classes) float32 that know something of their targets (n,)."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.arange(n) % num_classes
    logits = torch.randn(n, num_classes, generator=generator)
    logits[torch.arange(n), target] += skill
    return logits, target


def evaluation_of(
    folder: Path,
    logits: Tensor,
    target: Tensor,
    *,
    classes: Sequence[str] = ("ants", "bees", "wasps"),
    names: Sequence[bytes] | None = None,
    temperature: float = 1.0,
    split: str = "test",
) -> Evaluation:
    """Return the evaluation of images that are only named."""
    names = names or [f"{index:04d}.jpg".encode() for index in range(len(target))]
    for name in ("ants", "bees"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    source = open_source(folder)
    samples = Samples(source, "test", Names.pack(list(names)), target.numpy(), tuple(classes))
    readable = Scan(
        samples,
        np.zeros((len(target), 16), np.uint8),
        np.zeros((len(target), 8), np.uint8),
        None,
        (),
    )
    return summarise(logits, target, readable, split, temperature=temperature)
