"""`linear_cross_entropy` as an operator of torch, for programs that are compiled.

A compiler cannot look into the loops over chunks, and need not: to it the loss is one operator with
a known shape, which computes inside as in eager mode. Under `torch.compile` these have a first
derivative; derivatives of higher order are for eager mode.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - torch reads the annotations
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from softonce.losses.head import HeadProblem
from softonce.losses.objective import Objective, objective_of
from softonce.losses.reduction import accumulation_dtype

if TYPE_CHECKING:
    from softonce.shapes import Reduction


def linear_cross_entropy(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    class_weight: Tensor | None,
    *,
    ignore_index: int,
    label_smoothing: float,
    reduction: Reduction,
    dtype: torch.dtype,
) -> Tensor:
    """Return the loss of features (N, D) and weight (C, D) through the operator."""
    needs = [t is not None and t.requires_grad for t in (features, weight, bias)]
    options = (ignore_index, label_smoothing, reduction, dtype)
    tensors = (features, weight, bias, target, class_weight)
    loss: Tensor = _forward(*tensors, *options, needs if torch.is_grad_enabled() else [False] * 3)[
        0
    ]
    return loss


@torch.library.custom_op("softonce::linear_cross_entropy", mutates_args=())
def _forward(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    class_weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
    dtype: torch.dtype,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the loss, and the gradients of features, weight and bias where they are made."""
    tensors = (features, weight, bias)
    problem = _problem(
        tensors, target, class_weight, ignore_index, label_smoothing, reduction, dtype
    )
    loss, (_, sums) = problem.value(tensors, needs)
    return loss, *_in_place_of_none([None] * 3 if sums is None else sums, tensors)


@torch.library.custom_op("softonce::linear_cross_entropy_backward", mutates_args=())
def _backward(
    upstream: Tensor,
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    class_weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
    dtype: torch.dtype,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients where each row has its own factor upstream."""
    tensors = (features, weight, bias)
    problem = _problem(
        tensors, target, class_weight, ignore_index, label_smoothing, reduction, dtype
    )
    gradients = _in_place_of_none(problem.gradient(tensors, needs, None, [upstream]), tensors)
    return tuple(gradients)


@_forward.register_fake
def _(features: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Any:
    *_, reduction, dtype, needs = options
    shape = (features.shape[0],) if reduction == "none" else ()
    loss = features.new_empty(shape, dtype=accumulation_dtype(dtype))
    made = [need and reduction != "none" for need in needs]
    return loss, *_like((features, weight, bias), made)


@_backward.register_fake
def _(*arguments: Any) -> Any:
    return _like(arguments[1:4], arguments[-1])


def _like(tensors: Sequence[Tensor | None], made: Sequence[bool]) -> Any:
    return tuple(
        torch.empty_like(tensor) if is_made and tensor is not None else _nothing(tensors)
        for tensor, is_made in zip(tensors, made, strict=True)
    )


def _nothing(tensors: Sequence[Any]) -> Tensor:
    """Return what stands where no gradient is made, since an operator cannot return None."""
    nothing: Tensor = tensors[0].new_empty(0)
    return nothing


def _in_place_of_none(parts: Sequence[Tensor | None], tensors: Sequence[Any]) -> Any:
    return [
        _nothing(tensors) if part is None else part.to(tensor.dtype)
        for part, tensor in zip(parts, tensors, strict=True)
    ]


def _problem(
    tensors: tuple[Tensor, Tensor, Tensor | None],
    target: Tensor,
    class_weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    reduction: Any,
    dtype: torch.dtype,
) -> HeadProblem:
    features, weight, _ = tensors
    objective: Objective = objective_of(
        torch.Size((features.shape[0], weight.shape[0])),
        target,
        class_weight,
        like=features.new_empty((), dtype=accumulation_dtype(dtype)),
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
    return HeadProblem(objective, dtype)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:5], *output[1:])
    ctx.options = inputs[5:]


def _differentiate(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[Any, ...]:
    inputs, made = ctx.saved_tensors[:5], ctx.saved_tensors[5:]
    reduction, needs = ctx.options[2], ctx.options[-1]
    if reduction == "none":
        made = _backward(upstream, *inputs, *ctx.options)
    else:
        made = [part * upstream.to(part.dtype) for part in made]
    wanted = [part if need else None for part, need in zip(made, needs, strict=True)]
    return *wanted, *[None] * (2 + len(ctx.options))


_forward.register_autograd(_differentiate, setup_context=_save)
