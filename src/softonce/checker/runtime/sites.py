"""What was seen at one line that calls a loss."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from softonce.checker.findings import Place
from softonce.checker.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from softonce.checker.runtime.witnesses import Values
    from softonce.checker.tags import Scores

IGNORE_INDEX = -100
SOMEWHERE = Place("a line that was not seen")


class Seen(NamedTuple):
    """One broken rule at a loss.

    Attributes:
        scores: what the loss, or the operation before it, was given.
        witness: how that is known: tag, grad_fn or value.
        is_training: whether it has a gradient.
        loss: what applies the second softmax, if that is not the loss itself.
    """

    scores: Scores
    witness: str
    is_training: bool
    loss: str = ""


@dataclass(slots=True)
class Site:
    """One line that calls a loss.

    Attributes:
        loss: the operation.
        places: the line, and the user's lines that led to it.
        losses: what the loss was, at each look.
        pardoned: rules that a later line explained away.
    """

    loss: str
    places: tuple[Place, ...]
    num_classes: int = 0
    looks: int = 0
    losses: list[float] = field(default_factory=list)
    pardoned: set[str] = field(default_factory=set)
    found: dict[tuple[str, Place], Seen] = field(default_factory=dict)
    values: Counter[Kind] = field(default_factory=Counter)
    rows: int = 0
    deviation: float = 0.0
    has_clean_training: bool = False
    counts: Tensor | None = None
    bad_target: int | None = None
    nan: tuple[str, int, str] | None = None
    step: int = 0
    is_input_finite: bool = True
    scale: str = "mean"
    log_target: bool = False

    @property
    def place(self) -> Place:
        """The innermost line of the user's own."""
        return self.places[0] if self.places else SOMEWHERE

    def record_loss(self, result: Any) -> None:
        """Keep the loss of one look."""
        if not isinstance(result, Tensor) or result.numel() == 0:
            return
        value = float(result.detach().float().mean())
        if math.isfinite(value):
            if self.scale != "sum":
                self.losses.append(value)
        elif self.nan is None:
            where = "its input is finite" if self.is_input_finite else "its input already is not"
            self.nan = (str(value), self.step, where)


def count_values(site: Site, seen: Values) -> None:
    """Count what only the values look like."""
    site.values[seen.kind] += 1
    if seen.kind is Kind.OTHER and seen.high > 0:
        site.values[Kind.LOGITS] += 1
    site.rows += seen.rows
    site.deviation = max(site.deviation, seen.deviation)


def count_targets(site: Site, target: Tensor, kwargs: Mapping[str, Any]) -> None:
    """Count the classes among the targets, and keep one that is none."""
    ignored = kwargs.get("ignore_index", IGNORE_INDEX)
    target = target[target != ignored]
    if target.numel() == 0:
        return
    low, high = (int(bound) for bound in target.aminmax())
    if low < 0 or high >= site.num_classes:
        site.bad_target = low if low < 0 else high
        return
    counts = torch.bincount(target.cpu(), minlength=site.num_classes)
    is_same = site.counts is not None and len(site.counts) == len(counts)
    site.counts = site.counts + counts if is_same and site.counts is not None else counts
