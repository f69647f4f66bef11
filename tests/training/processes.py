"""What the tests start under torchrun: a run, or a step, in each of several processes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from softonce.cli.app import main
from softonce.data.bands import Picture
from softonce.data.samples import Samples, list_samples
from softonce.data.scan import scan
from softonce.data.scan_file import ScanFile
from softonce.data.sources import open_source
from softonce.data.sources.source import WHOLE
from softonce.distributed import (
    gather_json,
    on_rank_zero,
    process_group,
    raise_on_all_ranks,
    rank,
    world_size,
)
from softonce.errors import DataError, ImageError
from softonce.models.cifar import cifar_resnet20
from softonce.models.network import Network
from softonce.models.registry import register
from softonce.preprocessing import Preprocessing
from softonce.training import head_loss, job
from softonce.training import run as runner
from softonce.training.objective import Objective
from softonce.training.step import TrainStep

CPU = torch.device("cpu")


def group_norm_net(*, num_classes: int = 10, in_channels: int = 3) -> Network:
    """Return a network whose normalisation does not mix samples."""
    model = cifar_resnet20(num_classes=num_classes, in_channels=in_channels)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(4, child.num_features))
    return model


def step_and_agree(output: str) -> None:
    """Write what a step and an error of one process are in each of them."""
    with process_group(CPU):
        found = weighted_step() | {"seen": agreement()}
        writes = rank() == 0
    if writes:
        Path(output).write_text(json.dumps(found | {"threads": own_threads()}))


def own_threads() -> list[str]:
    """Return the names of this process's threads, or nothing if the system does not list them."""
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]


def weighted_step() -> dict[str, list[float]]:
    """Make one step whose mean is over class weights, on rows that are spread unevenly."""
    torch.manual_seed(0)
    weight = torch.tensor([1.0, 5.0, 0.2])
    images, target = torch.randn(7, 4), torch.tensor([0, 0, 1, 2, 2, 2, 1])
    model = nn.Linear(4, 3)
    network = nn.parallel.DistributedDataParallel(model) if world_size() > 1 else model
    step = TrainStep(
        model=network,
        optimizer=torch.optim.SGD(model.parameters()),
        objective=Objective(weight=weight),
        world_size=world_size(),
    )
    own = slice(None) if world_size() == 1 else [slice(0, 5), slice(5, 7)][rank()]
    sums = step(images[own], target[own], lr=0.5)
    return {"sums": sums.tolist(), "weight": model.weight.flatten().tolist()}


def agreement() -> list[list[object]]:
    """Fail in one process, and return what each of them saw."""

    def fail() -> None:
        raise DataError("expected a whole disk, found smoke")

    seen = ""
    try:
        raise_on_all_ranks(fail if rank() == 1 else lambda: None)
    except DataError as error:
        seen = str(error)
    return gather_json([rank(), seen])


def scan_twice(data: str, folder: str) -> None:
    """Scan, change two files, scan again; write what each process has read and found."""
    own: list[str] = []
    real = Samples.read

    def read(self: Samples, index: int) -> bytes:
        own.append(self.where(index))
        return real(self, index)

    Samples.read = read  # type: ignore[method-assign]
    path, preprocessing = Path(folder) / f"seen-by-{os.environ['RANK']}", Preprocessing(size=16)
    with process_group(CPU):
        found = []
        for turn in range(2):
            own.clear()
            kept = ScanFile(path, data, "RGB")
            samples = list_samples(open_source(data), WHOLE)
            scanned = scan(samples, preprocessing, max_bad_fraction=0.1, kept=kept)
            on_rank_zero(kept.save)
            read_now = sorted(own)
            pixels = np.asarray(scanned.pixels[np.arange(len(scanned))])  # type: ignore[index]
            digest = hashlib.sha256(scanned.digests.tobytes() + pixels.tobytes()).hexdigest()
            bad = [file.to_dict() for file in scanned.bad_files]
            found.append({"read": read_now, "digest": digest, "bad": bad})
            if turn == 0:
                on_rank_zero(lambda: [Path(file).touch() for file in (own[0], own[-1])])
        everyone = gather_json(found)
        on_rank_zero(lambda: (Path(folder) / "found.json").write_text(json.dumps(everyone)))


def unreadable(*arguments: str) -> int:
    """Train, while the files of one process vanish after they were read once."""
    real = Samples.open

    def open_(self: Samples, index: int) -> Picture:
        if rank() == 1 and sys._getframe(1).f_globals["__name__"] == "softonce.data.loader":
            raise ImageError("gone")
        return real(self, index)

    Samples.open = open_  # type: ignore[method-assign]
    return main(list(arguments))


def killed_once(*arguments: str) -> int:
    """Train, and die in one process at the seventh step, unless torchrun has started us again."""
    job.MAX_SAVING_SHARE = float("inf")
    real, left = TrainStep.__call__, [7]

    def step(self: TrainStep, *args: object, **options: object) -> torch.Tensor:
        left[0] -= 1
        if left[0] == 0 and rank() == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, *args, **options)

    TrainStep.__call__ = step  # type: ignore[method-assign]
    return main(list(arguments))


def killed_early(*arguments: str) -> int:
    """Train, and die in one process before a file is listed, unless torchrun has restarted us."""
    real = runner.list_splits

    def list_splits(*args: object, **options: object) -> object:
        if rank() == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)  # type: ignore[arg-type]

    runner.list_splits = list_splits  # type: ignore[assignment]
    return main(list(arguments))


def run(*arguments: str) -> int:
    """Train."""
    return main(list(arguments))


def run_in_blocks(*arguments: str) -> int:
    """Train with head and loss in one, as if the logits were many."""
    head_loss.MANY_LOGITS = 1
    return main(list(arguments))


if __name__ == "__main__":
    torch.set_num_threads(1)
    register(group_norm_net)
    sys.exit(globals()[sys.argv[1]](*sys.argv[2:]))
