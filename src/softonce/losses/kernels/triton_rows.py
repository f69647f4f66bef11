"""The row kernel for GPUs: Triton programs that read each row once, and once more for a gradient.

Nothing here waits for the device or looks at a value, so a CUDA graph can capture it. The time is
that of the memory traffic, so the passes are counted:

- the sums take one pass, with a maximum that rises as the row is read; class weights, smoothing and
  probabilities join it and add none;
- the gradient takes one more, in the same launch and backwards, so that it begins with what is
  still in the cache: a short row whole, a row of 256,000 classes in part;
- few long rows would leave most of a GPU idle: then several programs share a row, each its span of
  the classes, in two launches, and the gradient follows in a third.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch

from softonce.losses.kernels.interface import Mass, Rows
from softonce.losses.row_maths import accumulation_dtype
from softonce.losses.tuning import tuning

if TYPE_CHECKING:
    from torch import Tensor

    Number: TypeAlias = float | Tensor


class Tiling(NamedTuple):
    """How a launch is cut; the first three are powers of 2.

    Args:
        height: rows of a program.
        lanes: running sums of a row.
        width: classes of a block that share a running sum, so that one thread adds them.
        is_vector: whether those are neighbours in memory, and one load; else lanes are.
        num_spans: programs that share a row.
        num_warps: threads of a program, in 32s.
    """

    height: int
    lanes: int
    width: int
    is_vector: bool
    num_spans: int
    num_warps: int


def is_available(logits: Tensor) -> bool:
    """Return whether the kernel takes these logits: those on a GPU that triton compiles for.

    These are NVIDIA's from compute capability 8.0, and AMD's; torch's builds for them bring triton
    along. It never waits for the device.
    """
    return logits.device.type == "cuda" and _is_supported(logits.device)


@cache
def has_language() -> bool:
    """Return whether there is a Triton that the programs are written for, from 3.7 on.

    3.3 does not compile them, and the interpreters before 3.7 fail with numpy 2: torch 2.12 and
    earlier have such a one, and GPUs compute the readable form there.
    """
    if importlib.util.find_spec("triton") is None:
        return False
    import triton

    major, minor, *_ = triton.__version__.split(".")
    return (int(major), int(minor)) >= (3, 7)


@cache
def _is_supported(device: torch.device) -> bool:
    if not has_language():
        return False
    return bool(torch.version.hip) or torch.cuda.get_device_capability(device) >= (8, 0)


def forward_rows(
    logits: Tensor,
    mass: Mass,
    *,
    scale: Number | None = None,
    dlogits: Tensor | None = None,
    loss_only: bool = False,  # noqa: ARG001 - the rest of a row takes no traffic worth a second program
) -> Rows:
    """Return what one pass over the logits says of each row; write `dlogits` if it is given."""
    launch = _Launch(logits, mass)
    rows = Rows(*launch.new(4, *launch.row_shape).unbind())
    scale = 1.0 if scale is None else scale
    if launch.tiling.num_spans == 1:
        arguments = launch.columns(rows), launch.matrix(dlogits), launch.factor(scale)
        launch.run("forward_program", *arguments, stages=tuning().program_stages)
        return rows
    _forward_in_spans(launch, rows)
    if dlogits is not None:
        backward_rows(logits, mass, rows, dlogits, upstream=scale)
    return rows


def _forward_in_spans(launch: _Launch, rows: Rows) -> None:
    num_spans = launch.tiling.num_spans
    memory = launch.new(5, rows.loss.numel(), num_spans)
    partials = launch.blocks.Column(memory, *memory.stride()[:2])
    stages = tuning().program_stages
    launch.run("partial_program", launch.per_span, partials, num_spans=num_spans, stages=stages)
    lanes = _power_of_2(num_spans)
    launch.run("combine_program", launch.columns(rows), partials, lanes=lanes, num_warps=1)


def backward_rows(
    logits: Tensor,
    mass: Mass,
    rows: Rows,
    dlogits: Tensor,
    *,
    upstream: Number,
    upstream_lse: Number | None = None,
) -> None:
    """Write `upstream (s p - a) + upstream_lse p` into `dlogits`."""
    launch = _Launch(logits, mass)
    launch.run(
        "backward_program",
        launch.per_span,
        launch.columns(rows),
        launch.matrix(dlogits),
        None if mass.spread is None else mass.spread.sum(),
        launch.factor(upstream),
        launch.factor(upstream_lse),
        num_spans=launch.tiling.num_spans,
    )


def choose_tiling(logits: Tensor, num_processors: int, room: int = 0) -> Tiling:
    """Return how to cut logits of shape (B, C, R): first by their order in memory, then by number.

    Threads side by side read what lies side by side: classes, or in (N, C, L) rows. A program takes
    several short rows if enough programs are left, and a span of a long row if there are few.
    """
    num_batches, num_classes, num_rows = logits.shape
    sizes = tuning()
    wanted = sizes.programs * num_processors
    limit = sizes.program_logits // (1 if logits.element_size() < 8 else 2)
    height = 1
    if logits.stride(2) < logits.stride(1):
        height = min(sizes.neighbours, _power_of_2(num_rows))
    size = min(_power_of_2(num_classes), limit // height)
    while height * size < limit // 4 and num_batches * -(-num_rows // (2 * height)) >= wanted:
        height *= 2
    is_vector = _is_aligned(logits, room)
    width = 16 // logits.element_size() if is_vector else 8 if height == 1 else 1
    width = min(width, size)
    num_programs = max(1, num_batches * -(-num_rows // height))
    nearest = (wanted + num_programs // 2) // num_programs
    num_spans = max(1, min(nearest, num_classes // (2 * size)))
    num_warps = max(1, min(8, height * size // (32 * sizes.thread_logits)))
    return Tiling(height, size // width, width, is_vector, num_spans, num_warps)


def _is_aligned(logits: Tensor, room: int) -> bool:
    """Return whether triton will know that a thread may load several classes at once."""
    num_batches, num_classes, num_rows = logits.shape
    strides = [logits.stride(0) if num_batches > 1 else 0, logits.stride(2) if num_rows > 1 else 0]
    in_order = logits.stride(1) == 1 and logits.data_ptr() % 16 == 0
    return in_order and all(steps % 16 == 0 for steps in (num_classes + room, *strides))


def _power_of_2(number: int) -> int:
    """Return the next power of 2, at least 1."""
    return 1 << max(0, number - 1).bit_length()


def _num_processors(device: torch.device) -> int:
    """Return the GPU's number of multiprocessors; 1 if Triton's interpreter is the device."""
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count


class _Launch:
    """What all programs are handed; to them, logits have the shape (B, C, R)."""

    def __init__(self, logits: Tensor, mass: Mass) -> None:
        from softonce.losses.kernels import triton_blocks, triton_programs

        self.blocks: Any = triton_blocks
        self.programs: Any = triton_programs
        self.like = logits.new_empty(0, dtype=accumulation_dtype(logits.dtype))
        self.row_shape = logits.shape[:1] + logits.shape[2:]
        batched = _batched(logits)
        self.tiling = choose_tiling(batched, _num_processors(logits.device), mass.room)
        self.num_batches, num_classes, self.num_rows = batched.shape
        self.num_columns = num_classes + mass.room
        self.first = (
            self.matrix(logits),
            triton_blocks.Masses(
                self.column(mass.index),
                self.matrix(mass.probs),
                mass.keep,
                mass.spread,
                self.column(mass.ignored),
                self.column(mass.outside),
                mass.ignore_index,
            ),
            triton_blocks.Shape(
                num_classes, self.num_rows, self.num_columns if mass.room else None
            ),
        )

    def run(self, name: str, *arguments: object, num_spans: int = 1, **options: int) -> None:
        """Start one program for each few rows and each span, on the device of the logits."""
        cut = self.tiling._asdict() | {"real": self.programs.DTYPES[self.like.dtype]} | options
        del cut["num_spans"]
        num_programs = self.num_batches * -(-self.num_rows // self.tiling.height)
        if num_programs > 0:
            with torch.cuda.device(self.like.get_device()):
                getattr(self.programs, name)[num_programs, num_spans](
                    *self.first, *arguments, **cut
                )

    @property
    def per_span(self) -> int:
        """Classes of a span, in whole blocks."""
        block = self.tiling.lanes * self.tiling.width
        return -(-self.num_columns // (self.tiling.num_spans * block)) * block

    def new(self, *shape: int) -> Tensor:
        """Return memory in the dtype of the sums."""
        return self.like.new_empty(shape)

    def matrix(self, values: Tensor | None) -> object:
        """Return a tensor of the logits' shape as the programs take it."""
        if values is None:
            return None
        values = _batched(values)
        per_batch, *strides = values.stride()
        # of one batch it is anything, and what is no multiple of 16 would forbid vectors
        return self.blocks.Matrix(values, 0 if len(values) == 1 else per_batch, *strides)

    def column(self, values: Tensor | None) -> object:
        """Return one value for each row as the programs take it; a single one counts for all."""
        if values is None:
            return None
        values = _batched(values.expand(self.row_shape).unsqueeze(1)).squeeze(1)
        return self.blocks.Column(values, *values.stride())

    def columns(self, rows: Rows) -> object:
        """Return the rows' fields, in their order."""
        return tuple(map(self.column, (rows.loss, rows.largest, rows.total, rows.others)))

    def factor(self, number: Number | None) -> object:
        """Return a factor as the programs take it, who would round a number to single precision."""
        if isinstance(number, float | int) and self.like.dtype == torch.float64:
            number = torch.full_like(self.like.new_empty(()), number)
        if isinstance(number, torch.Tensor):
            return self.blocks.Factor(None, self.column(number))
        return self.blocks.Factor(number, None)


def _batched(values: Tensor) -> Tensor:
    """View (N, C) as one batch of rows, (1, C, N); (N, C, L) stays, but an L of 1 is dropped."""
    if values.dim() == 3 and values.shape[2] == 1:
        values = values.squeeze(2)
    return values if values.dim() == 3 else values.t().unsqueeze(0)
