"""The best head for given features, by L-BFGS; and how their nearest neighbours do without one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from softonce.distributed import rank, sum_over_processes_, world_size
from softonce.losses import linear_cross_entropy

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    from torch import nn

    from softonce.training.objective import Objective

NUM_NEIGHBOURS, SHARPNESS = 20, 0.07

MAX_STEPS = 1000
"""Of a fit; one that takes as many has not converged."""
# A fit may end so far above its minimum, in nats, which no printed digit shows. The penalty makes
# the problem strongly convex: a gradient g leaves at most g^2 / (2 l2).
_GAP = 1e-8
_MAX_GRADIENT = 1e-5
_LEAST_CHANGE = {torch.float64: 1e-13, torch.float32: 1e-9}
_HELD_BYTES = 2**27  # features up to this size are converted once; folds hold them five times
_BLOCK_BYTES = 2**26  # larger ones, so much at a time and step


@dataclass(frozen=True)
class Scaling:
    """What makes features of any network alike: a centre, and one length for all directions.

    A head of scaled features is a head of the features themselves, and its penalty the same but for
    a factor: the strengths mean the same for every network.

    Args:
        centre: (D,) the mean.
        length: the root of the mean squared distance from it.
    """

    centre: Tensor
    length: float

    @classmethod
    def of(cls, features: npt.NDArray[np.floating], device: torch.device) -> Scaling:
        """Measure features (N, D); of many processes each looks at a share."""
        sums = torch.zeros(2, features.shape[1], dtype=torch.float64)
        own = np.array_split(np.arange(len(features)), world_size())[rank()]
        step = max(1, _BLOCK_BYTES // (8 * features.shape[1]))
        for start in range(0, len(own), step):
            block = torch.from_numpy(features[own[start : start + step]]).double()
            sums += torch.stack([block.sum(dim=0), block.square().sum(dim=0)])
        mean, square = sum_over_processes_(sums.to(device, _dtype_on(device))) / len(features)
        spread = float((square - mean.square()).clamp_min(0).sum().sqrt())
        return cls(mean, spread or 1.0)


@dataclass(frozen=True)
class FeatureRows:
    """Some rows of features with their classes; of many processes, each has a share of them.

    Args:
        features: (N, D).
        target: (N,) class indices.
        rows: which of them.
        device: where to compute: in float64 on a CPU, else in float32.
    """

    features: npt.NDArray[np.floating]
    target: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    device: torch.device

    @property
    def dtype(self) -> torch.dtype:
        """What is computed in."""
        return _dtype_on(self.device)

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield features and classes of this process's share."""
        yield from self._held if self._held is not None else self._read()

    @cached_property
    def _held(self) -> list[tuple[Tensor, Tensor]] | None:
        size = len(self._own_rows) * self.features.shape[1] * self.dtype.itemsize
        return list(self._read()) if size <= _HELD_BYTES else None

    @cached_property
    def _own_rows(self) -> npt.NDArray[np.int64]:
        return np.array_split(self.rows, world_size())[rank()]

    def _read(self) -> Iterator[tuple[Tensor, Tensor]]:
        step = max(1, _BLOCK_BYTES // (self.dtype.itemsize * self.features.shape[1]))
        for start in range(0, len(self._own_rows), step):
            rows = self._own_rows[start : start + step]
            block = torch.from_numpy(self.features[rows]).to(self.device, self.dtype)
            yield block, torch.from_numpy(self.target[rows]).to(self.device)


def fit_head_(
    head: nn.Linear, rows: FeatureRows, scaling: Scaling, objective: Objective, l2: float
) -> int:
    """Fill a head with the minimum of the mean loss plus `l2 / 2` times the squared weights.

    The weights are those of scaled features, and the bias is not penalised. The start is what the
    head holds, which changes how soon the one minimum is reached.

    Args:
        head: features -> logits.
        rows: to learn from.
        scaling: of all features.
        objective: the loss, of softonce.
        l2: weight of the penalty, above 0.

    Returns:
        The number of steps; `1000` if the fit has not converged.
    """
    problem = _Problem(rows, scaling, objective, l2)
    weight = (head.weight.detach().to(rows.dtype) * scaling.length).requires_grad_()
    unknowns = [weight]
    if head.bias is not None:
        at_centre = head.bias.detach().to(rows.dtype) + head.weight.detach().to(
            rows.dtype
        ) @ scaling.centre.to(rows.dtype)
        unknowns.append(at_centre.requires_grad_())
    optimizer = torch.optim.LBFGS(
        unknowns,
        max_iter=MAX_STEPS,
        tolerance_grad=min(math.sqrt(2 * l2 * _GAP), _MAX_GRADIENT),
        tolerance_change=_LEAST_CHANGE[rows.dtype],
        history_size=20,
        line_search_fn="strong_wolfe",
    )
    optimizer.step(lambda: problem.with_gradient(unknowns))  # type: ignore[no-untyped-call] # torch's
    fitted = problem.head_of(*unknowns)
    with torch.no_grad():
        for parameter, value in zip((head.weight, head.bias), fitted, strict=True):
            if parameter is not None and value is not None:
                parameter.copy_(value)
    return int(optimizer.state[weight]["n_iter"])


def measure_head(head: nn.Linear, rows: FeatureRows, objective: Objective) -> tuple[float, float]:
    """Return the mean loss of a head in nats, and the share that it gets right."""
    sums = torch.zeros(3, dtype=rows.dtype, device=rows.device)
    bias = None if head.bias is None else head.bias.detach().to(rows.dtype)
    for features, target in rows.blocks():
        total, pred = _loss(features, head.weight.detach().to(rows.dtype), bias, target, objective)
        mass = objective.mass(target)
        sums += torch.stack([total, mass.to(total.dtype), (pred == target).sum().to(total.dtype)])
    loss, mass, correct = sum_over_processes_(sums).tolist()
    return loss / mass, correct / len(rows.rows)


@dataclass
class _Problem:
    """What is minimised, as a function of the head of scaled features."""

    rows: FeatureRows
    scaling: Scaling
    objective: Objective
    l2: float

    @cached_property
    def mass(self) -> Tensor:
        masses = [self.objective.mass(target) for _, target in self.rows.blocks()]
        own = torch.stack(masses).sum() if masses else torch.zeros((), device=self.rows.device)
        return sum_over_processes_(own.to(self.rows.dtype))

    def head_of(self, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias of the features as they are."""
        plain = weight / self.scaling.length
        return plain, None if bias is None else bias - plain @ self.scaling.centre.to(plain.dtype)

    def with_gradient(self, unknowns: list[Tensor]) -> Tensor:
        """Return the value over all processes, with its gradient in the unknowns."""
        gradients = [torch.zeros_like(each) for each in unknowns]
        value = torch.zeros((), dtype=self.rows.dtype, device=self.rows.device)
        for features, target in self.rows.blocks():
            loss = _loss(features, *self.head_of(*unknowns), target, self.objective)[0] / self.mass
            for gradient, part in zip(gradients, torch.autograd.grad(loss, unknowns), strict=True):
                gradient.add_(part)
            value += loss.detach()
        for each in (value, *gradients):
            sum_over_processes_(each)
        weight = unknowns[0].detach()
        gradients[0] += self.l2 * weight
        for each, gradient in zip(unknowns, gradients, strict=True):
            each.grad = gradient
        return value + self.l2 / 2 * weight.square().sum()


def _loss(
    features: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, objective: Objective
) -> tuple[Tensor, Tensor]:
    """Return the sum of the losses, and the predicted classes."""
    options: dict[str, Any] = {"label_smoothing": objective.label_smoothing, "reduction": "sum"}
    if objective.weight is not None:
        options["weight"] = objective.weight.to(features.dtype)
    total, pred = linear_cross_entropy(
        features, weight, target, linear_bias=bias, return_pred=True, **options
    )
    return total, pred


def nearest_neighbours(
    train: npt.NDArray[np.floating],
    train_target: npt.NDArray[np.int64],
    val: npt.NDArray[np.floating],
    num_classes: int,
    device: torch.device,
) -> Tensor:
    """Return the class of each row of val by a vote of the rows of train that are most like it.

    Each of the 20 rows of the largest cosine votes with the weight exp(cosine / 0.07).

    Args:
        train: (N, D) features.
        train_target: (N,) their classes.
        val: (M, D) features.
        num_classes: C.
        device: where to compute.

    Returns:
        (M,) class indices.

    Source:
        Wu et al. 2018 (arXiv 1805.01978), section 3.4; the 20 neighbours of Caron et al. 2021
        (arXiv 2104.14294), section 4.1.
    """
    step = max(1, _BLOCK_BYTES // (4 * max(train.shape[1], 1024)))
    target = torch.from_numpy(train_target).to(device)
    found = [torch.empty(0, dtype=torch.int64)]
    for begin in range(0, len(val), 1024):
        asked = _unit(val[begin : begin + 1024], device)
        cosine = asked.new_empty((len(asked), 0))
        votes = target.new_empty((len(asked), 0))
        for start in range(0, len(train), step):
            cosines = asked @ _unit(train[start : start + step], device).T
            classes = target[start : start + step].expand(len(asked), -1)
            both, theirs = torch.cat([cosine, cosines], dim=1), torch.cat([votes, classes], dim=1)
            cosine, order = both.topk(min(NUM_NEIGHBOURS, both.shape[1]), dim=1)
            votes = theirs.gather(1, order)
        scores = asked.new_zeros((len(asked), num_classes))
        scores.scatter_add_(1, votes, ((cosine - 1) / SHARPNESS).exp())
        found.append(scores.argmax(dim=1).cpu())
    return torch.cat(found)


def _unit(rows: npt.NDArray[np.floating], device: torch.device) -> Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(rows).to(device).float(), dim=1)


def _dtype_on(device: torch.device) -> torch.dtype:
    return torch.float64 if device.type == "cpu" else torch.float32
