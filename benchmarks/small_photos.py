"""Val accuracy on few photographs: the default plan against a batch as large as the set.

Made for the ants and bees of PyTorch's transfer-learning tutorial (245 photographs of train, 153 of
val), from nothing: `resnet18` at 96 px by default, and as the default was before, in one step of
256 an epoch by the recipe `imagenet-90`. With `--weights`, a file of `cifar_resnet20`: the default
at 32 px, which is `finetune-small`, against `finetune` and against a start from nothing.

Every seed is its own run of 12 epochs, the same seeds for all, so that differences are paired.
If interrupted, it resumes when called again with the same --work.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from harness import report

from softonce import TrainConfig, train
from softonce.artefact import read_artefact
from softonce.run_folder import RunFolder
from softonce.training.metrics_file import MetricsFile

PHOTOS: dict[str, dict[str, Any]] = {
    "one step an epoch": {"recipe": "imagenet-90", "batch_size": 256, "weights": "none"},
    "default": {"weights": "none"},
}
SMALL: dict[str, dict[str, Any]] = {
    "from nothing": {"weights": "none"},
    "finetune": {"recipe": "finetune", "batch_size": 32},
    "default": {},
}


def accuracy(data: str, run: Path, **options: Any) -> tuple[float, int]:
    """Train, or go on; return top-1 of the best epoch on val in per cent, and steps an epoch."""
    folder = RunFolder(run)
    if not folder.report.exists():
        config = TrainConfig(data, output=run, cache=True, **options)
        train(TrainConfig(resume=run) if folder.config.exists() else config)
    top1 = read_artefact(folder.artefact)[1].training["metrics"]["top1"]
    return round(100 * top1, 2), MetricsFile(folder.metrics).rows()[0]["step"]


def compare(
    data: str, work: Path, seeds: int, settings: dict[str, dict[str, Any]], **common: Any
) -> dict[str, Any]:
    """Run every setting with every seed; return accuracies, steps, and paired differences."""
    found: dict[str, list[float]] = {name: [] for name in settings}
    steps: dict[str, int] = {}
    for seed in range(seeds):
        for name, options in settings.items():
            run = work / f"{common['model']}-{name.replace(' ', '-')}-{seed}"
            top1, steps[name] = accuracy(data, run, seed=seed, **common | options)
            found[name].append(top1)
            print(f"{run.name}: {top1} %, {steps[name]} steps an epoch", flush=True)
    others = [name for name in settings if name != "default"]
    return {
        "top-1 on val in per cent": found,
        "steps an epoch": steps,
        "default less other, mean and standard error": {
            name: paired(found["default"], found[name]) for name in others
        },
    }


def paired(ours: list[float], theirs: list[float]) -> list[float]:
    """Return the mean of the differences, and its standard error."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    error = statistics.stdev(differences) / len(differences) ** 0.5
    return [round(statistics.mean(differences), 2), round(error, 2)]


def main() -> None:
    """Make all runs, or what is left of them, and print the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="a folder with train/ and val/")
    parser.add_argument("--weights", type=Path, help="a file of cifar_resnet20")
    parser.add_argument("--work", type=Path, default=Path("small_photos"))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    setup: dict[str, Any] = {"model": "resnet18", "size": 96, "epochs": asked.epochs}
    figures = {"resnet18 at 96 px": compare(asked.data, asked.work, asked.seeds, PHOTOS, **setup)}
    if asked.weights is not None:
        setup |= {"model": "cifar_resnet20", "size": 32, "weights": str(asked.weights)}
        figures["cifar_resnet20 at 32 px"] = compare(
            asked.data, asked.work, asked.seeds, SMALL, **setup
        )
    report("small_photos", ratios={}, figures=figures | {"epochs": asked.epochs})


if __name__ == "__main__":
    main()
