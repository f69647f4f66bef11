"""Losses whose value and gradient come from kernels, as one node of the autograd graph.

A kernel is an optimisation of the readable form, never another definition: what the node cannot do
(a gradient of the gradient, `torch.func`, forward mode, tracing) the readable form does.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.autograd import forward_ad

from softonce.losses.kernels.choice import find_kernel
from softonce.losses.kernels.memory import in_huge_pages
from softonce.losses.row_maths import (
    HALF_DTYPES,
    IndexTarget,
    accumulation_dtype,
    is_in_autocast,
)
from softonce.losses.rows.checks import is_recorded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor

    from softonce.losses.rows.objective import Loss, Objective


class Problem(Protocol):
    """A loss as a function of some tensors, with a readable form and a fast one."""

    @property
    def objective(self) -> Objective:
        """Target and options."""

    def readable(self, *tensors: Any) -> Loss:
        """Return the loss by plain maths."""

    def value(self, tensors: tuple[Any, ...], needs: Sequence[bool]) -> tuple[Loss, Any]:
        """Return the loss, and what its gradient can be made from."""

    def gradient(
        self,
        tensors: tuple[Any, ...],
        needs: Sequence[bool],
        kept: Any,
        upstream: Sequence[Tensor | None],
    ) -> Sequence[Tensor | None]:
        """Return the gradient of the tensors that need one.

        Args:
            tensors: what the loss is a function of.
            needs: which of them need a gradient.
            kept: what `value` returned, to be used up; None if that has happened.
            upstream: the gradient of the loss, and of the log-sum-exp.
        """


def fused(problem: Problem, *tensors: Tensor | None) -> Loss:
    """Return the loss of the tensors by its kernels, if `can_fuse` says that they can do it.

    Only a loss that somebody can differentiate becomes a node of the graph: inside of a node torch
    still says that a Parameter needs a gradient, under `no_grad` too.
    """
    if not needs_gradient(*tensors):
        with without_autocast(problem.objective.device.type):
            return problem.value(tensors, [False] * len(tensors))[0]
    loss: Loss = _Fused.apply(problem, *tensors)  # type: ignore[no-untyped-call] # torch's own
    return loss


def needs_gradient(*tensors: Tensor | None) -> bool:
    """Return whether a gradient can be asked for of what is made from the tensors."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def can_fuse(objective: Objective, *tensors: Tensor | None) -> bool:
    """Return whether kernels can compute it: ordinary tensors that hold values, in eager mode."""
    if is_transformed() or is_recorded():
        return False
    target, weight = objective.target, objective.weight
    mine = (target.wanted if isinstance(target, IndexTarget) else target, weight)
    if any(t is not None and (t.requires_grad or not _is_ordinary(t)) for t in mine):
        return False
    return all(t is None or _is_ordinary(t) for t in tensors)


