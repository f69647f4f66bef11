"""Who holds which classes, and the checks that all ranks pass or fail together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import torch

from softonce.errors import ArgumentError
from softonce.groups import agree, own_rank
from softonce.losses.rows.checks import check_floating
from softonce.shapes import Reduction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch.distributed as dist
    from torch import Tensor

    from softonce.losses.rows.options import LossOptions

_EQUAL_ON_ALL_RANKS = {  # the facts, and what to do where ranks differ
    "rows of features": "pass the same rows on every rank; gather_rows makes them so",
    "features": "pass features of one width on every rank",
    "dtype": "use one dtype on every rank",
    "bias": "pass linear_bias on every rank, or on none",
    "probability targets": "pass class indices on every rank, or probabilities on every rank",
    "class weights": "pass the weights of all classes on every rank",
    "ignore_index": "pass one ignore_index on every rank",
    "label_smoothing": "pass one label_smoothing on every rank",
    "softcap": "pass one softcap on every rank",
    "reduction": "pass one reduction on every rank",
    "rows_per_chunk": "pass one rows_per_chunk on every rank",
    "head with a gradient": "let the head require a gradient on every rank, or on none",
    "features with a gradient": "let the features require a gradient on every rank, or on none",
    "sum of the target": "pass the same targets on every rank; gather_rows makes them so",
    "sum of the features": "pass the same features on every rank; if each has rows of its own, as "
    "in data parallel training and if FSDP2 has sharded the head, gather_rows makes them so",
}


def class_range(num_classes: int, rank: int, world_size: int) -> tuple[int, int]:
    """Return `class_start, class_stop` of a rank, where all hold the same number but for one.

    Example:
        >>> [class_range(10, rank, 4) for rank in range(4)]
        [(0, 2), (2, 5), (5, 7), (7, 10)]
    """
    return num_classes * rank // world_size, num_classes * (rank + 1) // world_size


@dataclass(frozen=True)
class Shards:
    """The partition of the classes over a group, as this process sees it.

    Args:
        ranges: `class_start, class_stop` of each rank.
        rank: this process's place in the group.
        group: the process group; None is all processes.
    """

    ranges: tuple[tuple[int, int], ...]
    rank: int
    group: dist.ProcessGroup | None

    @property
    def num_classes(self) -> int:
        """C, the number of all classes."""
        return max(stop for _, stop in self.ranges)

    @property
    def widest(self) -> int:
        """The number of classes of the rank that holds the most."""
        return max(stop - start for start, stop in self.ranges)

    @property
    def in_order(self) -> list[int]:
        """The ranks, in the order of their classes; those without any come last."""
        return sorted(
            range(len(self.ranges)),
            key=lambda r: (self.ranges[r][0] == self.ranges[r][1], self.ranges[r]),
        )

    @property
    def own(self) -> slice:
        """This rank's classes."""
        return slice(*self.ranges[self.rank])


@dataclass(frozen=True, eq=False)
class Arguments:
    """What a rank was called with, as in `sharded_linear_cross_entropy`.

    Without a `local_weight` the features are the logits of this rank's classes themselves.
    """

    features: Tensor
    local_weight: Tensor | None
    target: Tensor
    linear_bias: Tensor | None
    weight: Tensor | None
    class_start: int
    class_stop: int
    options: LossOptions
    rows_per_chunk: int | None

    @property
    def has_probs(self) -> bool:
        """Whether the target is class probabilities."""
        return self.target.dim() == self.features.dim()


def agree_on_shards(arguments: Arguments, group: dist.ProcessGroup | None) -> Shards:
    """Check the arguments of all ranks against one another, in one small exchange.

    Raises:
        ArgumentError: on every rank, if one has arguments that do not fit.
    """
    problem = _problem(arguments)
    facts = dict.fromkeys(("class_start", "class_stop", "columns", *_EQUAL_ON_ALL_RANKS), 0.0)
    facts |= {} if problem else _facts(arguments)
    table = agree(facts, problem, group, device=arguments.features.device)
    ranges = tuple((int(row["class_start"]), int(row["class_stop"])) for row in table)
    _check_partition(ranges)
    for name, remedy in _EQUAL_ON_ALL_RANKS.items():
        _check_equal(name, [row[name] for row in table], remedy)
    shards = Shards(ranges, own_rank(group), group)
    _check_widths(table, shards)
    return shards


