"""Test error on Fashion-MNIST with and without random erasing, by the protocol of its paper.

`cifar_resnet20`, batch 128, SGD with lr 0.1, weight decay 5e-4, random crop and flip, 300 epochs,
3 seeds, the error of the last epoch. Published (Zhong et al. 2017, arXiv 1708.04896, table 1,
ResNet-20): 4.39 % without, 4.02 % with. Where ours differs: a cosine instead of two steps down, and
1 % of train is kept as val, which the last epoch does not look at.

300 epochs of plain SGD take a GPU. With --short it is our recipe for few epochs instead,
`scratch-small` with lr 0.2 and alternating flip, the same augmentation otherwise.

Interrupted, it goes on where it was when called again with the same --work.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from harness import report

from softonce import EvaluateConfig, TrainConfig, evaluate, train

PUBLISHED = {"without": 4.39, "with": 4.02}
ERASE = {"without": 0.0, "with": 0.5}
PAPERS: dict[str, Any] = {"recipe": "none", "opt": "sgd"}
SHORT: dict[str, Any] = {"recipe": "scratch-small", "lr": 0.2, "alternating_flip": True}


def test_error(
    data: str, run: Path, *, erase: float, seed: int, epochs: int, how: dict[str, Any]
) -> float:
    """Train, or go on; return the last epoch's error on test, in per cent."""
    config = TrainConfig(
        data,
        model="cifar_resnet20",
        mode="L",
        size=28,
        epochs=epochs,
        val_fraction=0.01,
        random_erase=erase,
        seed=seed,
        output=run,
        **how,
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
    parser.add_argument("--short", action="store_true", help="our recipe for few epochs")
    asked = parser.parse_args()
    how = SHORT if asked.short else PAPERS
    errors: dict[str, list[float]] = {name: [] for name in ERASE}
    for seed in range(asked.seeds):
        for name, erase in ERASE.items():
            kind = "-short" if asked.short else ""
            run = asked.work / f"{name}-seed{seed}-epochs{asked.epochs}{kind}"
            run.parent.mkdir(parents=True, exist_ok=True)
            found = test_error(
                asked.data, run, erase=erase, seed=seed, epochs=asked.epochs, how=how
            )
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
            "settings": how,
        },
    )


if __name__ == "__main__":
    main()
