"""The row maths of a loss whose classes come in parts: blocks on one device, or shards of many.

A part sees the logits of some classes, and describes each row in six numbers (`Part`). All parts
together say the loss (`combine`), and each part then turns its own block into the gradient. The
block is worked on in place.

The exponential at a row's anchor is kept out of the sum of the others. The anchor is the target,
or with probabilities the largest logit; so a confident row, whose anchor is its largest logit,
keeps its loss `s log1p(rest)` and its gradient there, however small `rest` is beside 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch

if TYPE_CHECKING:
    from torch import Tensor


class Anchor(NamedTuple):
    """Where a row's anchor is in the block, (n, 1): any place where `is_here` is not true."""

    place: Tensor
    is_here: Tensor

    def pick(self, values: Tensor, other: float | Tensor) -> Tensor:
        """Return the values, (n, 1), where the anchor is here, and the other elsewhere."""
        return values.where(self.is_here, other)

    def write_(self, block: Tensor, values: Tensor) -> Tensor:
        """Write the values, (n, 1), at the anchors that are here."""
        return block.scatter_(1, self.place, self.pick(values, block.gather(1, self.place)))


@dataclass(frozen=True, slots=True)
class IndexMass:
    """The effective target a of n class indices, for the c classes of one block.

    Args:
        anchor: where the target is.
        at_target: its mass without `spread`, (n, 1); 0 where it is elsewhere.
        spread: a mass for each class of every row, (c,); None is 0 everywhere.
    """

    anchor: Anchor
    at_target: Tensor
    spread: Tensor | None = None

    def find_anchor(self, logits: Tensor) -> tuple[Tensor, Anchor]:
        """Return the largest logit, (n, 1), and the anchor."""
        return logits.amax(1, keepdim=True), self.anchor

    def split(self, anchor: Anchor) -> tuple[Tensor, Tensor]:
        """Return a at the anchor, and the sum of a elsewhere in the block, (n,)."""
        if self.spread is None:
            return self.at_target.squeeze(1), torch.zeros_like(self.at_target).squeeze(1)
        spread = anchor.pick(self.spread[anchor.place], 0)
        return (self.at_target + spread).squeeze(1), (self.spread.sum() - spread).squeeze(1)

    def dot(self, centred: Tensor) -> Tensor:
        """Return `sum(a centred)` of each row."""
        at_target = _times(self.at_target, centred.gather(1, self.anchor.place)).squeeze(1)
        return at_target if self.spread is None else at_target + _dot(self.spread, centred)

    def subtract_from_(self, exponentials: Tensor, factor: Tensor) -> Tensor:
        """Write `factor exponentials - a` everywhere but at the anchor."""
        if self.spread is None:
            return exponentials.mul_(factor)
        return torch.addcmul(-self.spread, exponentials, factor, out=exponentials)


@dataclass(frozen=True, slots=True)
class ProbsMass:
    """The effective target a of n rows, for the c classes of one block.

    Args:
        probs: a itself, (n, c); shared with nobody, as it is worked on for a moment.
    """

    probs: Tensor

    def find_anchor(self, logits: Tensor) -> tuple[Tensor, Anchor]:
        """Return the largest logit, (n, 1), and its place: ten times the cost of the value."""
        top, place = logits.max(1, keepdim=True)
        return top, Anchor(place, torch.ones_like(place, dtype=torch.bool))

    def split(self, anchor: Anchor) -> tuple[Tensor, Tensor]:
        """Return a at the anchor, and the sum elsewhere, which is no difference of large sums."""
        at = self.probs.gather(1, anchor.place)
        off = self.probs.scatter_(1, anchor.place, 0).sum(1)
        self.probs.scatter_(1, anchor.place, at)
        return at.squeeze(1), off

    def dot(self, centred: Tensor) -> Tensor:
        """Return `sum(a centred)` of each row."""
        return _dot(self.probs, centred)

    def subtract_from_(self, exponentials: Tensor, factor: Tensor) -> Tensor:
        """Write `factor exponentials - a` everywhere but at the anchor."""
        return exponentials.mul_(factor).sub_(self.probs)


BlockMass: TypeAlias = IndexMass | ProbsMass


class Part(NamedTuple):
    """What one block says of each row, (n,).

    Args:
        top: the largest logit of the block, -inf where there is none.
        rest: the sum of `exp(logits - top)` without the anchor.
        at: the logit at the anchor, -inf where it is elsewhere.
        dot: the sum of `a (logits - top)`; of `a logits` where `top` is -inf.
        at_mass: a at the anchor.
        off_mass: the sum of a elsewhere in the block.
    """

    top: Tensor
    rest: Tensor
    at: Tensor
    dot: Tensor
    at_mass: Tensor
    off_mass: Tensor


