"""Time until the test images of CIFAR-10 are 87 % right: ours against torchvision's loop.

The same network (`cifar_resnet20`), images (a folder of train/ and test/) and machine. Ours is the
recipe `scratch-small` with lr 0.2, alternating flip and few epochs. torchvision's side is the body
of its reference training loop in float32 with its folder reader and transforms (random crop of a
padded picture, flip), batch 128, SGD with lr 0.1, a cosine over 30 epochs. Reading the images
counts on both sides, as does the evaluation after every epoch.

The two take turns, epoch by epoch, so that whatever else the machine does slows both alike. Each
side stops once it is good enough. With --at-most RATIO the whole stops as soon as theirs has taken
so long that the ratio is proved. If interrupted, it resumes when called again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from harness import report
from torch import nn
from torch.utils.data import DataLoader

from softonce import TrainConfig, create_model, train
from softonce.files import write_text

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from torchvision_beside import load_torchvision

MODEL = "cifar_resnet20"
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
Rows = list[dict[str, Any]]
"""`seconds` so far and `top1` after each epoch."""


class GoodEnough(Exception):  # noqa: N818 - it is no error
    """Our side is good enough: it need not train on."""


class Turns:
    """A sink of our run: notes each epoch's time, and lets the other side make its epochs then."""

    def __init__(self, path: Path, wanted: float, others: Callable[[float], None]) -> None:
        self.path, self.wanted, self.others = path, wanted, others
        self.start = time.monotonic()
        self.rows: Rows = json.loads(path.read_text()) if path.exists() else []

    def write(self, row: Any, /) -> None:
        """Note the time and top-1 of an epoch, and wait for the other side."""
        if row["split"] != "val":
            return
        begin = time.monotonic()
        before = [old for old in self.rows if old["epoch"] < row["epoch"]]
        # The run's own clock begins after the images are read, and goes on in the others' turns.
        reading = before[0]["reading"] if before else max(0.0, begin - self.start - row["seconds"])
        seconds = row["seconds"] + reading - sum(old["turn"] for old in before)
        new = {"epoch": row["epoch"], "seconds": seconds, "top1": row["top1"], "reading": reading}
        print(f"softonce: {new}", flush=True)
        self.others(seconds)
        new["turn"] = time.monotonic() - begin
        self.rows = [*before, new]
        write_text(self.path, json.dumps(self.rows))
        if row["top1"] >= self.wanted:
            raise GoodEnough

    def close(self) -> None:
        """Nothing is held back."""


def ours(data: Path, work: Path, epochs: int, turns: Turns) -> None:
    """Train with test/ in the place of val/, until it is good enough."""
    if turns.rows and turns.rows[-1]["top1"] >= turns.wanted:
        return
    images, run = work / "ours-data", work / "ours"
    images.mkdir(parents=True, exist_ok=True)
    for name, target in (("train", "train"), ("val", "test")):
        if not (images / name).exists():
            (images / name).symlink_to((data / target).resolve(), target_is_directory=True)
    config = TrainConfig(
        images,
        model=MODEL,
        recipe="scratch-small",
        lr=0.2,
        alternating_flip=True,
        epochs=epochs,
        output=run,
    )
    begun = (run / "config.toml").exists()
    try:
        train(TrainConfig(resume=run) if begun else config, sinks=[turns])
    except GoodEnough:
        return


class Theirs:
    """torchvision's loop, an epoch at a time; its state lies on the disk after each."""

    def __init__(self, data: Path, state: Path, epochs: int, workers: int) -> None:
        start = time.monotonic()
        self.state, self.epochs = state, epochs
        self.loaders = _loaders(data, workers)
        torch.manual_seed(0)
        self.model = create_model(MODEL)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4
        )
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=epochs)
        self.rows: Rows = []
        if state.exists():
            saved = torch.load(state, weights_only=True)
            self.rows = saved["rows"]
            for name, part in self._parts().items():
                part.load_state_dict(saved[name])
        self.reading = time.monotonic() - start

    def _parts(self) -> dict[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler}

    def seconds(self) -> float:
        """Return the time taken so far."""
        return float(self.rows[-1]["seconds"]) if self.rows else self.reading

    def best(self) -> float:
        """Return the best top-1 so far."""
        return max((row["top1"] for row in self.rows), default=0.0)

    def make_epoch(self) -> None:
        """Train and evaluate once."""
        before, start = self.seconds(), time.monotonic()
        _train_one_epoch(self.model, self.optimizer, self.loaders[0])
        self.scheduler.step()
        top1 = _accuracy(self.model, self.loaders[1])
        self.rows.append({"seconds": before + time.monotonic() - start, "top1": top1})
        print(f"torchvision: epoch {len(self.rows)} of {self.epochs}, {self.rows[-1]}", flush=True)
        states = {name: part.state_dict() for name, part in self._parts().items()}
        torch.save({"rows": self.rows, **states}, self.state.with_suffix(".new"))
        self.state.with_suffix(".new").replace(self.state)


