"""A linear probe: the head of a frozen network, fitted to convergence.

Each strength of the regularisation counts as an epoch of the run, the strongest first, so that the
best of them is chosen, written, shown and resumed as the best epoch of any run is.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import numpy as np
import torch

from softonce.config import TrainConfig
from softonce.config.fields import AUGMENTATION, OPTIMISATION
from softonce.console import LOG
from softonce.errors import ConfigError
from softonce.metrics import figures, score_rows
from softonce.randomness import permutation
from softonce.training.head_fit import (
    MAX_STEPS,
    NUM_NEIGHBOURS,
    FeatureRows,
    Scaling,
    fit_head_,
    measure_head,
    nearest_neighbours,
)
from softonce.training.layers import BACKBONE
from softonce.training.recipes import PLAIN, read_recipe
from softonce.training.selection import values_of

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import nn

    from softonce.models import Network
    from softonce.training.features import SplitFeatures
    from softonce.training.objective import LossFunction, Objective

STRENGTHS = tuple(10.0 ** (-half / 2) for half in range(13))
"""Weights of the penalty. At the first the head hardly learns, at the last the penalty changes
nothing any more; on ants and bees, and on handwritten digits, the best is in the middle."""

NUM_FOLDS = 5
"""Parts of train that are left out in turn, if val was split off it."""

_FIXED: dict[str, Any] = {
    "recipe": PLAIN,
    "freeze": BACKBONE,
    "augment": "none",
    "hflip": 0.0,
    "epochs": len(STRENGTHS),
    "lr": 0.1,  # of no meaning, as all that belongs to steps
    "lr_warmup_epochs": 0.0,
    "lr_step_size": 1,
    "head_epochs": 0,
    "amp": False,
    "compile": False,
    "shard_head": False,
}
_FREE = ("batch_size", "class_weights", "label_smoothing", "select_by")


def as_probe(config: TrainConfig) -> TrainConfig:
    """Return the configuration of a linear probe; of the options of steps it has those of the loss.

    Raises:
        ConfigError: if an option is set that a probe has no use for.
    """
    plain = read_recipe(PLAIN)
    for each in dataclasses.fields(TrainConfig):
        if each.name in _FREE or each.name not in (*_FIXED, *_options_of_steps()):
            continue
        asked, fixed = getattr(config, each.name), _FIXED.get(each.name, plain.get(each.name))
        if asked != each.default and (list(asked) if isinstance(asked, tuple) else asked) != fixed:
            raise ConfigError(
                f"expected no --{each.name.replace('_', '-')} with --probe, which fits the head of "
                f"a frozen network to convergence, found {asked}: leave it out"
            )
    if config.batch_size == "auto":
        raise ConfigError(
            "expected a number as --batch-size with --probe, found auto: leave it out"
        )
    values: dict[str, Any] = _FIXED | {"batch_size": config.batch_size or 32}
    return dataclasses.replace(config, **values)


def _options_of_steps() -> list[str]:
    groups = {OPTIMISATION, AUGMENTATION}
    hints = get_type_hints(TrainConfig, include_extras=True)
    return [
        name
        for name, hint in hints.items()
        if any(groups & set(getattr(each, "group", None) or ()) for each in get_args(hint)[1:])
    ]


def check_can_probe(network: Network, name: str, loss: LossFunction | None) -> None:
    """Check that features and a Linear head are all there is.

    Raises:
        ConfigError: if the network does not end in its head, or the loss is the caller's.
    """
    if network.ends_in_head and loss is None:
        return
    found = f"your own loss with {name}" if loss is not None else f"another end of {name}"
    raise ConfigError(
        f"expected a network that ends in a Linear head, and softonce's own loss, with --probe, "
        f"found {found}: train with --freeze backbone instead"
    )


@dataclass(frozen=True)
class Probe:
    """Fits a head for one strength after the other.

    Args:
        features: of train and val.
        target: classes of train.
        val_target: classes of val.
        units: (N, 16) uint8, hashes of what each image of train belongs to.
        objective: the loss.
        classes: their names, in index order.
        device: where to compute.
        seed: of the folds.
        is_crossed: whether to choose by cross-validation of train; else val chooses.
    """

    features: SplitFeatures
    target: npt.NDArray[np.int64]
    val_target: npt.NDArray[np.int64]
    units: npt.NDArray[np.uint8]
    objective: Objective
    classes: tuple[str, ...]
    device: torch.device
    seed: int
    is_crossed: bool

    def fit_(self, head: nn.Linear, number: int) -> dict[str, float]:
        """Fill the head for the strength of that number; return what the row of train says."""
        l2 = STRENGTHS[number]
        steps = fit_head_(head, self._train, self._scaling, self.objective, l2)
        if steps >= MAX_STEPS:
            LOG.warning("the head has not converged in %d steps at l2 %g", steps, l2)
        loss, top1 = measure_head(head, self._train, self.objective)
        found = {"loss": loss, "top1": top1, "l2": l2, "steps": steps}
        return found | (self._cross_validate(head, l2) if self.is_crossed else {})

    def record(self, epoch: float) -> dict[str, Any]:
        """Return what an artefact says of the strength that was chosen, a number from 1."""
        return {"l2": STRENGTHS[int(epoch) - 1], "is_crossed": self.is_crossed}

    def neighbours(self) -> dict[str, float]:
        """Return how many of val are of the class that their nearest neighbours in train have."""
        pred = nearest_neighbours(
            self.features.train, self.target, self.features.val, len(self.classes), self.device
        )
        top1 = (pred == torch.from_numpy(self.val_target)).double().mean().item()
        return {"k": min(NUM_NEIGHBOURS, len(self.target)), "top1": top1}

    @cached_property
    def _scaling(self) -> Scaling:
        return Scaling.of(self.features.train, self.device)

    @cached_property
    def _train(self) -> FeatureRows:
        return self._rows(np.arange(len(self.target)))

    @cached_property
    def _folds(self) -> list[tuple[FeatureRows, npt.NDArray[np.int64]]]:
        """The rows to learn from and those left out, of each fold: alike in classes, by units."""
        _, first, unit = np.unique(
            self.units.view("V16")[:, 0], return_index=True, return_inverse=True
        )
        order = permutation(self.seed, 0, len(first))
        order = order[np.argsort(self.target[first[order]], kind="stable")]
        num = min(NUM_FOLDS, len(order))
        place = np.empty_like(order)
        place[order] = np.arange(len(order)) % num
        fold = place[unit]
        return [
            (self._rows(np.flatnonzero(fold != k)), np.flatnonzero(fold == k)) for k in range(num)
        ]

    def _rows(self, rows: npt.NDArray[np.int64]) -> FeatureRows:
        return FeatureRows(self.features.train, self.target, rows, self.device)

    def _cross_validate(self, head: nn.Linear, l2: float) -> dict[str, float]:
        """Return figures of train, each image judged by a head that has not learned from it."""
        logits = torch.empty(len(self.target), len(self.classes))
        for learned, left_out in self._folds:
            other = copy.deepcopy(head)
            fit_head_(other, learned, self._scaling, self.objective, l2)
            features = torch.from_numpy(self.features.train[left_out])
            with torch.no_grad():
                logits[left_out] = other(features.to(self.device).float()).cpu()
        found = score_rows(logits, torch.from_numpy(self.target))
        values = values_of(figures(found, self.classes, num_resamples=0))
        return {f"cv_{name}": value for name, value in values.items()}
