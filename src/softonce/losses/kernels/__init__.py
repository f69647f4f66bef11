"""Row kernels: the loss and the gradient of many rows at once, faster than the readable form.

Each kernel equals `cross_entropy` of `functional.py`, and its tests say so. With the mass
`a[n, c] = keep[c] q[n, c] + spread[c]`, where q is the one-hot or the given target, `s = sum(a)`,
`d = logits - m` and `S = sum(exp(d))`, a row has the loss `s log S - sum(a d)` and the gradient
`s p - a`, with `p = exp(d) / S`. A kernel is a module of two functions:

    forward_rows(logits, mass, *, scale=None, dlogits=None) -> Rows
    backward_rows(logits, mass, rows, dlogits, *, upstream, upstream_lse=None) -> None

- `logits`: (N, C) or (N, C, L), of any float dtype; read once, never changed unless `dlogits` is
  the same tensor. Sums are made in single precision for half, else in the logits' own.
- `scale`: a float, or one factor for each row, for the gradient alone: `1 / total` for the mean.
- `dlogits`: where the gradient is written, `scale (s p - a)` or `upstream (s p - a) +
  upstream_lse p`, in its own dtype, rounded once. It may be `logits` itself.
- `upstream`, `upstream_lse`: a float, or one factor for each row, (N,) or (N, L).
- `Rows` holds what the gradient needs again, each (N,) or (N, L): never lse, which would lose a
  small loss under a large common offset.

Ignored rows get loss 0, m 0, S 1 and gradient 0, written and never multiplied; rows whose class is
outside get NaN. The target's own term is kept out of the sum, `others`, so that a confident row
keeps its loss `log1p(others)` and its gradient `-others / S`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Mass:
    """The effective target: `a[n, c] = keep[c] q[n, c] + spread[c]`.

    Args:
        index: class indices, (N,) or (N, L), each in range; None where `probs` is given.
        probs: q itself, in the shape of the logits; None where `index` is given.
        keep: `(1 - label_smoothing) weight`, (C,) in the accumulation dtype; None is 1 everywhere.
        spread: `label_smoothing / C * weight`, (C,); None is 0 everywhere.
        ignored: the rows that count nothing, (N,) or (N, L); None where there is none.
        outside: the rows whose class does not exist, which become NaN; None where there is none.
    """

    index: Tensor | None = None
    probs: Tensor | None = None
    keep: Tensor | None = None
    spread: Tensor | None = None
    ignored: Tensor | None = None
    outside: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Rows:
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
