"""A bound of the logits, `cap tanh(logits / cap)`: a map in front of any kernel.

Source:
    Gemma Team, "Gemma 2", section 2 (https://arxiv.org/abs/2408.00118).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from softonce.losses.kernels.memory import Scratch
from softonce.losses.row_maths import accumulation_dtype

if TYPE_CHECKING:
    from torch import Tensor

    from softonce.losses.kernels.interface import Factor, Kernel, Mass, Rows


def cap(logits: Tensor, softcap: float | None) -> Tensor:
    """Return the logits, bounded if there is a bound."""
    return logits if softcap is None else (logits / softcap).tanh() * softcap


def slope_of(capped: Tensor, softcap: float) -> Tensor:
    """Return the derivative of bounded logits in the logits, from what they became."""
    return (capped / softcap).square_().neg_().add_(1)


def with_softcap(kernel: Kernel, softcap: float | None) -> Kernel:
    """Return a kernel of the unbounded logits, from one of the bounded."""
    return kernel if softcap is None else _Capped(kernel, softcap)


@dataclass(frozen=True)
class _Capped:
    """A kernel that sees the logits through the bound, and its gradients through the slope."""

    kernel: Kernel
    softcap: float
    scratch: Scratch = field(default_factory=Scratch)

    def forward_rows(
        self,
        logits: Tensor,
        mass: Mass,
        *,
        scale: Factor | None = None,
        dlogits: Tensor | None = None,
        loss_only: bool = False,
    ) -> Rows:
        """Return what the kernel says of the bounded rows."""
        capped, mass = self._cap(logits), replace(mass, room=0)
        if dlogits is None:
            return self.kernel.forward_rows(capped, mass, loss_only=loss_only)
        made = self._place_of_gradient(capped)
        rows = self.kernel.forward_rows(capped, mass, scale=scale, dlogits=made)
        self._write(made, capped, dlogits)
        return rows

    def backward_rows(
        self,
        logits: Tensor,
        mass: Mass,
        rows: Rows,
        dlogits: Tensor,
        *,
        upstream: Factor,
        upstream_lse: Factor | None = None,
    ) -> None:
        """Write the gradient of the unbounded logits."""
        capped, mass = self._cap(logits), replace(mass, room=0)
        made = self._place_of_gradient(capped)
        self.kernel.backward_rows(
            capped, mass, rows, made, upstream=upstream, upstream_lse=upstream_lse
        )
        self._write(made, capped, dlogits)

    def _cap(self, logits: Tensor) -> Tensor:
        like = logits.new_empty((), dtype=accumulation_dtype(logits.dtype))
        capped = self.scratch.place("capped", logits.shape, like)
        return capped.copy_(logits).div_(self.softcap).tanh_().mul_(self.softcap)

    def _place_of_gradient(self, capped: Tensor) -> Tensor:
        return self.scratch.place("gradient", capped.shape, capped)

    def _write(self, made: Tensor, capped: Tensor, dlogits: Tensor) -> None:
        """Write the gradient times the slope, rounded once."""
        dlogits.copy_(made.mul_(capped.div_(self.softcap).square_().neg_().add_(1)))
