"""sharded_linear_cross_entropy: linear_cross_entropy with the classes split over processes.

A chunk of rows at a time, each rank makes the logits of its classes and describes every row in six
numbers; one exchange of these, and each rank knows the loss and the gradient of its own logits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn, overload

import torch
from torch.autograd import Function

from softonce.errors import ArgumentError
from softonce.losses.head.parameters import Head, find_largest_factor
from softonce.losses.kernels.products import product_dtype
from softonce.losses.overrides import overridable
from softonce.losses.row_maths import is_in_autocast
from softonce.losses.rows.checks import check_tensors
from softonce.losses.rows.objective import NO_CLASS
from softonce.losses.rows.options import LossOptions
from softonce.losses.sharding.collectives import apply
from softonce.losses.sharding.partition import Arguments, agree_on_shards
from softonce.losses.sharding.rows import GivenLogits, run, set_up_rows

if TYPE_CHECKING:
    import torch.distributed as dist
    from torch import Tensor

    from softonce.losses.sharding.rows import ShardedRows, Source
    from softonce.shapes import ClassIndex, Features, Probs, Reduction


@overload
def sharded_linear_cross_entropy(
    features: Features,
    local_weight: Tensor,
    target: ClassIndex | Probs,
    *,
    class_start: int,
    class_stop: int,
    group: dist.ProcessGroup | None = None,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    rows_per_chunk: int | None = None,
    softcap: float | None = None,
    return_pred: Literal[False] = False,
) -> Tensor: ...


@overload
def sharded_linear_cross_entropy(
    features: Features,
    local_weight: Tensor,
    target: ClassIndex | Probs,
    *,
    class_start: int,
    class_stop: int,
    group: dist.ProcessGroup | None = None,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    rows_per_chunk: int | None = None,
    softcap: float | None = None,
    return_pred: Literal[True],
) -> tuple[Tensor, Tensor]: ...


@overridable
def sharded_linear_cross_entropy(
    features: Features,
    local_weight: Tensor,
    target: ClassIndex | Probs,
    *,
    class_start: int,
    class_stop: int,
    group: dist.ProcessGroup | None = None,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    rows_per_chunk: int | None = None,
    softcap: float | None = None,
    return_pred: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the cross-entropy of a linear head of which each process holds some classes.

    Equals `linear_cross_entropy(features, linear_weight, target, linear_bias=...)` of one process
    with the rows of all ranks, where rank r holds `linear_weight[class_start:class_stop]`. All
    ranks call it with the same features, target and options, and get the same bits.

    Args:
        features: what the head takes, (D,) or (N, D); `gather_rows` makes them from the rows that
            each process has of its own.
        local_weight: this rank's rows of the head's weight, (class_stop - class_start, D).
        target: class indices among all classes, () or (N,); or class probabilities, of all classes,
            (N, C), or of this rank's, (N, class_stop - class_start).
        class_start: the first of this rank's classes. The ranges of all ranks hold each class once,
            in any order; a range may be empty.
        class_stop: the class after the last of this rank's.
        group: the processes that share the classes; None is all of them, or only this one if
            there is no process group.
        linear_bias: this rank's part of the head's bias, (class_stop - class_start,).
        weight: a factor for each of all classes, (C,), as in `cross_entropy`.
        reduction: `mean` over the rows that are not ignored, `sum`, or `none`.
        ignore_index: rows with this class index have loss 0 and gradient 0, whatever their
            features hold; None is -100.
        label_smoothing: the share of the target that is spread evenly over all C classes.
        rows_per_chunk: how many rows of this rank's logits are in memory at a time; None takes what
            fits into 32 MiB, and at least 256.
        softcap: the bound of the logits, as in `cross_entropy`.
        return_pred: return the class of each row's largest logit as well, as
            `linear_cross_entropy` does: one exchange more a chunk.

    Returns:
        The loss in nats; in single precision if the features have half. Its gradients, on every
        rank, are those of one process: that of the features is whole and equal (summed over the
        ranks in at least single precision), those of weight and bias are this rank's own part. So
        the parameters below may be left to DistributedDataParallel, which averages equal gradients,
        and the head's must not be: it is no replica. Where the rows were gathered from the
        processes, `gather_rows` says how the gradient goes back.

    Raises:
        ArgumentError: on every rank, if shapes, options or class ranges do not fit one another,
            or, on the CPU, if a class index is out of range; on an accelerator that row becomes
            NaN. Also inside a torch.func transform, and by a second derivative: for these use
            `cross_entropy(head(features), target)` with a `ShardedLinear` head.

    Each call starts with one small exchange that compares the arguments of the ranks. With `mean`
    and `sum` the gradients are made in the forward pass, and `backward` exchanges nothing; with
    `none` it makes the logits again, and all ranks have to call it.

    Example:
        >>> features, head = torch.tensor([[1.0, 2.0]]), torch.eye(2)
        >>> target = torch.tensor([1])
        >>> sharded_linear_cross_entropy(features, head, target, class_start=0, class_stop=2)
        tensor(0.3133)

    Source:
        An et al., "Partial FC", section 3 (https://arxiv.org/abs/2010.05222); Shoeybi et al.,
        "Megatron-LM", section 3 (https://arxiv.org/abs/1909.08053).
    """
    check_tensors(features=features, local_weight=local_weight, target=target)
    arguments = Arguments(
        features=features,
        local_weight=local_weight,
        target=target,
        linear_bias=linear_bias,
        weight=weight,
        class_start=class_start,
        class_stop=class_stop,
        options=LossOptions(
            reduction, -100 if ignore_index is None else ignore_index, label_smoothing, softcap
        ),
        rows_per_chunk=rows_per_chunk,
    )
    loss, pred = sharded_loss(arguments, group, return_pred=return_pred)
    return loss if pred is None else (loss, pred)


