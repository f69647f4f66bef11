"""A network and the images of a split become logits, and logits become figures."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import torch

from softonce.console import progress
from softonce.distributed import raise_on_all_ranks
from softonce.evaluation.result import Evaluation
from softonce.groups import gather_rows
from softonce.metrics import figures, one_vs_rest_auc, score_rows

if TYPE_CHECKING:
    from torch import Tensor

    from softonce.data.loader import Loader
    from softonce.data.scan import Scan
    from softonce.engines import Engine
    from softonce.metrics import Figures


def measure(
    engine: Engine, loader: Loader, split: str, *, temperature: float, seed: int = 0
) -> Evaluation:
    """Run a network over a split and compute its figures.

    Args:
        engine: the network.
        loader: its images, without augmentation.
        split: the split's name.
        temperature: what the logits are divided by.
        seed: of the bootstrap intervals.
    """
    logits, target = collect_logits(engine, loader, label=f"evaluating {split}")
    return summarise(logits, target, loader.scan, split, temperature=temperature, seed=seed)


def summarise(
    logits: Tensor, target: Tensor, readable: Scan, split: str, *, temperature: float, seed: int = 0
) -> Evaluation:
    """Compute the figures of logits that are already there."""
    classes = readable.samples.classes

    def at(temperature: float) -> Figures:
        rows = score_rows(logits, target, temperature=temperature)
        auc = one_vs_rest_auc(logits, target, temperature=temperature)
        return figures(rows, classes, auc=auc, seed=seed)

    calibrated = at(temperature)
    plain = calibrated if temperature == 1.0 else at(1.0)
    return Evaluation(split, classes, temperature, calibrated, plain, logits, readable)


def collect_logits(
    engine: Engine, loader: Loader, *, label: str = "evaluating"
) -> tuple[Tensor, Tensor]:
    """Return the logits (N, C) and the target (N,) of every image, in order.

    Many processes compute a share each; every image counts once, and all get the same logits.
    """
    own = raise_on_all_ranks(lambda: _compute_own_logits(engine, loader, label))
    return gather_rows(own, loader.counts()), torch.from_numpy(loader.scan.samples.target)


def _compute_own_logits(engine: Engine, loader: Loader, label: str) -> Tensor:
    logits = [torch.empty(0, len(loader.scan.samples.classes))]
    with progress(label, len(loader.scan)) as advance, closing(loader.batches()) as batches:
        for pixels, target in batches:
            logits.append(torch.from_numpy(engine.logits(pixels.numpy())))
            advance(len(target) * loader.world_size)
    return torch.cat(logits)


def headline(evaluation: Evaluation) -> dict[str, Any]:
    """Return the figures that a classifier carries with it."""
    found = evaluation.figures
    names = (
        "n", "top1", "top5", "balanced_accuracy", "macro_f1", "auc", "nll", "brier", "ece",
    )  # fmt: skip
    values = {name: getattr(found, name) for name in names}
    known = {name: value for name, value in values.items() if value is not None}
    return {"split": evaluation.split, **known}
