"""ShardedLinear: a head of which each process holds some classes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from softonce.groups import gather_rows, num_processes, own_rank
from softonce.losses.sharding.collectives import gather_columns, to_parts
from softonce.losses.sharding.loss import sharded_linear_cross_entropy
from softonce.losses.sharding.partition import class_range

if TYPE_CHECKING:
    import torch.distributed as dist
    from torch import Tensor

    from softonce.shapes import ClassIndex, Features, Logits, Probs

_NUMBERS_PER_DRAW = 2**20
"""Numbers of the whole weight that are drawn at a time: 4 MiB, little beside any share of a head
that is worth dividing, and enough that torch's generator and not Python takes the time."""


class ShardedLinear(nn.Module):
    """An `nn.Linear(in_features, num_classes)` of which each process holds an even share.

    Its parameters `weight`, (class_stop - class_start, D), and `bias` belong to this rank only:
    keep them out of DistributedDataParallel, and give each rank's optimizer its own.

    Args:
        in_features: D, the number of features that the head takes.
        num_classes: C, the number of all classes.
        bias: whether the head adds a bias.
        group: the processes that share the classes; None is all of them.
        device: where the parameters lie.
        dtype: of the parameters.

    With the same seed on all ranks the parameters start as the slices of an `nn.Linear` on the CPU,
    bit for bit, whatever the device and the number of processes; the whole is never in memory.

    Example:
        >>> head = ShardedLinear(4, 10)  # without a process group, this process holds all
        >>> loss = head.loss(torch.ones(2, 4), torch.tensor([0, 9]), label_smoothing=0.1)
        >>> loss.backward()
        >>> head.weight.grad.shape
        torch.Size([10, 4])
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        bias: bool = True,
        group: dist.ProcessGroup | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.num_classes = num_classes
        self.group = group
        self.class_start, self.class_stop = self._range(own_rank(group))
        num_own = self.class_stop - self.class_start
        self.weight = nn.Parameter(torch.empty(num_own, in_features, device=device, dtype=dtype))
        own_bias = torch.empty(num_own, device=device, dtype=dtype) if bias else None
        self.bias = None if own_bias is None else nn.Parameter(own_bias)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the parameters as `nn.Linear` does, from torch's generator of the CPU."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
        self._draw_(self.weight, bound)
        if self.bias is not None:
            self._draw_(self.bias, bound)

    def forward(self, features: Features) -> Logits:
        """Return the logits of all classes, (N, C), on every rank: for evaluation.

        They are differentiable, to any order, and as large as the sharded loss avoids: train with
        `loss`. All ranks have the same features.
        """
        rows = to_parts(features, self.group).reshape(-1, self.in_features)
        own = F.linear(rows, self.weight, self.bias)
        logits = gather_columns(own, self._counts(), self.group)
        return logits.reshape(*features.shape[:-1], self.num_classes)

    def loss(self, features: Features, target: ClassIndex | Probs, **options: Any) -> Tensor:
        """Return `sharded_linear_cross_entropy` of this head, with its options."""
        loss: Tensor = sharded_linear_cross_entropy(
            features, self.weight, target, **self._shard(), **options
        )
        return loss

    def loss_and_pred(
        self, features: Features, target: ClassIndex | Probs, **options: Any
    ) -> tuple[Tensor, Tensor]:
        """Return the same, and the class of each row's largest logit, (N,)."""
        return sharded_linear_cross_entropy(
            features, self.weight, target, return_pred=True, **self._shard(), **options
        )

    def _shard(self) -> dict[str, Any]:
        return {
            "class_start": self.class_start,
            "class_stop": self.class_stop,
            "group": self.group,
            "linear_bias": self.bias,
        }

    @torch.no_grad()
    def gather(self) -> nn.Linear:
        """Return the head with all classes, on every rank, as a file of the model wants it."""
        whole = nn.Linear(self.in_features, self.num_classes, self.bias is not None, device="meta")
        whole.weight = nn.Parameter(self.whole(self.weight))
        if self.bias is not None:
            whole.bias = nn.Parameter(self.whole(self.bias))
        return whole

    @torch.no_grad()
    def whole(self, part: Tensor) -> Tensor:
        """Return the rows of all classes, on every rank, of a tensor with a row for each own class.

        A parameter is such a tensor, and so is what an optimizer holds for it.
        """
        return gather_rows(part, self._counts(), self.group)

    def part(self, whole: Tensor) -> Tensor:
        """Return the rows of this rank's classes."""
        return whole[self.class_start : self.class_stop]

    @classmethod
    @torch.no_grad()
    def from_linear(
        cls, linear: nn.Linear, *, group: dist.ProcessGroup | None = None
    ) -> ShardedLinear:
        """Return this rank's share of a head that every rank holds whole."""
        head = cls(
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            group=group,
            device="meta",
        )
        head.weight = nn.Parameter(head.part(linear.weight).clone())
        if linear.bias is not None:
            head.bias = nn.Parameter(head.part(linear.bias).clone())
        return head

    def extra_repr(self) -> str:
        """Return the sizes, and which classes are here."""
        return (
            f"in_features={self.in_features}, num_classes={self.num_classes}, "
            f"bias={self.bias is not None}, classes=[{self.class_start}, {self.class_stop})"
        )

    def _num_ranks(self) -> int:
        return num_processes(self.group)

    def _counts(self) -> list[int]:
        return [stop - start for start, stop in map(self._range, range(self._num_ranks()))]

    def _range(self, rank: int) -> tuple[int, int]:
        return class_range(self.num_classes, rank, self._num_ranks())

    def _draw_(self, own: Tensor, bound: float) -> None:
        """Draw the parameter of all classes in blocks, and keep the own part."""
        if own.is_meta:
            return
        step = max(1, _NUMBERS_PER_DRAW // max(1, math.prod(own.shape[1:])))
        for start in range(0, self.num_classes, step):
            stop = min(start + step, self.num_classes)
            drawn = torch.empty(stop - start, *own.shape[1:], dtype=own.dtype)
            drawn.uniform_(-bound, bound)
            first, last = max(start, self.class_start), min(stop, self.class_stop)
            if first < last:
                place = slice(first - self.class_start, last - self.class_start)
                own[place] = drawn[first - start : last - start].to(own.device)
