"""Run a function in several processes that are one gloo group; what fails there fails here."""

import multiprocessing
import os
import tempfile
import time
import traceback
from pathlib import Path

import torch

SECONDS_TO_WAIT = 150
SECONDS_OF_A_COLLECTIVE = 60


def run_together(function, world_size):
    """Call `function()` in each of `world_size` processes; raise with the tracebacks of all.

    Args:
        function: of a module that the processes can import; it is given nothing.
        world_size: the number of processes.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        workers = [
            context.Process(target=_work, args=(function, rank, world_size, folder), daemon=True)
            for rank in range(world_size)
        ]
        for worker in workers:
            worker.start()
        _wait(workers)
        reports = [path.read_text() for path in sorted(Path(folder).glob("failed-*"))]
    statuses = [worker.exitcode for worker in workers]
    if any(statuses):
        raise AssertionError(f"exit statuses by rank {statuses}\n" + "\n".join(reports))


def _wait(workers):
    """Wait for all; stop those that have not ended in time, or soon after another failed."""
    end = time.monotonic() + SECONDS_TO_WAIT
    while any(worker.is_alive() for worker in workers) and time.monotonic() < end:
        if any(worker.exitcode for worker in workers):
            end = min(end, time.monotonic() + 2)
        time.sleep(0.05)
    for worker in workers:
        if worker.is_alive():
            worker.kill()
        worker.join()


def _work(function, rank, world_size, folder):
    from softonce.groups import open_group

    torch.set_num_threads(1)
    try:
        with open_group(
            "gloo",
            init_method=f"file://{folder}/store",
            rank=rank,
            world_size=world_size,
            timeout_seconds=SECONDS_OF_A_COLLECTIVE,
        ):
            function()
    except BaseException:  # noqa: BLE001 - whatever it is, the parent reports it
        (Path(folder) / f"failed-{rank}").write_text(f"rank {rank}:\n{traceback.format_exc()}")
        os._exit(1)
    # DistributedDataParallel and DeviceMesh keep threads of gloo beyond the group (torch 2.13): one
    # that lets go of its last tensor while the interpreter ends would abort the process.
    os._exit(0)
