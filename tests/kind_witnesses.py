"""Random scores of each kind, and whether scores are of a kind: what the rows sum to."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from softonce.checker.kinds import Kind

N, C = 7, 5
CLOSE = 1e-4


def sample(kind: Kind, shape: tuple[int, ...] = (N, C)) -> Tensor:
    """Return random scores of one kind, the classes on dimension 1."""
    raw = torch.randn(shape, generator=torch.Generator().manual_seed(int(kind))) * 3
    made = {
        Kind.LOGITS: raw,
        Kind.NONNEG: raw.relu(),
        Kind.BOUNDED: raw.tanh(),
        Kind.LOGP: raw.log_softmax(1),
        Kind.P: raw.softmax(1),
        Kind.BLOGP: F.logsigmoid(raw),
        Kind.BP: raw.sigmoid(),
        Kind.ONEHOT: F.one_hot(raw.argmax(1), raw.shape[1]).movedim(-1, 1).float(),
        Kind.HARD: (raw > 0).float(),
        Kind.INDEX: raw.argmax(1, keepdim=True).expand(shape),
        Kind.LSE: raw.logsumexp(1, keepdim=True).expand(shape),
        Kind.OTHER: raw * 7 + 1,
    }
    return made[kind]


def holds(kind: Kind, scores: Tensor, dim: int = 1) -> bool:
    """Whether the scores are of the kind; LOGITS, LSE and OTHER promise nothing about values."""
    close = CLOSE if scores.dtype not in (torch.float16, torch.bfloat16) else 2e-2
    scores = scores.double()
    sums_to_one = (scores.sum(dim) - 1).abs().max() < close if scores.ndim > dim else False
    whole = bool((scores == scores.round()).all())
    within = bool((scores >= -close).all() and (scores <= 1 + close).all())
    claims = {
        Kind.NONNEG: bool((scores >= 0).all()),
        Kind.BOUNDED: bool((scores.abs() <= 1).all()),
        Kind.P: within and bool(sums_to_one),
        Kind.LOGP: bool(scores.logsumexp(dim).abs().max() < close) if scores.ndim > dim else False,
        Kind.BLOGP: bool((scores <= close).all()),
        Kind.BP: within,
        Kind.ONEHOT: whole and within and bool(sums_to_one),
        Kind.HARD: whole,
        Kind.INDEX: whole,
    }
    return claims.get(kind, True)
