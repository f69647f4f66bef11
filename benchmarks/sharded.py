"""Seconds a step of a head whose classes two gloo processes share, against one process with all.

Each process has one thread. One process runs `linear_cross_entropy` of the whole head, and the loop
of the sharded loss with all classes in one shard, with one thread (2 is then what sharding could
reach at best) and with two (1 is, as the cores are the same). The step is loss and all gradients.
Bytes on
the wire are what a rank sends for each row, counted at the collectives: the six numbers of each
row, and the sum of the features' gradient.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable

import torch
import torch.distributed as dist
from harness import report
from torch import Tensor, nn

from softonce.distributed import process_group
from softonce.losses import ShardedLinear, linear_cross_entropy, sharded_linear_cross_entropy

NUM_RANKS = 2


def work(rank: int, folder: str, asked: argparse.Namespace) -> None:
    """Time all in turn; while rank 0 runs alone, the other waits."""
    torch.set_num_threads(1)
    with process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=NUM_RANKS
    ):
        torch.manual_seed(0)
        whole = nn.Linear(asked.features, asked.classes)
        head = ShardedLinear.from_linear(whole)
        features = torch.randn(asked.rows, asked.features, requires_grad=True)
        target = torch.randint(asked.classes, (asked.rows,))

        alone = dist.new_group([0])  # a group of one, which only rank 0 uses

        def linear() -> Tensor:
            return linear_cross_entropy(features, whole.weight, target, linear_bias=whole.bias)

        def one_shard() -> Tensor:
            return sharded_linear_cross_entropy(
                features,
                whole.weight,
                target,
                class_start=0,
                class_stop=asked.classes,
                group=alone,
                linear_bias=whole.bias,
            )

        seconds: dict[str, list[float]] = {}
        for _ in range(asked.rounds + 1):
            times = {"sharded": timed(lambda: head.loss(features, target))}
            if rank == 0:
                for loss_of, threads in itertools.product((linear, one_shard), (1, 2)):
                    torch.set_num_threads(threads)
                    name = f"one process, {loss_of.__name__}, {threads} threads"
                    times[name] = timed(loss_of, alone=True)
                torch.set_num_threads(1)
            for name, value in times.items():
                seconds.setdefault(name, []).append(value)
            dist.barrier()
        sent = bytes_sent(lambda: head.loss(features, target).backward()) / asked.rows
        if rank == 0:
            finish(asked, {name: times[1:] for name, times in seconds.items()}, sent)


def timed(loss_of: Callable[[], Tensor], *, alone: bool = False) -> float:
    """Return the seconds of the loss and its gradients; of the slowest rank, where not alone."""
    if not alone:
        dist.barrier()
    start = time.perf_counter()
    loss_of().backward()
    if not alone:
        dist.barrier()
    return time.perf_counter() - start


def bytes_sent(step: Callable[[], None]) -> float:
    """Count what a rank sends: its part to each other rank, and a ring's share of each sum."""
    others = NUM_RANKS - 1
    sent = 0.0
    gather, reduce = dist.all_gather, dist.all_reduce

    def counting_gather(parts: list[Tensor], part: Tensor, *rest: object) -> object:
        nonlocal sent
        sent += part.nbytes * others
        return gather(parts, part, *rest)

    def counting_reduce(part: Tensor, *rest: object, **options: object) -> object:
        nonlocal sent
        sent += 2 * part.nbytes * others / NUM_RANKS
        return reduce(part, *rest, **options)

    dist.all_gather, dist.all_reduce = counting_gather, counting_reduce
    try:
        step()
    finally:
        dist.all_gather, dist.all_reduce = gather, reduce
    return sent


def finish(asked: argparse.Namespace, seconds: dict[str, list[float]], sent: float) -> None:
    """Write the result."""
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    report(
        "sharded",
        ratios={
            f"{name} / sharded": value / medians["sharded"]
            for name, value in medians.items()
            if name != "sharded"
        },
        figures={
            **{f"{name} s/step": round(value, 4) for name, value in medians.items()},
            "bytes sent a row and rank": round(sent, 1),
            "bytes of a row's local logits": asked.classes // NUM_RANKS * 4,
            "rows": asked.rows,
            "features": asked.features,
            "classes": asked.classes,
            "ranks": NUM_RANKS,
            "threads a process": 1,
            "rounds": asked.rounds,
        },
    )


def main() -> None:
    """Start the processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--classes", type=int, default=32768)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        ranks = [
            context.Process(target=work, args=(rank, folder, asked)) for rank in range(NUM_RANKS)
        ]
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join()
    if any(rank.exitcode for rank in ranks):
        raise SystemExit(f"exit statuses by rank {[rank.exitcode for rank in ranks]}")


if __name__ == "__main__":
    main()
