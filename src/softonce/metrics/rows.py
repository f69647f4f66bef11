"""One mergeable row per evaluated sample."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from softonce import inference
from softonce.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float64
    from torch import Tensor

    from softonce.shapes import ClassIndex, Logits, Pred


@dataclass(frozen=True, eq=False)
class Rows:
    """One entry per evaluated sample, on the CPU; mergeable, so evaluation can be split anyhow.

    Args:
        target: class index that the sample has.
        pred: class index of the largest logit; the lower one if two are equal.
        in_top5: whether the target is among the 5 largest logits (all of them if C < 5).
        nll: negative log-likelihood of the target, in nats.
        brier: squared distance of the probabilities from the one-hot target, from 0 to 2.
        confidence: probability of `pred`.

    Example:
        >>> rows = score_rows(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
        >>> len(Rows.cat([rows, rows]))
        2
    """

    target: ClassIndex
    pred: Pred
    in_top5: Bool[Tensor, " N"]
    nll: Float64[Tensor, " N"]
    brier: Float64[Tensor, " N"]
    confidence: Float64[Tensor, " N"]

    def __len__(self) -> int:
        return len(self.target)

    @classmethod
    def cat(cls, parts: Sequence[Rows]) -> Rows:
        """Put the rows of several parts together, in order; at least one part is needed."""
        if not parts:
            raise ArgumentError("expected the rows of at least one part, found none: score a batch")
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def score_rows(logits: Logits, target: ClassIndex, *, temperature: float = 1.0) -> Rows:
    """Score every row of logits against its target.

    `nll` equals `nll_loss(log_probs(logits, temperature=temperature), target, reduction="none")`.

    Args:
        logits: N rows of C unnormalised class scores, on any device.
        target: N class indices from 0 to C - 1.
        temperature: positive divisor of the logits; `pred` and `in_top5` do not depend on it.

    Returns:
        N rows, on the CPU.

    Raises:
        ArgumentError: if shapes, dtypes or indices do not fit, or a row of logits is not finite.

    Example:
        >>> rows = score_rows(torch.tensor([[2.0, 0.0]]), torch.tensor([1]))
        >>> rows.pred.item(), round(rows.nll.item(), 3), round(rows.brier.item(), 3)
        (0, 2.127, 1.552)

    Source:
        Brier 1950, Verification of forecasts expressed in terms of probability.
    """
    log_probs = inference.log_probs(logits, temperature=temperature)
    check_target(logits, target)
    probs, column = log_probs.exp(), target.long()[:, None]
    one_hot = torch.zeros_like(probs).scatter_(1, column, 1.0)
    pred = logits.argmax(dim=1)
    return Rows(
        target=target.long().cpu(),
        pred=pred.cpu(),
        in_top5=(_rank(logits, column) < 5).cpu(),
        nll=-log_probs.gather(1, column)[:, 0].cpu().double(),
        brier=(probs - one_hot).square().sum(dim=1).cpu().double(),
        confidence=probs.gather(1, pred[:, None])[:, 0].cpu().double(),
    )


def check_target(logits: Logits, target: ClassIndex) -> None:
    """Raise an `ArgumentError` unless `target` holds one class index for every row of logits."""
    num_rows, num_classes = logits.shape
    integral = not (target.is_floating_point() or target.is_complex() or target.dtype == torch.bool)
    if target.shape != (num_rows,) or not integral:
        raise ArgumentError(
            f"expected integer class indices of shape ({num_rows},), one for each row of logits, "
            f"found {target.dtype} of shape {tuple(target.shape)}"
        )
    outside = (target < 0) | (target >= num_classes)
    if outside.any():
        row = int(outside.int().argmax())
        raise ArgumentError(
            f"expected class indices from 0 to {num_classes - 1}, found {int(target[row])} in row "
            f"{row} of target: leave ignored samples out, and count classes from 0"
        )


def _rank(logits: Tensor, column: Tensor) -> Tensor:
    """How many classes stand before the target; equal logits stand in the order of their index."""
    own = logits.gather(1, column)
    lower_index = torch.arange(logits.shape[1], device=logits.device) < column
    return ((logits > own) | ((logits == own) & lower_index)).sum(dim=1)
