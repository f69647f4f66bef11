"""The row kernel for CPUs: blocks of rows that stay in the cache, made of torch's own operators.

The anchor of a row is its target class, or with probabilities its largest logit. With the anchor
left out, `q = softmax(others)` comes from one fused operator, and says the sum as well: the largest
of q is one over it. So nothing is added to 1 that is small beside it, and with `P = others / S` the
gradient is `s P q - a`, and at the anchor `(s - a) - s P`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch

from softonce.losses.kernels.interface import Mass, Rows
from softonce.losses.kernels.parts import describe, normalize_others_
from softonce.losses.row_maths import accumulation_dtype, per_class, times
from softonce.losses.tuning import tuning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor
    from typing_extensions import TypeIs

    from softonce.losses.kernels.interface import Factor

    Block: TypeAlias = tuple[slice, ...]

_TINY = 1e-30
"""A probability below which its logarithm loses digits."""


def forward_rows(
    logits: Tensor,
    mass: Mass,
    *,
    scale: Factor | None = None,
    dlogits: Tensor | None = None,
    loss_only: bool = False,
) -> Rows:
    """Return what one pass over the logits says of each row; write `dlogits` if it is given."""
    scale = 1.0 if scale is None else _column(scale)
    if mass.is_plain and (dlogits is not None or loss_only):
        return _plain_rows(logits, mass, dlogits, scale)
    found = []
    for block in _blocks(logits):
        work = _load(logits, dlogits, block)
        part = _part(work, mass, block)
        at_anchor = work.gather(1, part.anchor)
        moment = None if part.dense is None else part.moment(work, at_anchor)
        rows = describe(at_anchor, normalize_others_(work.scatter_(1, part.anchor, -torch.inf)))
        if dlogits is not None:
            chance = None if part.dense is None else _chance(at_anchor, rows.largest, rows.total)
            part.differentiate_(work, rows.others / rows.total, chance, _at(scale, block))
            _store(work, mass, dlogits, block)
        found.append((block, part.weigh(rows, moment)))
    return _gather(found, logits.shape, mass)


def backward_rows(
    logits: Tensor,
    mass: Mass,
    rows: Rows,
    dlogits: Tensor,
    *,
    upstream: Factor,
    upstream_lse: Factor | None = None,
) -> None:
    """Write `upstream (s p - a) + upstream_lse p` into `dlogits`."""
    top, total = rows.largest.unsqueeze(1), rows.total.unsqueeze(1)
    share = rows.others.unsqueeze(1) / total
    upstream = _column(upstream)
    upstream_lse = None if upstream_lse is None else _column(upstream_lse)
    for block in _blocks(logits):
        work = _load(logits, dlogits, block)
        part = _part(work, mass, block)
        chance = None
        if part.dense is not None or upstream_lse is not None:
            chance = _chance(work.gather(1, part.anchor), top[block], total[block])
        normalize_others_(work.scatter_(1, part.anchor, -torch.inf))
        of_lse = None if upstream_lse is None else _at(upstream_lse, block)
        part.differentiate_(work, share[block], chance, _at(upstream, block), of_lse)
        _store(work, mass, dlogits, block)


def _chance(at_anchor: Tensor, largest: Tensor, total: Tensor) -> Tensor:
    """Return the probability of the anchor, which 1 minus that of the others would round away."""
    return (at_anchor - largest).exp_() / total


def _plain_rows(logits: Tensor, mass: Mass, dlogits: Tensor | None, scale: Factor) -> Rows:
    """Return the losses of rows with a mass of 1 at their target; write their gradient, too."""
    assert mass.index is not None  # noqa: S101 - it is plain
    anchor = mass.index.unsqueeze(1)
    if logits.numel() * accumulation_dtype(logits.dtype).itemsize <= tuning().block_bytes:
        loss = plain_block(logits, anchor, dlogits, scale)
    else:
        loss = anchor.new_empty(anchor.shape, dtype=accumulation_dtype(logits.dtype))
        for block in _blocks(logits):
            place = None if dlogits is None else dlogits[block]
            loss[block] = plain_block(logits[block], anchor[block], place, _at(scale, block))
    loss = loss.squeeze(1)
    for wrong, value in ((mass.ignored, 0.0), (mass.outside, torch.nan)):
        if wrong is not None:
            loss.masked_fill_(wrong, value)
            if dlogits is not None:
                dlogits.masked_fill_(wrong.unsqueeze(1), value)
    nothing = loss.new_empty(0)
    return Rows(loss, nothing, nothing, nothing)


def plain_block(
    logits: Tensor, anchor: Tensor, dlogits: Tensor | None = None, scale: Factor = 1.0
) -> Tensor:
    """Return the losses of a block, (n, 1) or (n, 1, l); write its gradient if there is a place.

    The softmax of all classes says it all, unless a row is more sure than not: its sum lost what is
    small beside the anchor.
    """
    dtype = accumulation_dtype(logits.dtype)
    fits = dlogits is not None and dlogits.dtype == dtype and dlogits.is_contiguous()
    in_place = dlogits is not None and dlogits.data_ptr() == logits.data_ptr()
    gap = _gap(logits, anchor) if in_place else None
    if fits:
        probs = torch.softmax(logits, 1, dtype, out=dlogits)
    else:  # of half precision one block of single is in the cache, not two
        wide = logits.to(dtype)
        probs = torch.softmax(wide, 1, out=None if wide is logits else wide)
    own = probs.gather(1, anchor)
    low, high = (end.item() for end in own.aminmax()) if own.numel() else (0.0, 1.0)
    if low >= _TINY and high < 0.5:
        loss = own.log().neg_()
        if dlogits is not None:
            probs.mul_(scale).scatter_(1, anchor, own.sub_(1).mul_(scale))
    else:
        gap = _gap(logits, anchor) if gap is None and not low >= _TINY else gap  # NaN is not, too
        others = probs.scatter_(1, anchor, 0).sum(1, keepdim=True)
        loss = _exact_loss(probs, own, others, gap)
        if dlogits is not None:
            factor = own.add_(others).reciprocal_().mul_(scale)
            probs.scatter_(1, anchor, others.neg_()).mul_(factor)
    if dlogits is not None and not fits:
        dlogits.copy_(probs)
    return loss


def _exact_loss(probs: Tensor, own: Tensor, others: Tensor, gap: Tensor | None) -> Tensor:
    """Return the losses if rows may be sure: the others are added up without the anchor."""
    loss = (others / own).log1p_()
    if gap is None:
        return loss
    return torch.where(own < _TINY, gap - probs.amax(1, keepdim=True).log(), loss)


def _gap(logits: Tensor, anchor: Tensor) -> Tensor:
    """Return how far the anchor's logit is below the largest."""
    largest = logits.amax(1, keepdim=True).to(accumulation_dtype(logits.dtype))
    return largest - logits.gather(1, anchor)


