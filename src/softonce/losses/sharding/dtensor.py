"""The losses of DTensors: of a head, or of logits, on a device mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import torch

from softonce.errors import ArgumentError
from softonce.losses.row_maths import accumulation_dtype, result_dtype, row_shape
from softonce.losses.rows.checks import check_index_target, check_scores
from softonce.losses.sharding.loss import sharded_loss
from softonce.losses.sharding.partition import Arguments

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor

    from softonce.losses.rows.objective import Loss
    from softonce.losses.rows.options import LossOptions


def is_distributed(tensor: Tensor) -> bool:
    """Return whether it is a DTensor; to import that class would take half a second."""
    if type(tensor) in (torch.Tensor, torch.nn.Parameter):  # a compiler warns of what is asked next
        return False
    return hasattr(tensor, "placements") and hasattr(tensor, "device_mesh")


def _check_no_lse(options: LossOptions) -> None:
    """Raise if the log-sum-exp is asked for, which no rank holds with its gradient."""
    if options.return_lse:
        raise ArgumentError(
            "expected no return_lse with classes that are sharded over devices, found True: "
            "leave it out, or take it from the gathered logits"
        )


def check_not_distributed(weight_name: str, **tensors: Tensor | None) -> None:
    """Raise if a tensor is a DTensor, and the weight or the logits are not."""
    for name, tensor in tensors.items():
        if tensor is not None and is_distributed(tensor):
            raise ArgumentError(
                f"expected a {weight_name} that is a DTensor, since {name} is one, found a plain "
                f"tensor: distribute it over the same mesh, with Replicate() if every rank has all "
                f"of it, or pass {name}.full_tensor()"
            )


def distributed_linear_cross_entropy(
    features: Tensor,
    linear_weight: Any,
    target: Tensor,
    linear_bias: Tensor | None,
    weight: Tensor | None,
    options: LossOptions,
) -> Loss:
    """Return the loss of a head on a device mesh, a plain tensor, equal on all ranks.

    Args:
        features: plain and equal on all ranks, or a DTensor on the weight's mesh: of any placement,
            it is gathered, and its gradient has its placement.
        linear_weight: a DTensor, (C, D), placed `Shard(0)` on one dimension of the mesh at most and
            `Replicate()` on the others: what every rank has is divided among them, so that each
            computes its share. Its gradient is a DTensor of the same placements.
        target: plain and equal on all ranks, or a DTensor, which is gathered.
        linear_bias: (C,), placed as the weight.
        weight: a factor for each class, plain or a DTensor.
        options: what is asked for.

    Raises:
        ArgumentError: if weight or bias is placed in another way, or does not fit; or on ranks that
            have different features or targets.
    """
    _check_no_lse(options)
    mesh, dim = linear_weight.device_mesh, _class_dim(linear_weight)
    if linear_bias is not None:
        _check_placed_alike(linear_bias, linear_weight)
    start, stop = _own_range(linear_weight.shape[0], mesh, dim)
    arguments = Arguments(
        features=_replicate(features, mesh),
        local_weight=_divided(linear_weight, mesh, dim),
        target=_replicate(target, mesh),
        linear_bias=None if linear_bias is None else _divided(linear_bias, mesh, dim),
        weight=None if weight is None else _replicate(weight, mesh),
        class_start=start,
        class_stop=stop,
        options=options,
        rows_per_chunk=None,
    )
    group = mesh.get_group(dim)
    loss, pred = sharded_loss(arguments, group, return_pred=options.return_pred)
    return loss if pred is None else (loss, pred)


def distributed_cross_entropy(
    logits: Any, target: Tensor, weight: Tensor | None, options: LossOptions
) -> Tensor:
    """Return the loss of logits on a device mesh, a plain tensor, equal on all ranks.

    Args:
        logits: a DTensor, (C,), (N, C) or (N, C, ...), of any placement: each rank computes some
            classes of all rows. Sharded over the classes, no logit leaves its rank. The gradient is
            a DTensor of the same placements.
        target: plain and equal on all ranks, or a DTensor, which is gathered.
        weight: a factor for each class, plain or a DTensor.
        options: what is asked for.

    Raises:
        ArgumentError: on every rank, if the arguments do not fit, or differ between ranks.
    """
    _check_no_lse(options)
    check_scores("logits", logits)
    classes = 0 if logits.dim() == 1 else 1
    mesh, dim = logits.device_mesh, _dim_of_classes(logits, classes)
    local = _divided(logits, mesh, dim, classes)
    wanted = _replicate(target, mesh)
    shape = row_shape(logits.shape)
    has_probs = wanted.shape == logits.shape or wanted.is_floating_point()
    if not has_probs:
        check_index_target("logits", logits.shape, wanted)
    found = options.dtype or result_dtype(local, wanted)
    start, stop = _own_range(logits.shape[classes], mesh, dim)
    arguments = Arguments(
        features=_as_rows(local.to(accumulation_dtype(found)), classes),
        local_weight=None,
        target=_as_rows(wanted, classes) if has_probs else wanted.reshape(-1),
        linear_bias=None,
        weight=None if weight is None else _replicate(weight, mesh),
        class_start=start,
        class_stop=stop,
        options=options,
        rows_per_chunk=None,
    )
    loss, _ = sharded_loss(arguments, mesh.get_group(dim))
    return (loss.reshape(shape) if options.reduction == "none" else loss).to(found)


def _as_rows(scores: Tensor, classes: int) -> Tensor:
    """Return (N, C, ...) scores as (rows, C)."""
    return scores.movedim(classes, -1).reshape(-1, scores.shape[classes])


def _class_dim(weight: DTensor) -> int:
    """Return the dimension of the mesh over which the classes of a head are divided."""
    from torch.distributed.tensor import Replicate, Shard

    others = [placed for placed in weight.placements if placed not in (Shard(0), Replicate())]
    if weight.placements.count(Shard(0)) > 1 or others or weight.dim() != 2:
        _raise_placement(
            "a linear_weight of shape (C, D) with Shard(0) on one dimension of the mesh, and "
            "Replicate() on the others,",
            weight,
        )
    return _dim_of_classes(weight, 0)


def _dim_of_classes(tensor: DTensor, classes: int) -> int:
    """Return the dimension of the mesh over which the classes are, or are to be, divided."""
    from torch.distributed.tensor import Shard

    sharded = [dim for dim, placed in enumerate(tensor.placements) if placed == Shard(classes)]
    if len(sharded) > 1:
        expected = "classes that are sharded over one dimension of the mesh,"
        _raise_placement(expected, tensor, classes)
    sizes = tensor.device_mesh.shape
    return sharded[0] if sharded else max(range(len(sizes)), key=sizes.__getitem__)


def _divided(tensor: Any, mesh: DeviceMesh, dim: int, classes: int = 0) -> Tensor:
    """Return this rank's classes; the gradient becomes a DTensor of the tensor's placements."""
    from torch.distributed.tensor import Replicate, Shard

    places = [Shard(classes) if other == dim else Replicate() for other in range(mesh.ndim)]
    return _local(tensor.redistribute(mesh, places))


def _check_placed_alike(bias: Tensor, weight: DTensor) -> None:
    if not is_distributed(bias):
        raise ArgumentError(
            f"expected a linear_bias that is placed as linear_weight, {weight.placements}, "
            "found a plain tensor: distribute it over the same mesh"
        )
    if bias.placements != weight.placements or bias.device_mesh != weight.device_mesh:  # type: ignore[attr-defined]
        _raise_placement(f"a linear_bias placed as linear_weight, {weight.placements},", bias)


def _own_range(num_classes: int, mesh: DeviceMesh, dim: int) -> tuple[int, int]:
    """Return the classes of this rank: `Shard` splits as `torch.chunk` does."""
    share = -(-num_classes // mesh.size(dim))
    start = min(num_classes, mesh.get_local_rank(dim) * share)
    return start, min(num_classes, start + share)


def _local(tensor: Any) -> Tensor:
    """Return this rank's part, whose gradient becomes a DTensor of the same placements."""
    local: Tensor = tensor.to_local(grad_placements=tensor.placements)
    return local


def _replicate(tensor: Any, mesh: DeviceMesh) -> Tensor:
    """Return the whole on every rank; its gradient is whole and equal on all."""
    from torch.distributed.tensor import Replicate

    if not is_distributed(tensor):
        plain: Tensor = tensor
        return plain
    everywhere = [Replicate()] * mesh.ndim
    return _local(tensor.redistribute(mesh, everywhere))


def _raise_placement(expected: str, found: Any, classes: int = 0) -> NoReturn:
    raise ArgumentError(
        f"expected {expected} found {tuple(found.shape)} with {found.placements}: "
        f"redistribute it with one Shard({classes}), or pass its full_tensor()"
    )
