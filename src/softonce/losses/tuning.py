"""Every size that decides how a loss is computed, and none that changes what it is: one record.

A loss asks `tuning()` when it runs. `tuned(...)` changes sizes for a while, so that a small problem
is cut as a large one would be; the suite does nothing else to reach every way.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_MIB, _GIB = 2**20, 2**30


@dataclass(frozen=True)
class Tuning:
    """The sizes, with what was measured; times are of one thread, torch 2.13."""

    small_logits: int = 2**18
    """Logits up to which the checks of the general way are a noticeable part of its time."""
    single_logits: int = 2**16
    """Logits up to which torch's operators take less time than the kernel, which makes the gradient
    at once: 63 against 121 us for 256 x 100, but 465 against 364 for 256 x 1000."""
    double_logits: int = 2**14
    """The same in double precision: 63 against 111 us for 64 x 10, but 180 against 121 for 256 x
    100."""
    column_logits: tuple[int, int] = (512, 1024)
    """Logits from which log_softmax by columns pays for the rearrangement, without and with a
    gradient: forward 4.6 against 10.9 us for 64 x 10 and 13 against 78 for 512 x 10, with a
    gradient 55 against 62 for 128 x 10."""
    vector: int | None = None
    """Classes below which it may: those that fit a vector; None asks torch for the processor's."""
    small_head: int = 2**22
    """Multiplications up to which a head gains nothing by being cut."""
    small_compiled: int = 2**20
    """Logits up to which a compiled head is compiled as maths: 4 MiB, which the caches hold."""

    block_bytes: int = 2 * _MIB
    """Logits that the kernel for CPUs works on: the second-level caches of two cores hold them."""
    argmax_span: int = 256
    """Classes whose largest logit is found by one vectorised pass, before one is looked for in
    them: argmax takes five to ten times as long as amax."""
    huge_page_bytes: int = 8 * _MIB
    """Memory from which the system is asked for huge pages: four of them, so that what is lost at
    both ends is little."""

    chunk_bytes: int = 32 * _MIB
    """Logits of a chunk of rows, in single precision: the last-level cache holds them."""
    chunk_rows: int = 256
    """Rows of a chunk at least: products of fewer wait for the weight, read once a chunk."""
    gpu_chunk_bytes: int = _GIB
    """Logits of a chunk on a GPU at most: little beside its memory, and enough for its products."""
    gpu_chunk_rows: tuple[int, int] = (128, 4096)
    """Rows of a chunk on a GPU, between these as many as there are features: then a pass over the
    logits and one over the weight's gradient, C x D, cost the same."""
    gpu_row_multiple: int = 64
    """What the length of a row of a head's own logits is a multiple of on a GPU: any row begins
    with a whole word, for 1000 or 50,257 classes too, for the kernel and for the products."""
    is_row_padded: bool | None = None
    """Whether such rows are padded; None pads them on whatever is no CPU."""

    class_blocks_from: int = 32768
    """Classes from which blocks of classes win in single precision: below, the logits that are made
    again cost more than the skinny products of chunks of rows."""
    class_blocks_from_of_half: int = 8192
    """The same in half precision, whose weight is rounded, or widened, a block at a time."""
    class_block_bytes: int = 16 * _MIB
    """Logits, or weight, of a block of classes, which the last-level cache holds."""
    class_block_rows: int = 8192
    """Rows of a block of classes at most: with the fewest classes its logits are 64 MiB."""
    class_block_width: tuple[int, int] = (2048, 8192)
    """Classes of a block: with fewer its products are skinny, with more it leaves the cache."""
    kept_bytes: int = 96 * _MIB
    """Blocks that are kept for the gradient and not made again: what a head of 128,256 classes may
    take beside its gradient."""
    shard_chunk_logits: int = 2**23
    """Logits of a chunk of a sharded head, 32 MiB; `rows_per_chunk` says otherwise."""

    onednn_from: int = 2**22
    """Multiplications from which a call of oneDNN costs less than it gains."""
    onednn: bool | None = None
    """Whether oneDNN multiplies float32 faster than MKL; None asks the processor."""
    half_is_fast: bool | None = None
    """Whether half precision is multiplied faster than single; None tries it."""
    product_bytes: int = 16 * _MIB
    """What a product that is added to a place takes on its way there, in the last-level cache."""
    product_columns: int = 1024
    """Columns of a product that MKL is given at once: it divides wide ones badly among its threads,
    104 to 144 GFLOP/s against 152 to 161 with 256 rows on two Zen 3 cores."""
    rounded_bytes: int = 4 * _MIB
    """What a CPU rounds of a product of half at a time: it is read again while in the cache."""

    program_logits: int = 4096
    """Logits in a block of a Triton program: two or three programs on a processor have enough loads
    under way to keep its memory busy, and all their sums stay in registers."""
    thread_logits: int = 8
    """Logits of such a block that a thread holds at least, until there are 8 warps."""
    neighbours: int = 32
    """Rows of a program if rows are neighbours in memory, as in (N, C, L): a warp loads them."""
    programs: int = 4
    """Programs for each processor: a launch of fewer is cut smaller. As many fit a Hopper's, whose
    65,536 registers are 64 for each of 4 x 256 threads."""
    program_stages: int = 2
    """Blocks of a row under way at a time, the one that is added up included: the next is copied to
    shared memory meanwhile, 8 KiB of half precision."""


_now = Tuning()


def tuning() -> Tuning:
    """Return the sizes that count now."""
    return _now


@contextmanager
def tuned(**changes: Any) -> Iterator[Tuning]:
    """Let other sizes count, in every thread, until the block ends.

    Example:
        >>> with tuned(chunk_rows=3) as small:
        ...     small.chunk_rows, tuning().chunk_rows
        (3, 3)
        >>> tuning().chunk_rows
        256
    """
    global _now  # noqa: PLW0603 - a gradient is made in a thread of autograd's, which sees no context
    before, _now = _now, replace(_now, **changes)
    try:
        yield _now
    finally:
        _now = before
