"""The row kernel as Triton programs; `triton_rows.py` launches them, and nothing else imports this.

A program sees `height` rows of one batch, block by block of classes. A block has the shape (height,
lanes, width): the last dimension is one vector load of a thread, and each lane has running sums of
its own, so that threads meet once a row and not once a block.

The sums leave the target of class indices out; it joins at the end, when they are known to be the
others'. With probabilities the anchor is the largest logit, which is found only as the row is read:
so the exponentials leave out each logit that equals the lane's largest, and `tops` counts these.
The terms of each sum have one sign: nothing cancels, whatever offset the logits have in common.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from softonce.losses.kernels.triton_blocks import (
    Column,
    Factor,
    are_classes,
    block_mass,
    block_size,
    cell_at,
    find_rows,
    find_span,
    load_classes,
    make_block,
    probs_whole,
    row_at,
    row_number,
    sweep_end,
    target_mass,
    whole_span,
    wide,
    zero_lanes,
)

DTYPES = {torch.float32: tl.float32, torch.float64: tl.float64}
"""How triton calls the dtypes that the sums are made in."""

_NONE = tl.constexpr(float("-inf"))


class Sums(NamedTuple):
    """What was read of a lane or row, with z its logits and a their mass.

    m = largest; rest = sum(exp(z - m)); tops: how many z equal m and are not in `rest`;
    whole = sum(a); moment = sum(a (z - m)).
    """

    largest: Any
    rest: Any
    tops: Any
    whole: Any
    moment: Any


class Known(NamedTuple):
    """A row's loss, m, S and others; the mass only at its index target; s; its probability."""

    loss: Any
    largest: Any
    total: Any
    others: Any
    own: Any
    whole: Any
    chance: Any


@triton.jit
def forward_program(
    logits, masses, shape, rows, dlogits, scale,
    height: tl.constexpr, lanes: tl.constexpr, width: tl.constexpr, is_vector: tl.constexpr,
    real: tl.constexpr, stages: tl.constexpr,
):  # fmt: skip
    """Describe the rows, and write their gradient where `dlogits` is given."""
    block = make_block(height, lanes, width, is_vector, real)
    place = find_rows(masses, shape, height)
    span = whole_span(shape)
    known = _finish(
        _merge(_sweep(logits, masses, place, shape, span, block, stages)),
        logits,
        masses,
        place,
        block,
    )
    _store_rows(rows, place, known)
    if dlogits is not None:
        tl.debug_barrier()  # in place, no thread may write what another has yet to read
        _differentiate(
            logits, dlogits, masses, place, shape, known, scale, Factor(None, None), span, block
        )


@triton.jit
def partial_program(
    logits, masses, shape, per_span, partials,
    height: tl.constexpr, lanes: tl.constexpr, width: tl.constexpr, is_vector: tl.constexpr,
    real: tl.constexpr, stages: tl.constexpr,
):  # fmt: skip
    """Write the sums of one span of the rows into `partials`, (5, rows, spans)."""
    block = make_block(height, lanes, width, is_vector, real)
    place = find_rows(masses, shape, height)
    sums = _merge(_sweep(logits, masses, place, shape, find_span(shape, per_span), block, stages))
    at = partials.pointer + partials.per_row * row_number(place, shape) + tl.program_id(1)
    for number in tl.static_range(5):
        tl.store(at + number * partials.per_batch, sums[number], mask=place.exists)


@triton.jit
def combine_program(
    logits, masses, shape, rows, partials,
    height: tl.constexpr, lanes: tl.constexpr, width: tl.constexpr, is_vector: tl.constexpr,
    real: tl.constexpr,
):  # fmt: skip
    """Describe the rows from the sums of their spans, as if each span were a lane."""
    block = make_block(height, lanes, width, is_vector, real)
    place = find_rows(masses, shape, height)
    span = tl.arange(0, lanes)[None, :]
    at = partials.pointer + (partials.per_row * row_number(place, shape))[:, None] + span
    mask = place.exists[:, None] & (span < partials.per_row)
    sums = Sums(
        tl.load(at, mask=mask, other=_NONE),
        tl.load(at + 1 * partials.per_batch, mask=mask, other=0),
        tl.load(at + 2 * partials.per_batch, mask=mask, other=0),
        tl.load(at + 3 * partials.per_batch, mask=mask, other=0),
        tl.load(at + 4 * partials.per_batch, mask=mask, other=0),
    )
    _store_rows(rows, place, _finish(_merge(sums), logits, masses, place, block))


