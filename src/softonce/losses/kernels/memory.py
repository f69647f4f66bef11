"""Memory for large tensors: in huge pages if the system has them, and used again.

A page that is written for the first time costs as much as to write it eight times over; a step that
takes new memory for its gradients and blocks spends a tenth to a third of its time so.
"""

from __future__ import annotations

import ctypes
import math
import mmap
from functools import cache
from typing import TYPE_CHECKING

from softonce.losses.tuning import tuning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

_HUGE_PAGE = 2**21  # of x86-64, and of ARM with 4 KiB pages; advice elsewhere is without effect


class Scratch:
    """Places by name, each as large as the largest that was asked for, and used again.

    Example:
        >>> import torch
        >>> scratch = Scratch()
        >>> large = scratch.place("logits", (4, 8), torch.zeros(()))
        >>> small = scratch.place("logits", (2, 8), torch.zeros(()))
        >>> large.data_ptr() == small.data_ptr(), small.shape
        (True, torch.Size([2, 8]))
    """

    def __init__(self) -> None:
        self._places: dict[str, Tensor] = {}

    def place(self, name: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """Return a contiguous place, of the dtype and the device of `like`; it holds anything."""
        size, held = math.prod(shape), self._places.get(name)
        if held is None or held.numel() < size or held.dtype != like.dtype:
            held = self._places[name] = in_huge_pages(like.new_empty(size))
        return held[:size].view(*shape)


def in_huge_pages(tensor: Tensor) -> Tensor:
    """Return a new tensor, nothing of it written yet, for which the system is asked for huge pages.

    Only if it is large, on a CPU, and the system knows them; the values are the same anyway.
    """
    num_bytes = tensor.numel() * tensor.itemsize
    if (
        num_bytes < tuning().huge_page_bytes
        or not tensor.is_cpu
        or not hasattr(mmap, "MADV_HUGEPAGE")
    ):
        return tensor
    address = tensor.data_ptr()
    start = -(-address // _HUGE_PAGE) * _HUGE_PAGE
    stop = (address + num_bytes) // _HUGE_PAGE * _HUGE_PAGE
    _madvise()(start, stop - start, mmap.MADV_HUGEPAGE)  # advice: that it fails changes nothing
    return tensor


@cache
def _madvise() -> Callable[[int, int, int], int]:
    """Return the C library's function; Python offers it for memory it owns only."""
    function = ctypes.CDLL(None).madvise
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function