class Whole(NamedTuple):
    """What all parts together say of each row, (n,).

    Args:
        loss: `s log S - sum(a (logits - top))`.
        top: the largest logit.
        factor: s / S; the gradient is `factor exp(logits - top) - a`.
        at_anchor: the gradient at the anchor.
        owner: the part that holds the anchor.
    """

    loss: Tensor
    top: Tensor
    factor: Tensor
    at_anchor: Tensor
    owner: Tensor


def describe_(logits: Tensor, mass: BlockMass) -> tuple[Part, Anchor]:
    """Return what the block says of each row; it becomes `exp(logits - top)`, 0 at the anchor.

    Args:
        logits: (n, c), in the accumulation dtype.
        mass: of the same rows and classes.
    """
    if logits.shape[1] == 0:
        return _describe_nothing(logits)
    top, anchor = mass.find_anchor(logits)
    at = anchor.pick(logits.gather(1, anchor.place), -torch.inf).squeeze(1)
    at_mass, off_mass = mass.split(anchor)
    centred = logits.sub_(_finite(top))
    dot = mass.dot(centred)
    rest = anchor.write_(centred.exp_(), torch.zeros_like(top)).sum(1)
    return Part(top.squeeze(1), rest, at, dot, at_mass, off_mass), anchor


def combine(parts: Tensor) -> Whole:
    """Return what the parts, stacked as (parts, 6, n), say together.

    The sums run in the order of the parts: who has the same parts has the same bits.
    """
    top, rest, at, dot, at_mass, off_mass = parts.unbind(1)
    largest, owner = top.amax(0), at.argmax(0)
    is_owner = torch.arange(len(top), device=top.device).unsqueeze(1) == owner
    gap = at.amax(0) - largest
    others = rest * (top - largest).exp() + (at - largest).exp().masked_fill(is_owner, 0)
    total_rest = others.sum(0)
    total = total_rest + gap.exp()
    part_mass = at_mass + off_mass
    anchored = at_mass.where(is_owner, 0).sum(0)
    off = off_mass.where(is_owner, part_mass).sum(0)
    dots = (dot + part_mass * (_finite(top) - largest)).sum(0)
    row_mass = anchored + off
    return Whole(
        loss=row_mass * (total_rest + gap.expm1()).log1p() - dots,
        top=largest,
        factor=row_mass / total,
        at_anchor=(off * gap.exp() - anchored * total_rest) / total,
        owner=owner,
    )


def differentiate_(
    exponentials: Tensor, part: Part, anchor: Anchor, whole: Whole, mass: BlockMass, number: int
) -> Tensor:
    """Turn what `describe_` left of the logits into the gradient of each row's loss in them.

    Args:
        exponentials: (n, c), the block after `describe_`.
        part: what `describe_` returned.
        anchor: what `describe_` returned.
        whole: what `combine` returned.
        mass: as given to `describe_`.
        number: this block's place among the parts.
    """
    if exponentials.shape[1] == 0:
        return exponentials
    factor = whole.factor * (part.top - whole.top).exp()
    unowned = factor * (part.at - _finite(part.top)).exp() - part.at_mass
    at_anchor = whole.at_anchor.where(whole.owner == number, unowned)
    dlogits = mass.subtract_from_(exponentials, factor.unsqueeze(1))
    return anchor.write_(dlogits, at_anchor.unsqueeze(1))


def _describe_nothing(logits: Tensor) -> tuple[Part, Anchor]:
    """Return what a block without classes says."""
    nothing = logits.new_zeros(len(logits))
    missing = nothing - torch.inf
    anchor = Anchor(nothing.long().unsqueeze(1), nothing.bool().unsqueeze(1))
    return Part(missing, nothing, missing, nothing, nothing, nothing), anchor


def _dot(mass: Tensor, centred: Tensor) -> Tensor:
    """Return the rows' sums of `mass * centred`: in one go, and with care where that is NaN.

    A product of 0 and -inf counts 0; on an accelerator looking for NaN would wait for it.
    """
    if centred.device.type == "cpu":
        sums = centred.mv(mass) if mass.dim() == 1 else torch.linalg.vecdot(mass, centred)
        if not sums.isnan().any():
            return sums
    return _times(mass, centred).sum(1)


def _times(mass: Tensor, differences: Tensor) -> Tensor:
    """Return `mass * differences`, where no mass on an impossible class counts 0, not NaN."""
    return torch.where(mass == 0, 0, mass * differences)


def _finite(top: Tensor) -> Tensor:
    """Return `top`, and 0 where every logit is -inf: differences from it are no NaN."""
    return top.masked_fill(top == -torch.inf, 0)
