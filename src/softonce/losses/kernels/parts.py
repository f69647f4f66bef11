"""Rows of which some classes are seen at a time: in a block, a block later, on another device.

The exponential at a row's anchor is kept out of the sum of the others. The anchor is the target, or
with probabilities the largest logit: so a confident row, whose anchor is its largest logit, keeps
its loss `log1p(others)` and its gradient there, however small the others are beside 1.

Each part looks at its classes without the anchor (`normalize_others_`) and keeps their softmax; the
parts are joined (`join`), the anchor is added (`describe`), and then each part knows its share of
the row's probability (`share_of`), by which its softmax becomes that of the whole row. Nothing is
exponentiated twice, and the order of the sums is that of the parts: the same parts, the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from softonce.losses.kernels.interface import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Others(NamedTuple):
    """What some classes say of each row, without its anchor.

    Args:
        largest: their largest logit, -inf if there is none.
        sums: the sum of `exp(logits - largest)`, 0 if there is none.
    """

    largest: Tensor
    sums: Tensor

    def of_rows(self) -> Others:
        """Return it without a dimension for the classes."""
        return Others(self.largest.squeeze(1), self.sums.squeeze(1))


def normalize_others_(logits: Tensor, known: Others | None = None) -> Others:
    """Turn logits, -inf at the anchor, into their softmax: 0 if all are -inf.

    Args:
        logits: (n, c) or (n, c, l).
        known: what this function has returned for the same logits before, so that it need not look.

    Returns:
        What they say, (n, 1) or (n, 1, l).
    """
    largest, sums = known or (logits.amax(1, keepdim=True), None)
    nowhere = _find_empty(largest)
    if nowhere is not None:
        logits.masked_fill_(nowhere, 0)
    torch.softmax(logits, 1, out=logits)
    if sums is None:
        sums = logits.amax(1, keepdim=True).reciprocal_()
    if nowhere is not None:
        logits.masked_fill_(nowhere, 0)
        sums.masked_fill_(nowhere, 0)
    return Others(largest, sums)


def _find_empty(largest: Tensor) -> Tensor | None:
    """Return which rows have nothing but -inf; None if it is known that there is none.

    To look at an accelerator's values would wait for it.
    """
    if largest.is_cpu and largest.amin().item() != -torch.inf:
        return None
    return largest == -torch.inf


def join(parts: Sequence[Others]) -> Others:
    """Return what all parts say together."""
    largest, sums = (torch.stack(values) for values in zip(*parts, strict=True))
    top = largest.amax(0)
    differences = (largest - top).nan_to_num_(0.0, None, -torch.inf)  # all -inf: their sums are 0
    return Others(top, (sums * differences.exp_()).sum(0))


def describe(at_anchor: Tensor, others: Others) -> Rows:
    """Return the rows, of mass 1 at the anchor, from the anchor's logit and all others."""
    top = torch.maximum(at_anchor, others.largest)
    gap = at_anchor - top
    rest = others.sums * (others.largest - top).exp_()
    excess = rest + gap.expm1()
    return Rows(excess.log1p() - gap, top, 1 + excess, rest)


def share_of(others: Others, rows: Rows) -> Tensor:
    """Return the probability of a part's classes without the anchor, from the whole rows."""
    return others.sums * (others.largest - rows.largest).exp_() / rows.total
