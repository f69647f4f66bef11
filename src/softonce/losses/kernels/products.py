"""The matrix products of the head, by the fastest library that the processor has."""

from __future__ import annotations

import time
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from softonce.losses.row_maths import HALF_DTYPES
from softonce.losses.tuning import tuning

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from softonce.losses.kernels.memory import Scratch

HAS_WIDE_PRODUCT = hasattr(torch.ops.aten.mm, "dtype_out")
"""Whether torch can be asked for a product of half in single precision: 2.6 cannot, 2.13 can."""


def product_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Return what to multiply in if `dtype` is asked for: single precision if that is faster."""
    if device.type != "cpu" or dtype not in HALF_DTYPES:
        return dtype
    chosen = tuning().half_is_fast
    return dtype if (is_fast(dtype) if chosen is None else chosen) else torch.float32


@cache
def is_fast(dtype: torch.dtype) -> bool:
    """Return whether this processor multiplies a half precision faster than single, by a trial.

    No flag says so: oneDNN calls bfloat16 supported on processors that take five times as long with
    it as with single precision (AVX-512 without its bfloat16 part). Those that have instructions
    for it are 2 to 8 times as fast, so that no trial is near the limit, and the same machine always
    computes the same bits. A step takes four products of half, three of single precision.
    """
    left, right = torch.ones(256, 512), torch.ones(1024, 512)
    single = partial(F.linear, left, right)
    half = partial(F.linear, left.to(dtype), right.to(dtype))
    with torch.no_grad():
        rounds = [(_seconds(single), _seconds(half)) for _ in range(4)][1:]
    of_single, of_half = map(min, zip(*rounds, strict=True))
    return bool(4 * of_half < 3 * of_single)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def product(
    left: Tensor, right: Tensor, bias: Tensor | None = None, place: Tensor | None = None
) -> Tensor:
    """Return `left @ right.T + bias`, (n, m), of (n, k), (m, k) and (m,).

    Args:
        left: (n, k).
        right: (m, k).
        bias: (m,), or None.
        place: (n, m), memory for the result, which need not be used.
    """
    if is_for_onednn(left, right):
        onednn = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001 - the public way leads to MKL
        result: Tensor = onednn(left, right, bias, "none", [], "")
        return result
    if (
        left.device.type == "cpu"
        and left.dtype == torch.float32
        and len(right) > tuning().product_columns
    ):
        place = left.new_empty(len(left), len(right)) if place is None else place
        return _product_in_columns(left, right, bias, place)
    return F.linear(left, right, bias) if place is None else _write_(place, left, right, bias)


def wide_product(
    left: Tensor, right: Tensor, bias: Tensor | None, place: Tensor, scratch: Scratch
) -> Tensor:
    """Return `left @ right.T + bias` in the precision to sum in: of half precision in single.

    A CPU rounds what it makes of half to half. But the product less what it was rounded to is made
    by one call, which rounds only then: both together have twice the digits: a
    logit of 26 errs by 1e-4 at most in bfloat16.

    Args:
        left: (n, k).
        right: (m, k).
        bias: (m,), or None.
        place: (n, m), memory for the result, which need not be used.
        scratch: memory for what is rounded.
    """
    if left.dtype == place.dtype:
        return product(left, right, bias, place)
    if is_exact(place, left):
        torch.mm(left, right.t(), out_dtype=place.dtype, out=place)
        return place if bias is None else place.add_(bias)
    fitting = tuning().rounded_bytes // (left.itemsize * max(1, len(left)))
    step = max(tuning().product_columns, fitting)
    for start in range(0, len(right), step):
        some = slice(start, start + step)
        columns, shape = right[some].t(), (len(left), len(right[some]))
        high = torch.mm(left, columns, out=scratch.place("high", shape, left))
        low = scratch.place("low", shape, left)
        torch.addmm(high, left, columns, beta=-1, out=low)
        part = place[:, some].copy_(high).add_(low)
        if bias is not None:
            part.add_(bias[some])
    return place


def _write_(place: Tensor, left: Tensor, right: Tensor, bias: Tensor | None) -> Tensor:
    """Write `left @ right.T + bias` to a place."""
    if bias is None:
        return torch.mm(left, right.t(), out=place)
    return torch.addmm(bias, left, right.t(), out=place)


def _product_in_columns(left: Tensor, right: Tensor, bias: Tensor | None, place: Tensor) -> Tensor:
    """Write a wide product some columns at a time: MKL divides it badly among its threads.

    Measured on two Zen 3 cores with 256 rows: 152 to 161 GFLOP/s against 104 to 144.
    """
    step = tuning().product_columns
    for start in range(0, len(right), step):
        some = slice(start, start + step)
        _write_(place[:, some], left, right[some], None if bias is None else bias[some])
    return place


def add_product_(
    place: Tensor, left: Tensor, right: Tensor, *, is_first: bool, scratch: Scratch
) -> None:
    """Add `left @ right.T` to `place`, or write it there if it is the first.

    The place may have a wider dtype than the factors. A GPU adds up in it; what a CPU rounds to
    theirs is never larger than a few MiB, and goes by way of `scratch`.
    """
    wide: dict[str, Any] = {}
    if place.dtype != left.dtype and is_exact(place, left):
        wide = {"out_dtype": place.dtype}
    elif place.dtype != left.dtype or is_for_onednn(left, right):
        _add_in_blocks_(place, left, right, is_first=is_first, scratch=scratch)
        return
    if is_first:
        torch.mm(left, right.t(), **wide, out=place)
    else:
        torch.addmm(place, left, right.t(), **wide, out=place)


def replace_by_product_(place: Tensor, left: Tensor, right: Tensor, *, scratch: Scratch) -> None:
    """Let the whole `place`, of which no view is held, be `left @ right.T`.

    What oneDNN has made becomes the memory of the place: to copy it took as long as to make it.
    """
    if place.dtype == left.dtype and place.is_contiguous() and is_for_onednn(left, right):
        place.set_(product(left, right))  # type: ignore[call-overload] # torch's stub knows only storages
    else:
        add_product_(place, left, right, is_first=True, scratch=scratch)


def _add_in_blocks_(
    place: Tensor, left: Tensor, right: Tensor, *, is_first: bool, scratch: Scratch
) -> None:
    step = max(64, tuning().product_bytes // (place.shape[1] * place.itemsize))
    for start in range(0, len(place), step):
        rows = slice(start, start + step)
        shape = (len(place[rows]), place.shape[1])
        value = product(left[rows], right, place=scratch.place("product", shape, left))
        if is_first:
            place[rows] = value
        else:
            place[rows] += value


def is_exact(place: Tensor, left: Tensor) -> bool:
    """Return whether the device sums a product in its place's precision: cuBLAS does with half."""
    is_half_into_single = left.dtype in HALF_DTYPES and place.dtype == torch.float32
    is_offered = is_half_into_single and HAS_WIDE_PRODUCT and is_nvidia(left)
    return left.dtype == place.dtype or is_offered


