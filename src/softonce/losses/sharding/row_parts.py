"""What a rank says of rows of which it holds some classes, and what all ranks say together.

A rank sees the logits of its classes and describes each row in six numbers (`Part`). One exchange
later all ranks know the loss (`combine`), and each turns its own logits into their gradient, in
place. The sums are those of `kernels/parts.py`; what is added here is a target that may be another
rank's, and with probabilities an anchor of each rank, of which the largest is the row's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from softonce.losses.kernels.parts import Others, describe, join, normalize_others_, share_of
from softonce.losses.row_maths import times

if TYPE_CHECKING:
    from torch import Tensor

    from softonce.losses.kernels.interface import Mass, Rows


class Anchor(NamedTuple):
    """Where a row's anchor is in the block, (n, 1): any place where `is_here` is not true."""

    place: Tensor
    is_here: Tensor

    def pick(self, values: Tensor, other: float) -> Tensor:
        """Return the values at the anchors, (n,), and the other if they are elsewhere."""
        return values.gather(1, self.place).where(self.is_here, other).squeeze(1)

    def write_(self, block: Tensor, values: Tensor) -> Tensor:
        """Write the values, (n, 1), at the anchors that are here."""
        kept = torch.where(self.is_here, values, block.gather(1, self.place))
        return block.scatter_(1, self.place, kept)


class Part(NamedTuple):
    """What one rank says of each row, (n,).

    Args:
        largest: the largest logit without the anchor, -inf if there is none.
        sums: the sum of `exp(logits - largest)` without the anchor.
        at: the logit at the anchor, -inf if it is elsewhere.
        dot: the sum of `a (logits - top)`, top the larger of `largest` and `at`, 0 for -inf.
        at_mass: a at the anchor.
        off_mass: the sum of a elsewhere in the block.
    """

    largest: Tensor
    sums: Tensor
    at: Tensor
    dot: Tensor
    at_mass: Tensor
    off_mass: Tensor

    @property
    def others(self) -> Others:
        """What the classes beside the anchor say."""
        return Others(self.largest, self.sums)


class Whole(NamedTuple):
    """What all parts together say of each row, (n,).

    Args:
        rows: the rows, of mass 1 at the anchor.
        loss: of the whole mass.
        mass: the sum of a.
        at_anchor: the gradient at the anchor.
        owner: the part that holds the anchor.
    """

    rows: Rows
    loss: Tensor
    mass: Tensor
    at_anchor: Tensor
    owner: Tensor


def describe_(logits: Tensor, mass: Mass) -> tuple[Part, Anchor]:
    """Return what the block says of each row; it becomes its own softmax, 0 at the anchor.

    Args:
        logits: (n, c), in the accumulation dtype.
        mass: of the same rows and classes; an index may be that of another block.
    """
    if logits.shape[1] == 0:
        return _describe_nothing(logits)
    anchor = _find_anchor(logits, mass)
    at, own = anchor.pick(logits, -torch.inf), _own_mass(logits, mass, anchor)
    dot, at_mass, off_mass = _weigh(logits, mass, anchor, own)
    others = normalize_others_(anchor.write_(logits, logits.new_tensor(-torch.inf))).of_rows()
    dot = dot + times(own, at - _finite(torch.maximum(others.largest, at)))
    return Part(*others, at, dot, at_mass, off_mass), anchor


def combine(parts: Tensor) -> Whole:
    """Return what the parts, stacked as (parts, 6, n), say together."""
    every = [Part(*part) for part in parts.unbind()]
    at, dot, at_mass, off_mass = parts[:, 2:].unbind(1)
    owner = at.argmax(0)
    is_owner = torch.arange(len(at), device=at.device).unsqueeze(1) == owner
    strays = at.masked_fill(is_owner, -torch.inf)  # each an anchor of its own part only
    ones = (strays > -torch.inf).to(at.dtype)
    others = join([*(part.others for part in every), *map(Others, strays, ones)])
    rows = describe(at.amax(0), others)
    gap = at.amax(0) - rows.largest
    anchored = at_mass.where(is_owner, 0).sum(0)
    off = off_mass.where(is_owner, at_mass + off_mass).sum(0)
    tops = _finite(torch.maximum(parts[:, 0], at))
    dots = (dot + (at_mass + off_mass) * (tops - rows.largest)).sum(0)
    return Whole(
        rows=rows,
        loss=(anchored + off) * (rows.others + gap.expm1()).log1p() - dots,
        mass=anchored + off,
        at_anchor=(off * gap.exp() - anchored * rows.others) / rows.total,
        owner=owner,
    )


