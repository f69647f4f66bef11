"""What the Triton programs share: how tensors are handed over, where entries lie, and their mass.

What is None is known when a program is compiled, and the branches that need it are left out. Three
rules that only the compiler teaches: it reads on after a `return` in a branch, so that functions
return at their ends; a running sum is `sum - tl.sum(-x)`, as 3.7 breaks on `sum + tl.sum(x)` of a
block with three dimensions; and offsets need 64 bits, as N x C may pass 2^31.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl


class Matrix(NamedTuple):
    """A tensor with an entry for each class of each row; strides in elements."""

    pointer: Any
    per_batch: Any
    per_class: Any
    per_row: Any


class Column(NamedTuple):
    """A tensor with an entry for each row."""

    pointer: Any
    per_batch: Any
    per_row: Any


class Factor(NamedTuple):
    """A factor for all rows, or one for each; neither is 0."""

    number: Any
    column: Any


class Masses(NamedTuple):
    """The fields of `Mass`: `probs` a Matrix, `keep` and `spread` pointers, a number, Columns."""

    index: Any
    probs: Any
    keep: Any
    spread: Any
    ignored: Any
    outside: Any
    ignore_index: Any


class Shape(NamedTuple):
    """The size of one batch; `num_columns` is None unless there is room behind the classes."""

    num_classes: Any
    num_rows: Any
    num_columns: Any


class Block(NamedTuple):
    """Its classes from its first, (1, lanes, width), and a 0 for each row, in the sums' dtype."""

    classes: Any
    zero: Any


class Span(NamedTuple):
    """The classes that a program reads, half-open."""

    start: Any
    stop: Any


class Place(NamedTuple):
    """The rows of a program, their targets, and which exist, are to be read, become NaN."""

    batch: Any
    row: Any
    target: Any
    exists: Any
    live: Any
    wrong: Any


@triton.jit
def find_rows(masses, shape, height: tl.constexpr):
    """Return the rows of this program; rows whose class does not exist are not to be read."""
    tiles = tl.cdiv(shape.num_rows, height)
    batch = (tl.program_id(0) // tiles).to(tl.int64)
    row = ((tl.program_id(0) % tiles) * height + tl.arange(0, height)).to(tl.int64)
    exists = row < shape.num_rows
    live, wrong = exists, row < 0
    target = tl.full([height], -1, tl.int64)
    if masses.ignored is not None:
        live = tl.load(_row_at(masses.ignored, batch, row), mask=exists, other=1) == 0
    if masses.probs is None:
        target = tl.load(_row_at(masses.index, batch, row), mask=exists, other=0).to(tl.int64)
        wrong = (target < 0) | (target >= shape.num_classes)
        if masses.ignore_index is not None:
            live &= target != masses.ignore_index
    if masses.outside is not None:
        wrong |= tl.load(_row_at(masses.outside, batch, row), mask=exists, other=0) != 0
    wrong &= live
    return Place(batch, row, target, exists, live & (wrong == 0), wrong)


@triton.jit
def find_span(shape, per_span):
    """Return the classes of this program."""
    start = tl.program_id(1) * per_span
    return Span(start, tl.minimum(start + per_span, whole_span(shape).stop))


@triton.jit
def whole_span(shape):
    """Return all classes, and the room behind them: whole words are moved, and masked later."""
    stop = shape.num_classes
    if shape.num_columns is not None:
        stop = shape.num_columns
    return Span(0, stop)


@triton.jit
def are_classes(columns, mask, shape):
    """Return which columns of a block are classes, of those that may be moved."""
    if shape.num_columns is not None:
        mask &= columns < shape.num_classes
    return mask


@triton.jit
def make_block(
    height: tl.constexpr, lanes: tl.constexpr, width: tl.constexpr, is_vector: tl.constexpr,
    real: tl.constexpr,
):  # fmt: skip
    """Return a block whose neighbouring classes share a lane, or else are in neighbouring lanes."""
    lane, column = tl.arange(0, lanes)[:, None], tl.arange(0, width)[None, :]
    classes = lane * width + column if is_vector else lane + column * lanes
    return Block(classes[None, :, :], tl.zeros([height], real))


@triton.jit
def block_size(block):
    """Return the number of classes in a block."""
    return block.classes.shape[1] * block.classes.shape[2]


@triton.jit
def zero_lanes(block):
    """Return a 0 for each lane of each row."""
    return block.zero[:, None] + tl.zeros([1, block.classes.shape[1]], block.zero.dtype)


@triton.jit
def wide(of_rows):
    """Return one value for each row in the shape of a block."""
    return of_rows[:, None, None]


@triton.jit
def cell_at(matrix, place, classes):
    """Return the addresses of a block's entries."""
    start = matrix.pointer + place.batch * matrix.per_batch
    return start + wide(place.row * matrix.per_row) + classes.to(tl.int64) * matrix.per_class


@triton.jit
def row_at(column, place):
    """Return the addresses of the rows' entries."""
    return _row_at(column, place.batch, place.row)


@triton.jit
def _row_at(column, batch, row):
    return column.pointer + batch * column.per_batch + row * column.per_row


@triton.jit
def row_number(place, shape):
    """Return the place of the rows among all."""
    return place.batch * shape.num_rows + place.row


@triton.jit
def sweep_end(span, place):
    """Return where a sweep ends: at once if no row of the program is to be read."""
    return tl.where(tl.max(place.live.to(tl.int32), 0) > 0, span.stop, span.start)


@triton.jit
def load_classes(values, classes, mask, block):
    """Return what is known of classes, whatever the row."""
    return tl.load(values + classes, mask=mask, other=0).to(block.zero.dtype)


@triton.jit
def target_mass(masses, place, block):
    """Return the mass at the index target; 0 with probabilities, whose sums hold every class."""
    own = block.zero
    if masses.probs is None:
        if masses.keep is not None:
            own += load_classes(masses.keep, place.target, place.live, block)
        else:
            own += 1
        if masses.spread is not None:
            own += load_classes(masses.spread, place.target, place.live, block)
    return own


@triton.jit
def block_mass(masses, place, classes, mask, block):
    """Return the mass of a block; of class indices only what is spread."""
    if masses.probs is not None:
        a = tl.load(cell_at(masses.probs, place, classes), mask=mask, other=0).to(block.zero.dtype)
        if masses.keep is not None:
            a *= load_classes(masses.keep, classes, mask, block)
        if masses.spread is not None:
            a += load_classes(masses.spread, classes, mask, block)
    else:
        a = load_classes(masses.spread, classes, mask, block)
    return a


@triton.jit
def probs_whole(masses, place, shape, block):
    """Return s, the sum of the mass of each row, with probabilities."""
    whole = zero_lanes(block)
    stop = sweep_end(Span(0, shape.num_classes), place)
    for start in tl.range(0, stop, block_size(block)):
        classes = start + block.classes
        mask = wide(place.live) & (classes < shape.num_classes)
        whole = whole - tl.sum(-block_mass(masses, place, classes, mask, block), 2)
    return tl.sum(whole, 1)
