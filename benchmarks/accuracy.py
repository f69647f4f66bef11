"""Test error on Fashion-MNIST with and without random erasing, by the protocol of its paper.

`cifar_resnet20`, batch 128, SGD with lr 0.1, weight decay 5e-4, random crop and flip, 300 epochs,
3 seeds, the error of the last epoch. Published (Zhong et al. 2017, arXiv 1708.04896, table 1,
ResNet-20): 4.39 % without, 4.02 % with. Where ours differs: a cosine instead of two steps down, and
1 % of train is kept as val, which the last epoch does not look at.

Interrupted, it goes on where it was when called again with the same --work.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from harness import report

from softonce import EvaluateConfig, TrainConfig, evaluate, train

PUBLISHED = {"without": 4.39, "with": 4.02}
ERASE = {"without": 0.0, "with": 0.5}


def test_error(data: str, run: Path, *, erase: float, seed: int, epochs: int) -> float:
    """Train, or go on; return the last epoch's error on test, in per cent."""
    config = TrainConfig(
        data,
        model="cifar_resnet20",
        recipe="none",
        mode="L",
        size=28,
        epochs=epochs,
        opt="sgd",
        val_fraction=0.01,
        random_erase=erase,
        seed=seed,
        output=run,
    )
    if not (run / "last.safetensors").exists():
        train(TrainConfig(resume=run) if (run / "config.toml").exists() else config)
    found = evaluate(EvaluateConfig((str(run / "last.safetensors"), data), split="test"))
    return 100 * (1 - found.figures.top1)


def main() -> None:
    """Make all runs, or what is left of them, and print the errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="idx:DIR with the four IDX files, or a folder of images")
    parser.add_argument("--work", type=Path, default=Path("accuracy"))
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    errors: dict[str, list[float]] = {name: [] for name in ERASE}
    for seed in range(asked.seeds):
        for name, erase in ERASE.items():
            run = asked.work / f"{name}-seed{seed}-epochs{asked.epochs}"
            run.parent.mkdir(parents=True, exist_ok=True)
            found = test_error(asked.data, run, erase=erase, seed=seed, epochs=asked.epochs)
            errors[name].append(round(found, 3))
            print(f"seed {seed}, {name} random erasing: {found:.2f} %", flush=True)
    means = {name: statistics.mean(values) for name, values in errors.items()}
    report(
        "accuracy",
        ratios={f"error to published, {n}": means[n] / PUBLISHED[n] for n in means},
        figures={
            "test error in per cent": errors,
            "published": PUBLISHED,
            "epochs": asked.epochs,
            "seeds": asked.seeds,
        },
    )


if __name__ == "__main__":
    main()