def _facts(arguments: Arguments) -> dict[str, float]:
    """Return what the other ranks have to know of this one's arguments, as numbers."""
    features, target = arguments.features, arguments.target
    head = (arguments.local_weight, arguments.linear_bias)
    has_head = arguments.local_weight is not None
    return {
        "class_start": arguments.class_start,
        "class_stop": arguments.class_stop,
        "columns": target.shape[-1] if arguments.has_probs else -1,
        "rows of features": len(features) if features.dim() == 2 else -1,
        "features": features.shape[-1] if has_head else -1,
        "dtype": features.dtype.itemsize + 0.5 * (features.dtype == torch.bfloat16),
        "bias": arguments.linear_bias is not None,
        "probability targets": arguments.has_probs,
        "class weights": -1 if arguments.weight is None else len(arguments.weight),
        "ignore_index": arguments.options.ignore_index,
        "label_smoothing": arguments.options.label_smoothing,
        "softcap": arguments.options.softcap or 0,
        "reduction": get_args(Reduction).index(arguments.options.reduction),
        "rows_per_chunk": arguments.rows_per_chunk or 0,
        "head with a gradient": any(t.requires_grad for t in head if t is not None),
        "features with a gradient": features.requires_grad and torch.is_grad_enabled(),
        "sum of the target": 0 if arguments.has_probs else _checksum(target),
        "sum of the features": _checksum(_bits(features)) if has_head else 0,
    }


def _checksum(target: Tensor) -> int:
    """Return a number that tells most targets apart, and targets in another order too."""
    place = torch.arange(1, target.numel() + 1, device=target.device)
    return int((target.flatten().long() % 2**31 * place).sum() % 2**31)


def _bits(features: Tensor) -> Tensor:
    """Return a whole number for each row, from the bits of its features: no rounding, any order."""
    kinds = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    whole = features.detach().contiguous().view(kinds[features.itemsize])
    return whole.sum(-1, dtype=torch.int64)


def _problem(arguments: Arguments) -> ArgumentError | None:
    """Return what is wrong with this rank's arguments, for all ranks to raise."""
    try:
        arguments.options.check()
        _check_head(arguments)
        _check_target(arguments)
        _check_constants(arguments.target, arguments.weight)
        _check_chunk(arguments.rows_per_chunk)
    except ArgumentError as error:
        return error
    return None


def _check_head(arguments: Arguments) -> None:
    features, local_weight = arguments.features, arguments.local_weight
    if local_weight is None:
        check_floating("logits", features)
        return
    start, stop, bias = arguments.class_start, arguments.class_stop, arguments.linear_bias
    expected = f"for the classes [{start}, {stop}) and features {tuple(features.shape)}"
    num_own = stop - start
    if start < 0 or num_own < 0:
        raise ArgumentError(
            f"expected 0 <= class_start <= class_stop, found {start} and {stop}: "
            "pass the half-open range of this rank's classes"
        )
    for name, tensor in (("features", features), ("local_weight", local_weight)):
        check_floating(name, tensor)
    if features.dim() not in (1, 2):
        raise ArgumentError(
            f"expected features of shape (D,) or (N, D), found {tuple(features.shape)}: "
            "put the features of each image into one row"
        )
    if tuple(local_weight.shape) != (num_own, features.shape[-1]):
        raise ArgumentError(
            f"expected a local_weight of shape {(num_own, features.shape[-1])} {expected}, "
            f"found {tuple(local_weight.shape)}: pass the head's rows of these classes"
        )
    if bias is not None and tuple(bias.shape) != (num_own,):
        raise ArgumentError(
            f"expected a linear_bias of shape {(num_own,)} {expected}, "
            f"found {tuple(bias.shape)}: pass the biases of these classes"
        )
    dtypes = {tensor.dtype for tensor in (features, local_weight, bias) if tensor is not None}
    if len(dtypes) > 1:
        raise ArgumentError(
            f"expected features and head of one dtype, found {sorted(map(str, dtypes))}: "
            "convert the features, or call it in autocast"
        )