def _loaders(data: Path, workers: int) -> list[DataLoader[Any]]:
    torchvision = load_torchvision()
    import torchvision.datasets as datasets

    kinds = torchvision.transforms
    plain = [kinds.ToTensor(), kinds.Normalize(MEAN, STD)]
    random = [kinds.RandomCrop(32, padding=4), kinds.RandomHorizontalFlip()]
    folders = [
        datasets.ImageFolder(str(data / name), kinds.Compose(steps))
        for name, steps in (("train", random + plain), ("test", plain))
    ]
    return [
        DataLoader(folder, batch_size=128, shuffle=number == 0, num_workers=workers)
        for number, folder in enumerate(folders)
    ]


def _train_one_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, loader: Any) -> None:
    criterion, meters = nn.CrossEntropyLoss(), []
    model.train()
    for images, target in loader:
        logits = model(images)
        loss = criterion(logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        top = logits.topk(5, dim=1).indices.t().eq(target)
        meters.extend(top[:k].flatten().sum().item() * 100 / len(target) for k in (1, 5))
        meters.append(loss.item())


@torch.inference_mode()
def _accuracy(model: nn.Module, loader: Any) -> float:
    model.eval()
    right = sum((model(images).argmax(1) == target).sum().item() for images, target in loader)
    return right / len(loader.dataset)


def time_to(rows: Rows, wanted: float) -> float | None:
    """Return the seconds after the first epoch that is good enough."""
    return next((row["seconds"] for row in rows if row["top1"] >= wanted), None)


def brief(rows: Rows) -> dict[int, list[float]]:
    """Return each epoch's seconds so far and top-1."""
    return {
        epoch: [round(row["seconds"], 1), round(row["top1"], 4)]
        for epoch, row in enumerate(rows, 1)
    }


def main() -> None:
    """Run both sides in turn, or what is left of them, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with train/ and test/")
    parser.add_argument("--work", type=Path, default=Path("time-to-accuracy"))
    parser.add_argument("--wanted", type=float, default=0.87)
    parser.add_argument("--our-epochs", type=int, default=26)
    parser.add_argument("--their-epochs", type=int, default=30)
    parser.add_argument("--workers", type=int, default=1, help="of torchvision's loader")
    parser.add_argument("--at-most", type=float, help="ratio that is to be proved, and no more")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    theirs = Theirs(asked.data, asked.work / "theirs.pt", asked.their_epochs, asked.workers)

    def done() -> bool:
        return theirs.best() >= asked.wanted or len(theirs.rows) == asked.their_epochs

    def catch_up(seconds: float) -> None:  # they may take as long as ours has, and an epoch more
        while theirs.seconds() < seconds and not done():
            theirs.make_epoch()

    turns = Turns(asked.work / "ours.json", asked.wanted, catch_up)
    ours(asked.data, asked.work, asked.our_epochs, turns)
    our_time = time_to(turns.rows, asked.wanted)
    limit = our_time / asked.at_most if our_time and asked.at_most else float("inf")
    while theirs.seconds() < limit and not done():
        theirs.make_epoch()
    their_time = time_to(theirs.rows, asked.wanted)
    ratios = {}
    if our_time:
        reached = their_time or theirs.seconds()
        ratios["our time to theirs" if their_time else "our time to theirs, less than"] = (
            our_time / reached
        )
    figures: dict[str, object] = {
        "softonce seconds": our_time and round(our_time, 1),
        "torchvision seconds": their_time and round(their_time, 1),
        "wanted top-1": asked.wanted,
        "softonce epochs, seconds and top-1": brief(turns.rows),
        "torchvision epochs, seconds and top-1": brief(theirs.rows),
    }
    report("time_to_accuracy", ratios=ratios, figures=figures, packages=("torch", "torchvision"))


if __name__ == "__main__":
    main()