class _ShardedLoss(Function):
    """The loss, whose gradients are made in forward if it is reduced, else in backward."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        plan: ShardedRows,
        has_pred: bool,
    ) -> tuple[Tensor, Tensor | None]:
        wanted = plan.with_gradient and any(ctx.needs_input_grad)
        head = _head(plan, features, weight, bias)
        gradients = head.places(ctx.needs_input_grad[:3]) if wanted else None
        pred = plan.total.new_empty(len(head.features), dtype=torch.int64) if has_pred else None
        with torch.autocast(features.device.type, enabled=False):
            rows = run(plan, head, gradients, pred=pred)
        ctx.plan = plan
        sums = () if gradients is None else gradients.scale_()
        ctx.save_for_backward(features, weight, bias, *plan.given, *sums)
        if pred is not None:
            pred = plan.spread_out(pred - NO_CLASS, len(features)) + NO_CLASS
            ctx.mark_non_differentiable(pred)
        if plan.reduction == "none":
            return plan.spread_out(rows, len(features)), pred
        return rows.sum() / plan.total if plan.reduction == "mean" else rows.sum(), pred

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, bias, _, _, *stash = ctx.saved_tensors  # raises if one was changed since
        plan, scale = ctx.plan, upstream[0]
        with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
            if plan.reduction == "none":
                head = _head(plan, features, weight, bias)
                scale, stash = _differentiate_rows(ctx, plan, head, scale)
            elif plan.reduction == "mean":
                scale = torch.where(plan.total == 0, 0, scale / plan.total)
            grads = [None if sums is None else sums * scale for sums in stash]
            if grads[0] is not None:
                grads[0] = plan.spread_out(grads[0], len(features))
            leaves = (features, weight, bias)
            grads = [
                g if g is None else g.to(leaf.dtype) for g, leaf in zip(grads, leaves, strict=True)
            ]
        if torch.is_grad_enabled():
            grads = apply(_FirstOrder, *leaves, upstream[0], *grads)
        return *grads, None, None

    @staticmethod
    def jvp(*_: Any) -> NoReturn:
        _refuse("forward-mode differentiation")


def sharded_loss(
    arguments: Arguments, group: dist.ProcessGroup | None, *, return_pred: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Return the loss of checked arguments, and the predicted classes if they are asked for."""
    _refuse_transforms()
    arguments = _in_autocast(arguments)
    shards = agree_on_shards(arguments, group)
    features = arguments.features
    rows = features if features.dim() > 1 else features.unsqueeze(0)
    plan = set_up_rows(arguments, shards)
    tensors = (rows, arguments.local_weight, arguments.linear_bias)
    loss, pred = apply(_ShardedLoss, *tensors, plan, return_pred)
    shape = features.shape[:-1]
    loss = loss.reshape(shape) if arguments.options.reduction == "none" else loss
    return loss, None if pred is None else pred.reshape(shape)


def _head(
    plan: ShardedRows, features: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Source:
    """Return the head of the rows that count, in the precision to multiply in, or their logits."""
    rows = plan.select(features)
    if weight is None:
        return GivenLogits(rows)
    return Head(rows.to(product_dtype(rows.dtype, rows.device)), weight, bias).narrow(slice(None))


def _differentiate_rows(
    ctx: Any, plan: ShardedRows, head: Source, upstream: Tensor
) -> tuple[Tensor, list[Tensor | None]]:
    """Return the largest upstream gradient, and the gradients over it: half does not underflow."""
    gradients = head.places(ctx.needs_input_grad[:3])
    upstream = plan.select(upstream.reshape(-1))
    unit = find_largest_factor(upstream) if head.dtype != upstream.dtype else upstream.new_ones(())
    run(plan, head, gradients, upstream / unit)
    return unit, gradients.scale_()


class _FirstOrder(Function):
    """Gradients as they are; to differentiate them again is an error, never silently wrong."""

    @staticmethod
    def forward(_: Any, *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        return tuple(grad if grad is None else grad.view_as(grad) for grad in tensors[4:])

    @staticmethod
    def backward(*_: Any) -> NoReturn:
        _refuse("a second derivative")


def _refuse(what: str) -> NoReturn:
    raise ArgumentError(
        f"expected sharded_linear_cross_entropy to be differentiated once, by backward or "
        f"torch.autograd.grad, found {what}: "
        "use cross_entropy(head(features), target) with a ShardedLinear head, "
        "which gathers the logits and can be differentiated again"
    )


def _refuse_transforms() -> None:
    if torch._C._are_functorch_transforms_active():  # noqa: SLF001 - torch has no public question
        _refuse("a torch.func transform")


def _in_autocast(arguments: Arguments) -> Arguments:
    """Return the arguments with the factors of the product as autocast wants them."""
    features, weight, bias = arguments.features, arguments.local_weight, arguments.linear_bias
    device = features.device.type
    if weight is None or not is_in_autocast(device):
        return arguments
    dtype = product_dtype(torch.get_autocast_dtype(device), features.device)
    kinds = (torch.float32, torch.float16, torch.bfloat16)

    def convert(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.dtype in kinds else tensor

    return replace(
        arguments,
        features=convert(features),
        local_weight=convert(weight),
        linear_bias=None if bias is None else convert(bias),
    )