@triton.jit
def backward_program(
    logits, masses, shape, per_span, rows, dlogits, spread_total, upstream, upstream_lse,
    height: tl.constexpr, lanes: tl.constexpr, width: tl.constexpr, is_vector: tl.constexpr,
    real: tl.constexpr,
):  # fmt: skip
    """Write the gradient of one span of the classes from what is known of the rows."""
    block = make_block(height, lanes, width, is_vector, real)
    place = find_rows(masses, shape, height)
    own = target_mass(masses, place, block)
    whole = own
    if masses.probs is not None:
        whole = probs_whole(masses, place, shape, block)
    elif masses.spread is not None:
        whole += tl.load(spread_total) - load_classes(
            masses.spread, place.target, place.live, block
        )
    largest = tl.load(row_at(rows[1], place), mask=place.live, other=0)
    total = tl.load(row_at(rows[2], place), mask=place.live, other=1)
    others = tl.load(row_at(rows[3], place), mask=place.live, other=0)
    gap = largest - largest
    if masses.probs is None:
        gap = _target_logit(logits, place, block) - largest
    known = Known(0.0, largest, total, others, own, whole, _exp(gap) / total)
    span = find_span(shape, per_span)
    _differentiate(
        logits, dlogits, masses, place, shape, known, upstream, upstream_lse, span, block
    )


@triton.jit
def _sweep(logits, masses, place, shape, span, block, stages: tl.constexpr):
    """Return the sums of each lane; a block is on its way while another is added up."""
    zero = zero_lanes(block)
    largest, rest, tops, whole, moment = zero + _NONE, zero, zero, zero, zero
    for start in tl.range(span.start, sweep_end(span, place), block_size(block), num_stages=stages):
        classes = start + block.classes
        mask = wide(place.live) & (classes < span.stop)
        z = tl.load(cell_at(logits, place, classes), mask=mask, other=_NONE).to(block.zero.dtype)
        mask = are_classes(classes, mask, shape)
        is_other = mask & (classes != wide(place.target))
        z = tl.where(is_other, z, _NONE)
        new = tl.maximum(largest, tl.max(z, 2))
        base = tl.where(new == _NONE, 0, new)
        d = z - base[:, :, None]
        e = tl.exp(d)
        fall = tl.exp(largest - base)
        rest *= fall
        if masses.probs is not None:
            is_top = z == new[:, :, None]
            e = tl.where(is_top, 0, e)
            rest += tl.where(new > largest, tops * fall, 0)
            tops = tl.where(new > largest, 0, tops) + tl.sum(is_top.to(block.zero.dtype), 2)
        rest += tl.sum(e, 2)
        if (masses.probs is not None) or (masses.spread is not None):
            a = tl.where(is_other, block_mass(masses, place, classes, mask, block), 0)
            moment += _shift_moment(whole, largest, base) + tl.sum(_times(a, d), 2)
            whole = whole - tl.sum(-a, 2)
        largest = new
    return Sums(largest, rest, tops, whole, moment)


@triton.jit
def _merge(sums):
    """Return the sums of each row, from those of its lanes."""
    largest = tl.max(sums.largest, 1)
    base = tl.where(largest == _NONE, 0, largest)[:, None]
    is_top = sums.largest == largest[:, None]
    below = (sums.rest + tl.where(is_top, 0, sums.tops)) * tl.exp(sums.largest - base)
    moment = sums.moment + _shift_moment(sums.whole, sums.largest, base)
    tops = tl.sum(tl.where(is_top, sums.tops, 0), 1)
    return Sums(largest, tl.sum(below, 1), tops, tl.sum(sums.whole, 1), tl.sum(moment, 1))


@triton.jit
def _finish(sums, logits, masses, place, block):
    """Return what is known of each row, once the anchor has joined."""
    own = target_mass(masses, place, block)
    if masses.probs is not None:
        top, gap = sums.largest, sums.largest - sums.largest
        others = sums.rest + (sums.tops - 1)
    else:
        z = _target_logit(logits, place, block)
        top = tl.maximum(sums.largest, z)
        gap = z - top
        others = sums.rest * tl.where(sums.largest == _NONE, 1, _exp(sums.largest - top))
    total = others + tl.exp(gap)
    log_sum = tl.where(gap == 0, _log1p(others), tl.log(total))
    moment = sums.moment + _shift_moment(sums.whole, sums.largest, top) + _times(own, gap)
    whole = sums.whole + own
    return Known(
        whole * log_sum - moment, top, total, others, own, whole, _exp(gap) / total
    )  # fmt: skip


