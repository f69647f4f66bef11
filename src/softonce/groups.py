"""What the processes of a group exchange, exactly: rows, counts, and errors that all raise.

Without a process group everything here works as in a group of one process.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from softonce.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor


@contextmanager
def open_group(
    backend: str | None = None,
    *,
    init_method: str | None = None,
    rank: int | None = None,
    world_size: int | None = None,
    timeout_seconds: float = 600.0,
) -> Iterator[None]:
    """Set up the default process group, and tear it down at the end of the block.

    Drop what wraps a network for this group, such as DistributedDataParallel, inside the block:
    a wrapper that outlives the group ends gloo's threads itself, with the GIL held, and can wait
    forever for one that needs the GIL to free a tensor (seen once in 1,500 groups, torch 2.13).

    Args:
        backend: `gloo`, `nccl`, ...; None is what torch takes for the devices that are there.
        init_method: where the processes meet, as `file:///path` or `tcp://host:port`; None is
            the environment that torchrun sets.
        rank: this process's number; None is torchrun's.
        world_size: the number of processes; None is torchrun's.
        timeout_seconds: a process that waits longer for the others raises.

    Raises:
        ArgumentError: if neither the arguments nor the environment tell who this process is.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = f"file://{folder}/store"
        ...     with open_group("gloo", init_method=store, rank=0, world_size=1):
        ...         num_processes()
        1
    """
    if rank is None and "RANK" not in os.environ:
        raise ArgumentError(
            "expected a rank, or RANK and WORLD_SIZE in the environment, found neither: "
            "start the program with torchrun --nproc-per-node N"
        )
    dist.init_process_group(
        backend,
        init_method=init_method,
        rank=-1 if rank is None else rank,
        world_size=-1 if world_size is None else world_size,
        timeout=timedelta(seconds=timeout_seconds),
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def num_processes(group: dist.ProcessGroup | None = None) -> int:
    """Return the size of the group; None is all processes, and 1 if there is no group."""
    return dist.get_world_size(group) if dist.is_initialized() else 1


def own_rank(group: dist.ProcessGroup | None = None) -> int:
    """Return this process's place in the group, 0 if there is none.

    Raises:
        ArgumentError: if this process does not belong to the group.
    """
    rank = dist.get_rank(group) if dist.is_initialized() else 0
    if rank < 0:
        raise ArgumentError(
            f"expected a group with this process in it, found rank {dist.get_rank()} outside: "
            "call it in only the processes of the group"
        )
    return rank


def gather_stacked(part: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """Return the equally shaped parts of all processes, stacked on a new first dimension.

    Every process gets the same bits, in the order of ranks.

    Args:
        part: this process's tensor; its shape and dtype are the same in every process.
        group: the processes that take part; None is all of them.
    """
    if num_processes(group) == 1:
        return part.unsqueeze(0)
    stacked = part.new_empty((num_processes(group), *part.shape))
    dist.all_gather(list(stacked.unbind()), part.contiguous(), group)
    return stacked


def gather_rows(
    rows: Tensor, counts: Sequence[int], group: dist.ProcessGroup | None = None
) -> Tensor:
    """Return the rows of all processes, one process after the other; their numbers may differ.

    Args:
        rows: this process's rows, (count, ...).
        counts: the number of rows of each process, in the order of ranks.
        group: the processes that take part; None is all of them.
    """
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows
    stacked = gather_stacked(padded, group)
    return torch.cat([part[:count] for part, count in zip(stacked, counts, strict=True)])


def agree(
    facts: Mapping[str, float],
    problem: ArgumentError | None,
    group: dist.ProcessGroup | None = None,
    *,
    device: torch.device | None = None,
) -> list[dict[str, float]]:
    """Return every process's facts, in the order of ranks; or raise in all if one has a problem.

    If only one process raised, it would leave the others waiting for it.

    Args:
        facts: numbers by name, the same names in every process; integers are exact to 2**53.
        problem: what this process would raise.
        group: the processes that take part; None is all of them.
        device: where the group exchanges tensors; None is the CPU, or the GPU of an NCCL group.

    Raises:
        ArgumentError: the problem of the lowest rank that has one, which the message names.
    """
    if num_processes(group) == 1:
        if problem is not None:
            raise problem
        return [dict(facts)]
    own = torch.tensor([problem is not None, *facts.values()], dtype=torch.float64)
    table = gather_stacked(own.to(device or _own_device(group)), group).tolist()
    if any(failed for failed, *_ in table):
        _raise_together(problem, group)
    return [dict(zip(facts, values, strict=True)) for _, *values in table]


def _raise_together(problem: ArgumentError | None, group: dist.ProcessGroup | None) -> None:
    messages: list[str | None] = [None] * num_processes(group)
    dist.all_gather_object(messages, None if problem is None else str(problem), group)
    rank, message = next((r, text) for r, text in enumerate(messages) if text is not None)
    raise ArgumentError(f"on rank {rank} of {len(messages)}: {message}") from problem


def _own_device(group: dist.ProcessGroup | None) -> torch.device:
    is_nccl = dist.get_backend(group) == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if is_nccl else torch.device("cpu")
