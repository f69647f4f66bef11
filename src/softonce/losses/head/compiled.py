"""`linear_cross_entropy` as an operator of torch, for programs that are compiled.

A compiler cannot look into the loops over chunks, and need not: to it the loss is one operator with
a known shape, which computes inside as in eager mode. Under `torch.compile` these have a first
derivative; derivatives of higher order are for eager mode.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from softonce.losses.head.problem import HeadProblem
from softonce.losses.row_maths import accumulation_dtype
from softonce.losses.rows.autograd import needs_gradient
from softonce.losses.rows.objective import objective_of
from softonce.losses.rows.options import LossOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from softonce.losses.rows.objective import Loss, Objective


_TENSORS = "Tensor features, Tensor weight, Tensor? bias, Tensor target, Tensor? class_weight"
_OPTIONS = (
    "str reduction, int ignore_index, float label_smoothing, float? softcap, "
    "ScalarType dtype, bool[3] needs"
)


def linear_cross_entropy(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    class_weight: Tensor | None,
    options: LossOptions,
    dtype: torch.dtype,
) -> Tensor:
    """Return the loss of features (N, D) and weight (C, D) through the operator."""
    needs = [needs_gradient(tensor) for tensor in (features, weight, bias)]
    spelled = (options.reduction, options.ignore_index, options.label_smoothing, options.softcap)
    tensors = (features, weight, bias, target, class_weight)
    loss: Tensor = _forward(*tensors, *spelled, dtype, needs)[0]
    return loss


@torch.library.custom_op(
    "softonce::linear_cross_entropy",
    mutates_args=(),
    schema=f"({_TENSORS}, {_OPTIONS}) -> (Tensor, Tensor, Tensor, Tensor)",
)
def _forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the loss, and the gradients of features, weight and bias if they are made.

    These are the sums, in the accumulation dtype: what is upstream comes before they are rounded.
    """
    tensors, needs, problem = _read(arguments)
    features, weight, bias = tensors
    kept = problem.objective.kept_rows()
    if kept is None or len(kept) == 0:
        found, (_, sums) = problem.value(tensors, needs)
        return _single(found), *_fill([None] * 3 if sums is None else sums.scale_(), features)
    part = replace(problem, objective=problem.objective.rows(kept))
    found, (_, sums) = part.value((features.index_select(0, kept), weight, bias), needs)
    parts = [None] * 3 if sums is None else sums.scale_()
    parts[0] = _widen(parts[0], kept, features)
    return _single(problem.objective.widen(found, kept)), *_fill(parts, features)


@torch.library.custom_op(
    "softonce::linear_cross_entropy_backward",
    mutates_args=(),
    schema=f"(Tensor upstream, {_TENSORS}, {_OPTIONS}) -> (Tensor, Tensor, Tensor)",
)
def _backward(upstream: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients if each row has its own factor upstream."""
    tensors, needs, problem = _read(arguments)
    features, weight, bias = tensors
    kept = problem.objective.kept_rows()
    if kept is None or len(kept) == 0:
        return _fill(problem.gradient(tensors, needs, None, [upstream]), features)
    part = replace(problem, objective=problem.objective.rows(kept))
    tensors = (features.index_select(0, kept), weight, bias)
    upstream = upstream.index_select(0, kept) if upstream.dim() else upstream
    of_features, *others = part.gradient(tensors, needs, None, [upstream])
    return _fill([_widen(of_features, kept, features), *others], features)


def _read(arguments: Sequence[Any]) -> tuple[tuple[Any, Any, Any], Sequence[bool], HeadProblem]:
    """Return features, weight and bias, which of them need a gradient, and the problem."""
    features, weight, bias, target, class_weight, *spelled, dtype, needs = arguments
    objective: Objective = objective_of(
        torch.Size((features.shape[0], weight.shape[0])),
        target,
        class_weight,
        LossOptions(*spelled),
        like=features.new_empty((), dtype=accumulation_dtype(dtype)),
    )
    return (features, weight, bias), needs, HeadProblem(objective, dtype)


@_forward.register_fake
def _(features: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Any:
    reduction, dtype, needs = options[2], *options[-2:]
    shape = (features.shape[0],) if reduction == "none" else ()
    loss = features.new_empty(shape, dtype=accumulation_dtype(dtype))
    tensors, made = (features, weight, bias), [need and reduction != "none" for need in needs]
    return loss, *(
        _nothing(features)
        if tensor is None or not is_made
        else torch.empty_like(tensor, dtype=accumulation_dtype(tensor.dtype))
        for tensor, is_made in zip(tensors, made, strict=True)
    )


@_backward.register_fake
def _(*arguments: Any) -> Any:
    tensors, needs = arguments[1:4], arguments[-1]
    return tuple(
        _nothing(tensors[0]) if tensor is None or not need else torch.empty_like(tensor)
        for tensor, need in zip(tensors, needs, strict=True)
    )


def _nothing(features: Tensor) -> Tensor:
    """Return what stands for a gradient that is not made, since an operator returns no None."""
    return features.new_empty(0)


def _fill(parts: Sequence[Tensor | None], features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    first, second, third = (_nothing(features) if part is None else part for part in parts)
    return first, second, third


def _single(loss: Loss) -> Tensor:
    assert isinstance(loss, Tensor)  # noqa: S101 - the operator is asked for nothing else
    return loss


def _widen(part: Tensor | None, kept: Tensor, features: Tensor) -> Tensor | None:
    """Return the gradient of all features, which lies in memory as they do: 0 in ignored rows."""
    if part is None:
        return None
    return torch.zeros_like(features, dtype=part.dtype).index_copy_(0, kept, part)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:5], *output[1:])
    ctx.options = inputs[5:]


def _differentiate(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[Any, ...]:
    inputs, made = ctx.saved_tensors[:5], ctx.saved_tensors[5:]
    reduction, needs = ctx.options[0], ctx.options[-1]
    if reduction == "none":
        made = _backward(upstream, *inputs, *ctx.options)
    else:
        made = [
            part if tensor is None else (part * upstream).to(tensor.dtype)
            for part, tensor in zip(made, inputs[:3], strict=True)
        ]
    wanted = [part if need else None for part, need in zip(made, needs, strict=True)]
    return *wanted, *[None] * (2 + len(ctx.options))


_forward.register_autograd(_differentiate, setup_context=_save)