class _Part(NamedTuple):
    """The effective target of one block: `own` at the anchor, and `dense` at every class.

    Args:
        anchor: class of each row that the sums leave out, (n, 1) or (n, 1, l).
        whole: s, the mass of each row.
        dense: mass of each class beside the anchor's own, broadcast to the logits; None is 0.
        off: the mass of all classes but the anchor, if there is a `dense`.
        at: the mass of the anchor, if there is a `dense`.
    """

    anchor: Tensor
    whole: Factor
    dense: Tensor | None = None
    off: Factor = 0.0
    at: Factor = 1.0

    def weigh(self, rows: Rows, moment: Tensor | None) -> Rows:
        """Return the rows with the loss of the whole mass."""
        if isinstance(self.whole, float):
            return rows
        loss = times(self.whole, rows.loss)
        loss = loss if moment is None else loss + moment
        return rows._replace(loss=loss)

    def moment(self, logits: Tensor, at_anchor: Tensor) -> Tensor:
        """Return `sum(dense (at_anchor - logits))`."""
        assert self.dense is not None  # noqa: S101 - asked for by those who have it
        gaps = (at_anchor - logits).scatter_(1, self.anchor, 0)
        return times(self.dense, gaps).sum(1, keepdim=True)

    def differentiate_(
        self,
        q: Tensor,
        share: Tensor,
        chance: Tensor | None,
        upstream: Factor,
        upstream_lse: Factor | None = None,
    ) -> None:
        """Turn `q` into the gradient.

        Args:
            q: the softmax of the others, 0 at the anchor.
            share: the probability of all others.
            chance: the probability of the anchor; needed with `dense` and with `upstream_lse`.
            upstream: factor of each row.
            upstream_lse: factor of each row's log-sum-exp.
        """
        factor = self.whole * upstream
        at_anchor = factor * -share
        if self.dense is not None and chance is not None:
            at_anchor = (self.off * chance - self.at * share) * upstream
        if upstream_lse is not None and chance is not None:
            at_anchor = at_anchor + upstream_lse * chance
            factor = factor + upstream_lse
        q.mul_(factor * share)
        if self.dense is not None:
            q.sub_(self.dense * upstream)
        q.scatter_(1, self.anchor, at_anchor)