@triton.jit
def _target_logit(logits, place, block):
    """Return the logit of each row's index target."""
    at = row_at(Column(logits.pointer, logits.per_batch, logits.per_row), place)
    z = tl.load(at + place.target * logits.per_class, mask=place.live, other=0)
    return z.to(block.zero.dtype)


@triton.jit
def _store_rows(rows, place, known):
    """Write loss, m, S and others: 0, 0, 1 and 0 of ignored rows, NaN of impossible ones."""
    for number in tl.static_range(4):
        nothing = tl.where(place.wrong, float("nan"), 1.0 if number == 2 else 0.0)
        value = tl.where(place.live, known[number], nothing)
        tl.store(row_at(rows[number], place), value, mask=place.exists)


@triton.jit
def _shift_moment(whole, largest, risen):
    """Return what the moment gains when the largest logit rises, and all z - m fall."""
    return tl.where(largest == _NONE, 0, whole * (largest - risen))


@triton.jit
def _times(a, d):
    """Return `a d`, where no mass on an impossible class counts 0, not NaN."""
    return tl.where((a == 0) & (d == _NONE), 0, a * d)


@triton.jit
def _exp(x):
    """Return exp(x), x <= 0, to the last bits.

    A GPU's own multiplies x by log2(e) and rounds, and errs by |x| of them; here a whole power of 2
    is split off first.
    """
    if x.dtype == tl.float32:
        x = tl.where(x < -120, -120.0, x)
        power = tl.floor(x * 1.4426950408889634 + 0.5)
        e = tl.exp((x - power * 0.693359375) + power * 2.12194440e-4) * tl.exp2(power)
    else:
        e = tl.exp(x)
    return e


@triton.jit
def _log1p(x):
    """Return log(1 + x); the last factor mends what 1 + x rounded away."""
    one_more = 1 + x
    return tl.where(one_more == 1, x, tl.log(one_more) * (x / (one_more - 1)))


@triton.jit
def _differentiate(
    logits, dlogits, masses, place, shape, known, upstream, upstream_lse, span, block
):  # fmt: skip
    """Write the gradient, from the end: what a sweep read last is still in the cache."""
    u, v = _factor(upstream, place, block), _factor(upstream_lse, place, block)
    away = known.others / known.total
    slope = (u * known.whole + v) / known.total
    at_target = _at_anchor(known.own, known.whole, away, known.chance, u, v)
    dead = tl.where(place.wrong, float("nan"), 0.0)
    num_blocks = tl.cdiv(span.stop - span.start, block_size(block))
    for done in tl.range(0, num_blocks):
        classes = span.start + (num_blocks - 1 - done) * block_size(block) + block.classes
        mask = wide(place.live) & (classes < span.stop)
        z = tl.load(cell_at(logits, place, classes), mask=mask, other=0).to(block.zero.dtype)
        g = wide(slope) * tl.exp(z - wide(known.largest))
        if (masses.probs is not None) or (masses.spread is not None):
            mask = are_classes(classes, mask, shape)
            a = block_mass(masses, place, classes, mask, block)
            g -= wide(u) * a
            if masses.probs is not None:
                at_top = _at_anchor(
                    a, wide(known.whole), wide(away), wide(known.chance), wide(u), wide(v)
                )
                g = tl.where(z == wide(known.largest), at_top, g)
        g = tl.where(classes == wide(place.target), wide(at_target), g)
        g = tl.where(wide(place.live), g, wide(dead))
        mask = wide(place.exists) & (classes < span.stop)
        tl.store(
            cell_at(dlogits, place, classes), g.to(dlogits.pointer.dtype.element_ty), mask=mask
        )


@triton.jit
def _at_anchor(a, whole, away, chance, u, v):
    """Return the anchor's gradient, from its probability and from that of the others.

    Neither is 1 minus the other: each is exact where it is small.
    """
    return (u * (whole - a) + v) * chance - u * a * away


@triton.jit
def _factor(factor, place, block):
    """Return the factor of each row."""
    rows = block.zero
    if factor.column is not None:
        rows += tl.load(row_at(factor.column, place), mask=place.live, other=0).to(block.zero.dtype)
    elif factor.number is not None:
        rows += factor.number
    return rows