def is_transformed() -> bool:
    """Return whether `torch.func` or forward mode looks at what is computed."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0  # noqa: SLF001


def _is_ordinary(tensor: Tensor) -> bool:
    is_plain = type(tensor) in (torch.Tensor, torch.nn.Parameter)
    return is_plain and find_kernel(tensor) is not None


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, problem: Problem, *tensors: Tensor | None) -> Loss:
        ctx.problem = problem
        ctx.save_for_backward(*tensors, *problem.objective.given)
        ctx.set_materialize_grads(False)
        with without_autocast(problem.objective.device.type):  # it chose the dtypes
            loss, ctx.kept = problem.value(tensors, ctx.needs_input_grad[1:])
        if isinstance(loss, tuple):
            ctx.mark_non_differentiable(*(made for made in loss if not made.is_floating_point()))
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        needs = ctx.needs_input_grad[1:]
        tensors = ctx.saved_tensors[: len(needs)]  # raises if one, or the target, was changed since
        if all(gradient is None for gradient in upstream):
            return None, *[None] * len(tensors)
        if torch.is_grad_enabled():  # the gradient needs a graph itself
            return None, *readable_gradient(ctx.problem, tensors, needs, upstream)
        kept, ctx.kept = ctx.kept, None
        return None, *ctx.problem.gradient(tensors, needs, kept, upstream)


def without_autocast(device: str) -> AbstractContextManager[Any]:
    """Return a context without autocast; free of cost if autocast is off."""
    return torch.autocast(device, enabled=False) if is_in_autocast(device) else nullcontext()


def readable_gradient(
    problem: Problem,
    tensors: tuple[Tensor | None, ...],
    needs: Sequence[bool],
    upstream: tuple[Tensor | None, ...],
) -> list[Tensor | None]:
    """Return the gradients of the tensors that need one, which have gradients themselves."""
    loss = problem.readable(*tensors)
    outputs = loss if isinstance(loss, tuple) else (loss,)
    pairs = [(o, u) for o, u in zip(outputs, upstream, strict=True) if u is not None]
    wanted = [t for t, need in zip(tensors, needs, strict=True) if need and t is not None]
    found = iter(
        torch.autograd.grad(
            [output for output, _ in pairs],
            wanted,
            [gradient for _, gradient in pairs],
            create_graph=True,
            allow_unused=True,
        )
    )
    return [next(found) if need else None for need in needs]


@dataclass(frozen=True)
class LogitsProblem:
    """The loss of given logits, (N, C) or (N, C, L)."""

    objective: Objective

    def readable(self, logits: Tensor) -> Loss:
        """Return the loss by plain maths."""
        return self.objective.readable(logits)

    def value(self, tensors: tuple[Any, ...], needs: Sequence[bool]) -> tuple[Loss, Any]:
        """Make the gradient with the loss if one number is upstream of it."""
        logits: Tensor = tensors[0]
        scale, dlogits = None, None
        if needs[0] and makes_gradient_with_loss(self.objective, logits):
            dlogits = in_huge_pages(torch.empty_like(logits, memory_format=torch.contiguous_format))
            scale = self.objective.scale(logits.numel() // logits.shape[1])
        loss_only = not needs[0] and not self.objective.options.return_lse
        rows = self.objective.kernel(logits).forward_rows(
            logits, self.objective.mass, scale=scale, dlogits=dlogits, loss_only=loss_only
        )
        return self.objective.reduce(rows), (rows, dlogits)

    def gradient(
        self,
        tensors: tuple[Any, ...],
        needs: Sequence[bool],
        kept: Any,
        upstream: Sequence[Tensor | None],
    ) -> list[Tensor | None]:
        """Scale the gradient that is there, or make it."""
        logits: Tensor = tensors[0]
        rows, dlogits = self.value(tensors, needs)[1] if kept is None else kept
        if dlogits is not None:
            factor = upstream[0]
            if factor is None or is_one(factor):
                return [dlogits]
            if logits.dtype not in HALF_DTYPES:
                return [dlogits.mul_(factor)]
            self._write_scaled(logits, factor, dlogits)
            return [dlogits]
        dlogits = in_huge_pages(torch.empty_like(logits))
        of_loss, of_lse = self.objective.upstream_of_rows(upstream, rows.loss)
        self.objective.kernel(logits).backward_rows(
            logits, self.objective.mass, rows, dlogits, upstream=of_loss, upstream_lse=of_lse
        )
        return [dlogits]

    def _write_scaled(self, logits: Tensor, factor: Tensor, dlogits: Tensor) -> None:
        """Make the gradient again, times a factor: in half precision it would round twice."""
        scale = self.objective.scale(logits.numel() // logits.shape[1])
        scale = factor.to(self.objective.compute_dtype) * (1 if scale is None else scale)
        self.objective.kernel(logits).forward_rows(
            logits, self.objective.mass, scale=scale, dlogits=dlogits
        )


def loss_of_logits(logits: Tensor, objective: Objective) -> Loss:
    """Return the loss of logits, (N, C) or (N, C, L), by the fastest way that is exact."""
    if accumulation_dtype(logits.dtype) != objective.compute_dtype:
        logits = logits.to(objective.compute_dtype)
    if logits.numel() == 0 or not can_fuse(objective, logits):
        return objective.readable(logits)
    return fused(LogitsProblem(objective), logits)


def makes_gradient_with_loss(objective: Objective, logits: Tensor) -> bool:
    """Return whether one number is upstream of all rows, so that their gradient may wait for it.

    On a GPU a second pass is cheaper than the memory; in float16 the 1 / N would underflow.
    """
    return objective.is_plain_sum and logits.device.type == "cpu" and logits.dtype != torch.float16


def is_one(factor: float | Tensor) -> bool:
    """Return whether a factor is known to be 1, as a loss's upstream gradient nearly always is."""
    if isinstance(factor, float):
        return factor == 1
    return factor.device.type == "cpu" and factor.item() == 1
