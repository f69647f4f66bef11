"""The loss of a head in chunks of rows over all classes: three matrix products.

The logits of a chunk become their gradient in place, and leave when the next chunk comes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from softonce.losses.kernels.interface import Mass, Rows
from softonce.losses.tuning import tuning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from softonce.losses.head.parameters import Gradients, Head
    from softonce.losses.head.predictions import Predictions
    from softonce.losses.kernels.interface import Factor, Kernel


@dataclass(frozen=True)
class RowChunks:
    """The loop over one problem.

    Args:
        head: the features and the parameters.
        mass: the effective target.
        kernel: turns logits into losses and gradients.
        loss_only: whether nobody will want a gradient of the rows, or their log-sum-exp.
    """

    head: Head
    mass: Mass
    kernel: Kernel
    loss_only: bool = False

    def run(
        self, scale: Factor, gradients: Gradients | None, seen: Predictions | None = None
    ) -> Rows:
        """Return what all rows say; add their gradients, times `scale`, if there is a place."""
        found = []
        for rows, logits in self._logits():
            if seen is not None:
                seen.look(logits, rows)
            dlogits = None if gradients is None else self.head.narrow_place(logits)
            found.append(
                self.kernel.forward_rows(
                    logits,
                    self._mass(rows),
                    scale=scale,
                    dlogits=dlogits,
                    loss_only=self.loss_only,
                )
            )
            if gradients is not None and dlogits is not None:
                gradients.add_(self.head, dlogits, rows)
        return Rows.concatenate(found)

    def differentiate(
        self, known: Rows, gradients: Gradients, upstream: Tensor, upstream_lse: Tensor | None
    ) -> None:
        """Add the gradients of rows that are `known`, times what is upstream of each, (N,)."""
        for rows, logits in self._logits():
            dlogits = self.head.narrow_place(logits)
            self.kernel.backward_rows(
                logits,
                self._mass(rows),
                known.narrow(rows),
                dlogits,
                upstream=upstream[rows],
                upstream_lse=None if upstream_lse is None else upstream_lse[rows],
            )
            gradients.add_(self.head, dlogits, rows)

    def _mass(self, rows: slice) -> Mass:
        room = self.head.room if self.mass.probs is None else 0  # probabilities have none
        return replace(self.mass.narrow(rows), room=room)

    def _logits(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield each chunk's logits, in the memory of the chunk before."""
        for rows in self._chunks():
            yield rows, self.head.logits(rows)

    def _chunks(self) -> Iterator[slice]:
        """Cut the rows: few bytes of logits at a time, but enough rows for a fast product."""
        num_rows, in_features = self.head.features.shape
        num_classes = len(self.head.weight)
        step = max(tuning().chunk_rows, tuning().chunk_bytes // (4 * num_classes))
        if self.head.features.device.type != "cpu":
            fewest, most = tuning().gpu_chunk_rows
            fitting = tuning().gpu_chunk_bytes // (self.head.dtype.itemsize * num_classes)
            step = max(fewest, min(in_features, most, fitting))
        for start in range(0, num_rows, step):
            yield slice(start, min(start + step, num_rows))