def is_nvidia(tensor: Tensor) -> bool:
    """Return whether the tensor is on a GPU of NVIDIA's."""
    return tensor.device.type == "cuda" and torch.version.hip is None


def prefers_onednn() -> bool:
    """Return whether oneDNN is to multiply float32: on processors on which it beats MKL."""
    chosen = tuning().onednn
    return _is_onednn_faster() if chosen is None else chosen


@cache
def _is_onednn_faster() -> bool:
    """Return whether oneDNN's float32 beats MKL's, which uses AVX-512 on one vendor's cores only.

    Measured: 320 to 470 GFLOP/s against 150 to 210 on two Zen 5 cores, which have AVX-512; 130 to
    140 against 160 to 180 on two Zen 3 cores, which have not. A rule, not a measurement, so that
    the same machine always computes the same bits.
    """
    info = Path("/proc/cpuinfo")
    flags = info.read_text() if info.exists() else ""
    has_unused = "AuthenticAMD" in flags and "avx512f" in flags
    return has_unused and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def is_for_onednn(left: Tensor, right: Tensor) -> bool:
    """Return whether `left @ right.T` is large enough to gain by oneDNN on this processor."""
    is_large = left.numel() * right.shape[0] >= tuning().onednn_from
    return is_large and left.dtype is torch.float32 and left.is_cpu and prefers_onednn()
