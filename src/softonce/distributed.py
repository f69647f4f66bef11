"""Processes that torchrun started: joining them, gathering exactly, failing and stopping together.

Each function does in a process of its own what it does in one of many, so that its callers have no
branch.
"""

from __future__ import annotations

import datetime as dt
import gc
import importlib
import json
import os
import signal
import threading
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from softonce import errors
from softonce.errors import SoftonceError
from softonce.groups import gather_rows, gather_stacked, num_processes, own_rank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor, nn

Result = TypeVar("Result")

# A process may have to wait while another reads what lies only on its own disk; one that dies is
# noticed by torchrun, which ends the others.
TIMEOUT = dt.timedelta(hours=6)


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started, for the length of the block; else do nothing.

    Args:
        device: with cuda, nccl moves what lies there, and this process gets the GPU of its number.
    """
    if not is_restartable() or dist.is_initialized():
        yield
        return
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    # Its default arguments keep the group of the time when it is first imported, which DDP does
    # later; kept so, gloo's threads outlive the group, and one that drops a tensor while the
    # interpreter goes down aborts the process.
    importlib.import_module("torch.distributed.nn.functional")
    store, number, size = next(rendezvous("env://", timeout=TIMEOUT))
    dist.init_process_group(
        backend, store=_of_this_start(store), rank=number, world_size=size, timeout=TIMEOUT
    )
    try:
        yield
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        if threading.current_thread() is threading.main_thread():
            # All leave with the same status; torchrun would end the last with SIGTERM.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise
    finally:
        gc.collect()  # what still held the group would end it while the interpreter goes down
        dist.destroy_process_group()


def _of_this_start(store: Store) -> Store:
    """Hide what an earlier start has left in torchrun's own store: gloo would connect to its dead.

    With several machines the count may differ between them, so there torchrun is told to make new
    stores instead: TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 (pytorch issue 135712).
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return store
    return PrefixStore(f"start {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)


def rank() -> int:
    """Return this process's number, from 0."""
    return own_rank()


def local_rank() -> int:
    """Return this process's number on its machine, from 0."""
    return int(os.environ["LOCAL_RANK"]) if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return num_processes()


def is_restartable() -> bool:
    """Return whether torchrun has started this process, and may do so again."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_restarted() -> bool:
    """Return whether torchrun has started these processes again, after one of them had ended."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def gather_json(value: Any) -> list[Any]:
    """Return a JSON value of each process, in the order of ranks.

    Example:
        >>> gather_json({"read": 3})
        [{'read': 3}]
    """
    if not dist.is_initialized():
        return [value]
    data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
    counts: list[int] = gather_stacked(torch.tensor(len(data))).tolist()
    parts = torch.split(gather_rows(data, counts), counts)
    return [json.loads(part.numpy().tobytes()) for part in parts]


def sum_over_processes_(values: Tensor) -> Tensor:
    """Replace values by their sums over all processes, and return them."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def all_reduce_max(*numbers: int) -> tuple[int, ...]:
    """Return the largest of each number over all processes.

    Example:
        >>> all_reduce_max(3, 0)
        (3, 0)
    """
    if not dist.is_initialized():
        return numbers
    values = torch.tensor(numbers)
    dist.all_reduce(values, dist.ReduceOp.MAX)
    return tuple(values.tolist())


def copy_buffers_from_first(model: nn.Module) -> None:
    """Give every process the first one's buffers, such as the statistics of batch norm."""
    if dist.is_initialized():
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def copy_from_first(model: nn.Module) -> None:
    """Give every process the first one's parameters and buffers."""
    if dist.is_initialized():
        for value in model.state_dict().values():
            dist.broadcast(value, 0)


def copy_tensors_from_first_(*tensors: Tensor) -> None:
    """Fill tensors, of the same shapes in every process, with the first one's values."""
    if dist.is_initialized():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def raise_on_all_ranks(work: Callable[[], Result]) -> Result:
    """Do in every process what may fail in one: all of them raise the first error, or none does.

    Raises:
        SoftonceError: what was raised in the process of the lowest number.
    """
    if not dist.is_initialized():
        return work()
    try:
        result, error = work(), None
    except SoftonceError as raised:
        error = raised
    _raise_first(error)
    return result


def on_rank_zero(work: Callable[[], Result]) -> Result | None:
    """Do something in rank zero only; if that fails, all raise its error."""
    return raise_on_all_ranks(lambda: work() if rank() == 0 else None)


def each_together(items: Iterable[Result]) -> Iterator[Result]:
    """Iterate in step with the other processes: an error in one of them is raised in all.

    Every process must have as many items.
    """
    iterator, end = iter(items), object()
    while (item := raise_on_all_ranks(lambda: next(iterator, end))) is not end:
        yield item  # type: ignore[misc] # it is not the end


def _raise_first(error: SoftonceError | None) -> None:
    if all_reduce_max(error is not None) == (0,):
        return
    found = gather_json(None if error is None else [type(error).__name__, str(error)])
    kind, message = next(one for one in found if one is not None)
    raise getattr(errors, kind, SoftonceError)(message) from error
