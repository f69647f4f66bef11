"""linear_cross_entropy of a DTensor weight whose classes are sharded over a device mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from softonce.errors import ArgumentError
from softonce.losses.sharded import sharded_linear_cross_entropy

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor


def is_distributed(tensor: Tensor) -> bool:
    """Return whether it is a DTensor; to import that class would take half a second."""
    return hasattr(tensor, "placements") and hasattr(tensor, "device_mesh")


def distributed_linear_cross_entropy(
    features: Tensor,
    linear_weight: Any,
    target: Tensor,
    *,
    linear_bias: Tensor | None,
    weight: Tensor | None,
    **options: Any,
) -> Tensor:
    """Return the loss of a head sharded over classes, a plain tensor, equal on all ranks.

    Args:
        features: plain and equal on all ranks, or a DTensor on the weight's mesh: of any placement,
            it is gathered, and its gradient has its placement.
        linear_weight: a DTensor, (C, D), placed `Shard(0)` on one dimension of the mesh and
            `Replicate()` on the others. Its gradient is a DTensor of the same placements.
        target: plain and equal on all ranks, or a DTensor, which is gathered.
        linear_bias: (C,), placed as the weight.
        weight: a factor for each class, plain or a DTensor.
        options: of `sharded_linear_cross_entropy`.

    Raises:
        ArgumentError: where weight or bias is placed in another way, or does not fit.
    """
    mesh, dim = linear_weight.device_mesh, _class_dim(linear_weight)
    if linear_bias is not None:
        _check_placed_alike(linear_bias, linear_weight)
    start, stop = _own_range(linear_weight, mesh, dim)
    loss: Tensor = sharded_linear_cross_entropy(
        _replicated(features, mesh),
        _local(linear_weight),
        _replicated(target, mesh),
        class_start=start,
        class_stop=stop,
        group=mesh.get_group(dim),
        linear_bias=None if linear_bias is None else _local(linear_bias),
        weight=None if weight is None else _replicated(weight, mesh),
        **options,
    )
    return loss


def _class_dim(weight: DTensor) -> int:
    """Return the dimension of the mesh over which the classes are sharded."""
    from torch.distributed.tensor import Replicate, Shard

    sharded = [dim for dim, placed in enumerate(weight.placements) if placed == Shard(0)]
    others = [placed for placed in weight.placements if placed not in (Shard(0), Replicate())]
    if len(sharded) != 1 or others or weight.dim() != 2:
        _raise_placement(
            "a linear_weight of shape (C, D) with Shard(0) on one dimension of the mesh, and "
            "Replicate() on the others",
            weight,
        )
    return sharded[0]


def _check_placed_alike(bias: Tensor, weight: DTensor) -> None:
    if not is_distributed(bias):
        raise ArgumentError(
            f"expected a linear_bias that is placed as linear_weight, {weight.placements}, "
            "found a plain tensor: distribute it over the same mesh"
        )
    if bias.placements != weight.placements or bias.device_mesh != weight.device_mesh:  # type: ignore[attr-defined]
        _raise_placement(f"a linear_bias placed as linear_weight, {weight.placements},", bias)


def _own_range(weight: DTensor, mesh: DeviceMesh, dim: int) -> tuple[int, int]:
    """Return the classes of this rank: `Shard` splits as `torch.chunk` does."""
    num_classes, num_ranks = weight.shape[0], mesh.size(dim)
    share = -(-num_classes // num_ranks)
    start = min(num_classes, mesh.get_local_rank(dim) * share)
    return start, min(num_classes, start + share)


def _local(tensor: Any) -> Tensor:
    """Return this rank's part, whose gradient becomes a DTensor of the same placements."""
    local: Tensor = tensor.to_local(grad_placements=tensor.placements)
    return local


def _replicated(tensor: Any, mesh: DeviceMesh) -> Tensor:
    """Return the whole on every rank; its gradient is whole and equal on all."""
    from torch.distributed.tensor import Replicate

    if not is_distributed(tensor):
        plain: Tensor = tensor
        return plain
    everywhere = [Replicate()] * mesh.ndim
    return _local(tensor.redistribute(mesh, everywhere))


def _raise_placement(expected: str, found: Any) -> NoReturn:
    raise ArgumentError(
        f"expected {expected} found {tuple(found.shape)} with {found.placements}: "
        "redistribute it over its first dimension, or pass its full_tensor()"
    )
