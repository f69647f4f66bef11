"""Which kernel computes on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softonce.losses.kernels import blocked

if TYPE_CHECKING:
    from torch import Tensor

    from softonce.losses.kernels.interface import Kernel


def find_kernel(tensor: Tensor) -> Kernel | None:
    """Return the kernel for tensors of this device; None if the readable form has to do."""
    if tensor.is_cpu:
        return blocked
    from softonce.losses.kernels import triton_rows

    return triton_rows if triton_rows.is_available(tensor) else None


def kernel_for(logits: Tensor) -> Kernel:
    """Return the kernel for logits on a device that has one."""
    kernel = find_kernel(logits)
    assert kernel is not None  # noqa: S101 - `can_fuse` asked for it
    return kernel
