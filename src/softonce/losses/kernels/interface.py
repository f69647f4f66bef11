"""Row kernels: the loss and the gradient of many rows at once, faster than the readable form.

Each kernel equals `cross_entropy_rows` of `rows/readable.py`, and its tests say so. With the mass
`a[n, c] = keep[c] q[n, c] + spread[c]`, where q is the one-hot or the given target, `s = sum(a)`,
`d = logits - m` and `S = sum(exp(d))`, a row has the loss `s log S - sum(a d)` and the gradient
`s p - a`, with `p = exp(d) / S`. A kernel is a module of two functions:

    forward_rows(logits, mass, *, scale=None, dlogits=None, loss_only=False) -> Rows
    backward_rows(logits, mass, rows, dlogits, *, upstream, upstream_lse=None) -> None

- `logits`: (N, C) or (N, C, L), of any float dtype; read once, never changed unless `dlogits` is
  the same tensor. Sums are made in single precision for half, else in the logits' own.
- `scale`: a factor only for the gradient: `1 / total` for the mean.
- `dlogits`: where the gradient is written, `scale (s p - a)` or `upstream (s p - a) +
  upstream_lse p`, in its own dtype, rounded once. It may be `logits` itself.
- `upstream`, `upstream_lse`, `scale`: a float, a scalar tensor, or one factor for each row.
- `Rows` holds what the gradient needs again, each (N,) or (N, L): never lse, which would lose a
  small loss under a large common offset. With `dlogits` the gradient is there, and with `loss_only`
  nobody wants one: then all but the loss may be empty.

Ignored rows get loss 0, m 0, S 1 and gradient 0, written and never multiplied; rows whose class is
outside get NaN. The target's own term is kept out of the sum, `others`, so that a confident row
keeps its loss `log1p(others)` and its gradient `-others / S`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import torch

from softonce.losses.row_maths import per_class

if TYPE_CHECKING:
    from torch import Tensor

    from softonce.losses.row_maths import IndexTarget

    Factor: TypeAlias = float | Tensor


class Kernel(Protocol):
    """The two functions above, as a module offers them."""

    def forward_rows(
        self,
        logits: Tensor,
        mass: Mass,
        *,
        scale: Factor | None = None,
        dlogits: Tensor | None = None,
        loss_only: bool = False,
    ) -> Rows:
        """Return what one pass says of each row; write the gradient if there is a place."""

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
        """Write the gradient of the loss and of the log-sum-exp."""


@dataclass(frozen=True, slots=True)
class Mass:
    """The effective target: `a[n, c] = keep[c] q[n, c] + spread[c]`.

    Args:
        index: class indices, (N,) or (N, L); None if `probs` is given. Each is in range, unless
            there is an `ignore_index`: then nobody has looked, and the kernel does.
        probs: q itself, in the shape of the logits; None if `index` is given.
        keep: `(1 - label_smoothing) weight`, (C,) in the accumulation dtype; None is 1 everywhere.
        spread: `label_smoothing / C * weight`, (C,); None is 0 everywhere.
        ignored: the rows that count nothing, (N,) or (N, L); None if there is none.
        outside: the rows whose class does not exist, which become NaN; None if there is none.
        ignore_index: the class index of rows that count nothing, with an `index` that may hold
            anything and in the place of both masks; None if these say it. Kernels for CPUs, where
            to look costs nothing, are never given it.
        room: how many columns lie behind each row of the logits, and of `dlogits`, that a kernel
            may read and write as it likes, so that it can move whole words.
    """

    index: Tensor | None = None
    probs: Tensor | None = None
    keep: Tensor | None = None
    spread: Tensor | None = None
    ignored: Tensor | None = None
    outside: Tensor | None = None
    ignore_index: int | None = None
    room: int = 0

    @classmethod
    def of(
        cls,
        target: IndexTarget | Tensor,
        num_classes: int,
        weight: Tensor | None,
        label_smoothing: float,
        dtype: torch.dtype,
    ) -> Mass:
        """Build it from a checked target.

        Args:
            target: a checked index target, (N, 1) or (N, 1, L), or class probabilities.
            num_classes: C.
            weight: a factor for each class, (C,), or None.
            label_smoothing: in [0, 1].
            dtype: to accumulate in.
        """
        keep = None if weight is None else weight.to(dtype)
        spread = None
        if label_smoothing > 0:
            place = target if isinstance(target, torch.Tensor) else target.wanted
            full = torch.ones((), dtype=dtype, device=place.device).expand(num_classes)
            full = full if keep is None else keep
            keep, spread = full * (1 - label_smoothing), full * (label_smoothing / num_classes)
        if isinstance(target, torch.Tensor):
            return cls(probs=target, keep=keep, spread=spread)
        if not target.is_seen:
            index = target.wanted.squeeze(1)
            return cls(index, keep=keep, spread=spread, ignore_index=target.ignore_index)
        safe, *masks = target.parts
        ignored, outside = (None if mask is None else mask.squeeze(1) for mask in masks)
        return cls(safe.squeeze(1), None, keep, spread, ignored, outside)

    @property
    def is_plain(self) -> bool:
        """Whether the mass is 1 at a class index, and 0 elsewhere."""
        return self.index is not None and self.keep is None and self.spread is None

    def dense(self, scores: Tensor, block: Any = ...) -> Tensor | None:
        """Return the mass beside what a class index has, broadcast to the scores; None is 0.

        Args:
            scores: of the rows, in the dtype to compute in.
            block: which of the probabilities are theirs.
        """
        spread = per_class(self.spread, scores)
        if self.probs is None:
            return spread
        keep, dense = per_class(self.keep, scores), self.probs[block].to(scores.dtype)
        dense = dense if keep is None else dense * keep
        return dense if spread is None else dense + spread

    def narrow_classes(self, classes: slice) -> Mass:
        """Return the mass of some classes, to which the probabilities are narrowed already.

        An index counts from their first: it may lie in front of them, or behind.
        """
        index = None if self.index is None else self.index - classes.start
        keep, spread = (
            None if values is None else values[classes] for values in (self.keep, self.spread)
        )
        return replace(self, index=index, keep=keep, spread=spread)

    def narrow(self, rows: slice) -> Mass:
        """Return the mass of some rows."""
        names = ("index", "probs", "ignored", "outside")
        parts = {name: getattr(self, name) for name in names}
        some = {name: part[rows] for name, part in parts.items() if part is not None}
        return replace(self, **some)


class Rows(NamedTuple):
    """What a kernel knows of each row after one pass, in the accumulation dtype.

    Args:
        loss: in nats, with class weights, before any reduction.
        largest: m, the largest logit.
        total: S, the sum of `exp(logits - m)`, at least 1.
        others: S without the anchor: the target, or with probabilities the largest logit.
    """

    loss: Tensor
    largest: Tensor
    total: Tensor
    others: Tensor

    @property
    def lse(self) -> Tensor:
        """The log-sum-exp of each row; 0 if the row is ignored."""
        return self.largest + self.total.log()

    def narrow(self, rows: slice) -> Rows:
        """Return some of the rows."""
        return Rows(*(values[rows] for values in self))

    @classmethod
    def concatenate(cls, found: list[Rows]) -> Rows:
        """Return the rows of all chunks, one chunk after the other."""
        if len(found) == 1:
            return found[0]
        columns = zip(*found, strict=True)
        return cls(*(torch.cat(values) for values in columns))
