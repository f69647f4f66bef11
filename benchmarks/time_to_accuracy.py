"""Time until the test images of CIFAR-10 are 87 % right: ours against torchvision's loop.

The same network (`cifar_resnet20`), images (a folder of train/ and test/) and machine. Ours is the
recipe `scratch-small` in few epochs. torchvision's side is the body of its reference training loop
in float32 with its folder reader and transforms (random crop of a padded picture, flip), batch 128,
SGD with lr 0.1, a cosine over 30 epochs. Reading the images counts on both sides, as does the
evaluation after every epoch. Interrupted, it goes on where it was when called again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from harness import report
from torch import nn
from torch.utils.data import DataLoader

from softonce import TrainConfig, create_model, train
from softonce.training.metrics_file import MetricsFile

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from torchvision_beside import load_torchvision

MODEL = "cifar_resnet20"
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def ours(data: Path, run: Path, epochs: int) -> list[dict[str, Any]]:
    """Train with test/ in the place of val/; return seconds and top-1 after each epoch."""
    images = run.parent / "ours-data"
    images.mkdir(parents=True, exist_ok=True)
    for name, target in (("train", "train"), ("val", "test")):
        if not (images / name).exists():
            (images / name).symlink_to((data / target).resolve(), target_is_directory=True)
    begun = (run / "config.toml").exists()
    config = TrainConfig(images, model=MODEL, recipe="scratch-small", epochs=epochs, output=run)
    clock = _Clock(run.parent / "reading.json")
    train(TrainConfig(resume=run) if begun else config, sinks=[clock])
    rows = MetricsFile(run / "metrics.jsonl").rows()
    reading = json.loads(clock.path.read_text())
    return [
        {"seconds": reading + row["seconds"], "top1": row["top1"]}
        for row in rows
        if row["split"] == "val"
    ]


class _Clock:
    """Notes how long the run read images before the clock of its rows began."""

    def __init__(self, path: Path) -> None:
        self.path, self.start = path, time.monotonic()

    def write(self, row: Any, /) -> None:
        if not self.path.exists():
            self.path.write_text(json.dumps(time.monotonic() - self.start - row["seconds"]))

    def close(self) -> None:
        """Nothing is held back."""


def torchvisions(data: Path, run: Path, epochs: int, workers: int) -> list[dict[str, Any]]:
    """Train with torchvision's loop; return seconds and top-1 after each epoch."""
    start = time.monotonic()
    loaders = _loaders(data, workers)
    torch.manual_seed(0)
    model = create_model(MODEL)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    rows: list[dict[str, Any]] = []
    state = run / "state.pt"
    run.mkdir(parents=True, exist_ok=True)
    if state.exists():
        saved = torch.load(state, weights_only=True)
        rows = saved["rows"]
        for part, name in ((model, "model"), (optimizer, "optimizer"), (scheduler, "scheduler")):
            part.load_state_dict(saved[name])
    spent = rows[-1]["seconds"] if rows else 0.0
    while len(rows) < epochs:
        _train_one_epoch(model, optimizer, loaders[0])
        scheduler.step()
        top1 = _accuracy(model, loaders[1])
        rows.append({"seconds": spent + time.monotonic() - start, "top1": top1})
        print(f"torchvision: epoch {len(rows)} of {epochs}, {rows[-1]}", flush=True)
        states = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
        }
        torch.save({"rows": rows, **states}, state.with_suffix(".new"))
        state.with_suffix(".new").replace(state)
    return rows


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


def time_to(rows: list[dict[str, Any]], wanted: float) -> float | None:
    """Return the seconds after the first epoch that is good enough."""
    return next((row["seconds"] for row in rows if row["top1"] >= wanted), None)


def main() -> None:
    """Run both sides, or what is left of them, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with train/ and test/")
    parser.add_argument("--work", type=Path, default=Path("time-to-accuracy"))
    parser.add_argument("--wanted", type=float, default=0.87)
    parser.add_argument("--our-epochs", type=int, default=12)
    parser.add_argument("--their-epochs", type=int, default=30)
    parser.add_argument("--workers", type=int, default=1, help="of torchvision's loader")
    asked = parser.parse_args()
    rows = {
        "softonce": ours(asked.data, asked.work / "ours", asked.our_epochs),
        "torchvision": torchvisions(
            asked.data, asked.work / "torchvision", asked.their_epochs, asked.workers
        ),
    }
    times = {name: time_to(found, asked.wanted) for name, found in rows.items()}
    ratios = {}
    if times["softonce"] and times["torchvision"]:
        ratios["our time to theirs"] = times["softonce"] / times["torchvision"]
    figures: dict[str, object] = {f"{name} seconds": value for name, value in times.items()}
    figures |= {"wanted top-1": asked.wanted} | {f"{name} epochs": r for name, r in rows.items()}
    report("time_to_accuracy", ratios=ratios, figures=figures, packages=("torch", "torchvision"))


if __name__ == "__main__":
    main()