def _part(work: Tensor, mass: Mass, block: Block) -> _Part:
    keep, dense = per_class(mass.keep, work), mass.dense(work, block)
    if mass.index is None and dense is not None:
        anchor = work.argmax(1, keepdim=True)
        whole = dense.sum(1, keepdim=True)
        at = dense.gather(1, anchor)
        return _Part(anchor, whole, dense, whole - at, at)
    assert mass.index is not None  # noqa: S101 - one of the two is there
    anchor = mass.index.unsqueeze(1)[block]
    own = 1.0 if keep is None else keep.expand_as(work).gather(1, anchor)
    if dense is None:
        return _Part(anchor, own)
    total, at = dense.sum(), dense.expand_as(work).gather(1, anchor)
    return _Part(anchor, own + total, dense, total - at, own + at)


def _blocks(logits: Tensor) -> Iterator[Block]:
    """Cut (N, C) into rows, and (N, C, L) along L as well if one of N is too large."""
    num_rows = max(
        1, tuning().block_bytes // (logits.shape[1] * accumulation_dtype(logits.dtype).itemsize)
    )
    if logits.dim() == 2:
        for start in range(0, max(1, len(logits)), num_rows):
            yield slice(start, start + num_rows), slice(None)
        return
    length = max(1, logits.shape[2])
    step = max(1, num_rows // length)
    for start in range(0, max(1, len(logits)), step):
        for column in range(0, length, num_rows):
            yield slice(start, start + step), slice(None), slice(column, column + num_rows)


def _load(logits: Tensor, dlogits: Tensor | None, block: Block) -> Tensor:
    """Return a contiguous copy of the block; in the place of its gradient if that fits."""
    source, dtype = logits[block], accumulation_dtype(logits.dtype)
    if dlogits is not None and dlogits.dtype == dtype:
        place = dlogits[block]
        if place.is_contiguous():
            return place if dlogits is logits else place.copy_(source)
    return torch.empty(source.shape, dtype=dtype).copy_(source)


def _store(work: Tensor, mass: Mass, dlogits: Tensor, block: Block) -> None:
    for wrong, value in ((mass.ignored, 0.0), (mass.outside, torch.nan)):
        if wrong is not None:
            work.masked_fill_(wrong.unsqueeze(1)[block], value)
    place = dlogits[block]
    if place.data_ptr() != work.data_ptr():
        place.copy_(work)


def _gather(found: list[tuple[Block, Rows]], shape: torch.Size, mass: Mass) -> Rows:
    """Put the blocks together; write what ignored and impossible rows hold."""
    whole = found[0][1]
    if len(found) > 1:
        whole = Rows(*whole.loss.new_empty((4, shape[0], 1, *shape[2:])).unbind())
        for block, rows in found:
            for place, values in zip(whole, rows, strict=True):
                place[block] = values
    parts = [values.squeeze(1) for values in whole]
    if mass.ignored is not None:
        for values, nothing in zip(parts, (0.0, 0.0, 1.0, 0.0), strict=True):
            values.masked_fill_(mass.ignored, nothing)
    if mass.outside is not None:
        for values in parts:
            values.masked_fill_(mass.outside, torch.nan)
    return Rows(*parts)


def _column(factor: Factor) -> Factor:
    """Return factors of rows with a dimension for the classes."""
    return factor.unsqueeze(1) if _is_row(factor) else factor


def _at(factor: Factor, block: Block) -> Factor:
    """Return the factors of the rows of a block."""
    return factor[block] if _is_row(factor) else factor


def _is_row(factor: Factor) -> TypeIs[Tensor]:
    return isinstance(factor, torch.Tensor) and factor.dim() > 0