def _check_target(arguments: Arguments) -> None:
    target, ignore_index = arguments.target, arguments.options.ignore_index
    rows = tuple(arguments.features.shape[:-1])
    is_integer = not (
        target.is_floating_point() or target.is_complex() or target.dtype == torch.bool
    )
    fits = target.is_floating_point() if arguments.has_probs else is_integer
    num_dims = len(rows) + arguments.has_probs
    if not fits or target.dim() != num_dims or tuple(target.shape[: len(rows)]) != rows:
        raise ArgumentError(
            f"expected integer class indices of shape {rows}, or floating point class "
            f"probabilities {(*rows, 'C')}, found {target.dtype} of shape {tuple(target.shape)}: "
            "pass one class index, or one row of probabilities, for each row of features"
        )
    if arguments.has_probs and ignore_index >= 0:
        raise ArgumentError(
            f"expected no ignore_index with a target of class probabilities, found {ignore_index}: "
            "leave it out; a row of zero probabilities contributes nothing"
        )


def _check_constants(target: Tensor, weight: Tensor | None) -> None:
    if weight is not None:
        check_floating("weight", weight)
    if weight is not None and weight.dim() != 1:
        raise ArgumentError(
            f"expected a weight of shape (C,), found {tuple(weight.shape)}: "
            "pass one weight for each of all classes"
        )
    if target.is_floating_point():
        check_floating("target", target)
    if target.requires_grad or (weight is not None and weight.requires_grad):
        raise ArgumentError(
            "expected a target and class weights without a gradient, found one that requires it: "
            "detach it, or use cross_entropy(head(features), target) with a ShardedLinear head"
        )


def _check_chunk(rows_per_chunk: int | None) -> None:
    if rows_per_chunk is not None and rows_per_chunk < 1:
        raise ArgumentError(
            f"expected rows_per_chunk of at least 1, found {rows_per_chunk}: "
            "leave it out, and it follows from the number of classes"
        )


def _check_partition(ranges: Sequence[tuple[int, int]]) -> None:
    filled = sorted((start, stop) for start, stop in ranges if start < stop)
    expected_start = 0
    for start, stop in filled:
        if start != expected_start:
            word = "twice" if start < expected_start else "nowhere"
            first, last = sorted((start, expected_start))
            raise ArgumentError(
                f"expected class ranges that hold every class once, found classes [{first}, "
                f"{min(last, stop) if word == 'twice' else last}) {word}, the ranges by rank being "
                f"{list(ranges)}: pass class_stop of one rank as class_start of the next"
            )
        expected_start = stop
    if not filled:
        raise ArgumentError(
            f"expected at least one class on one rank, found the ranges {list(ranges)}: "
            "pass class_start and class_stop of the rows that each rank holds"
        )


def _check_equal(name: str, found: Sequence[float], remedy: str) -> None:
    if len(set(found)) > 1:
        values = ", ".join(f"{value:g}" for value in found)
        raise ArgumentError(
            f"expected the same on every rank, found {name} to be {values} in the order of ranks: "
            f"{remedy}"
        )


def _check_widths(table: Sequence[Mapping[str, float]], shards: Shards) -> None:
    num_classes = shards.num_classes
    num_weights = int(table[0]["class weights"])
    if num_weights not in (-1, num_classes):
        raise ArgumentError(
            f"expected a weight of shape ({num_classes},), found ({num_weights},): "
            "pass one weight for each of all classes, on every rank"
        )
    for rank, (start, stop) in enumerate(shards.ranges):
        columns = int(table[rank]["columns"])
        if columns not in (-1, stop - start, num_classes):
            raise ArgumentError(
                f"expected {stop - start} columns of class probabilities, those of the classes "
                f"[{start}, {stop}), or all {num_classes}, found {columns} on rank {rank}: "
                "pass target[:, class_start:class_stop]"
            )