def differentiate_(
    softmax: Tensor, part: Part, anchor: Anchor, whole: Whole, mass: Mass, number: int
) -> Tensor:
    """Turn what `describe_` left of the logits into the gradient of each row's loss in them.

    Args:
        softmax: (n, c), the block after `describe_`.
        part: what `describe_` returned.
        anchor: what `describe_` returned.
        whole: what `combine` returned.
        mass: as given to `describe_`.
        number: this block's place among the parts.
    """
    if softmax.shape[1] == 0:
        return softmax
    rows, dense = whole.rows, mass.dense(softmax)
    stray = whole.mass * (part.at - rows.largest).exp() / rows.total - part.at_mass
    at_anchor = whole.at_anchor.where(whole.owner == number, stray)
    dlogits = softmax.mul_((whole.mass * share_of(part.others, rows)).unsqueeze(1))
    dlogits = dlogits if dense is None else dlogits.sub_(dense)
    return anchor.write_(dlogits, at_anchor.unsqueeze(1))


def _find_anchor(logits: Tensor, mass: Mass) -> Anchor:
    if mass.index is None:
        place = logits.argmax(1, keepdim=True)
        return Anchor(place, torch.ones_like(place, dtype=torch.bool))
    place = mass.index.unsqueeze(1)
    is_here = (place >= 0) & (place < logits.shape[1])
    return Anchor(place.where(is_here, 0), is_here)


def _own_mass(logits: Tensor, mass: Mass, anchor: Anchor) -> Tensor:
    """Return what a class index adds to a at the anchor, (n,)."""
    if mass.index is None:
        return logits.new_zeros(len(logits))
    keep = logits.new_ones(1) if mass.keep is None else mass.keep
    own = anchor.pick(keep.expand_as(logits), 0)
    return own if mass.outside is None else own.masked_fill(mass.outside, torch.nan)


def _weigh(
    logits: Tensor, mass: Mass, anchor: Anchor, own: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return `sum(a (logits - top))` of all but `own`, a at the anchor, and its sum elsewhere."""
    dense = mass.dense(logits)
    if dense is None:
        return torch.zeros_like(own), own, torch.zeros_like(own)
    dot = _dot(dense, logits - _finite(logits.amax(1, keepdim=True)))
    dense = dense.expand_as(logits)
    at = anchor.pick(dense, 0)
    off = anchor.write_(dense.clone(), dense.new_zeros(())).sum(1)  # no difference of large sums
    return dot, own + at, off


def _describe_nothing(logits: Tensor) -> tuple[Part, Anchor]:
    """Return what a block without classes says."""
    nothing = logits.new_zeros(len(logits))
    missing = nothing - torch.inf
    anchor = Anchor(nothing.long().unsqueeze(1), nothing.bool().unsqueeze(1))
    return Part(missing, nothing, missing, nothing, nothing, nothing), anchor


def _dot(mass: Tensor, centred: Tensor) -> Tensor:
    """Return the rows' sums of `mass * centred`: in one go, and with care if that is NaN.

    A product of 0 and -inf counts 0; on an accelerator looking for NaN would wait for it.
    """
    if centred.is_cpu:
        sums = centred.mv(mass[0]) if len(mass) == 1 else torch.linalg.vecdot(mass, centred)
        if not sums.isnan().any():
            return sums
    return times(mass, centred).sum(1)


def _finite(top: Tensor) -> Tensor:
    """Return `top`, and 0 if every logit is -inf: so that differences from it are not NaN."""
    return top.masked_fill(top == -torch.inf, 0)
