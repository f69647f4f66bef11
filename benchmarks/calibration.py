"""Whether calibration keeps its word, on CIFAR-10 with published weights of ResNet-20.

FOLDER holds test/<class>/, FILE the weights. From the 10,000 test images, and from those of two
classes that are easily told apart or hardly, small val sets are drawn at random; on each the
temperature is chosen as a run does, and the NLL of all other images is compared with that at
temperature 1. The same is done with logits that are calibrated already, and with logits near to
that, where every temperature does harm easily. Then other maps, fitted on the same val sets: vector
scaling, and isotonic regression of each class against the rest.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from harness import report
from sklearn.isotonic import IsotonicRegression
from torch import Tensor, nn
from torch.nn import functional as F

from softonce import evaluate, inference
from softonce.calibrate import calibrate, fit_temperature

EASY, HARD = ("airplane", "frog"), ("cat", "dog")
SIZES = (20, 50, 100, 300)
VAL_SIZES = (300, 1000, 5000)
MIN_PROB = 1e-4
"""Isotonic regression says 0 of what it has not seen; no probability is below this."""

Problem = tuple[Tensor, Tensor]


def logits_of(folder: str, weights: str, kept: Path | None) -> tuple[Tensor, Tensor, list[str]]:
    """Return float64 logits, targets and class names; `kept` spares a second run the network."""
    if kept is not None and kept.exists():
        found = np.load(kept)
        logits, target = torch.from_numpy(found["logits"]), torch.from_numpy(found["target"])
        return logits.double(), target, found["classes"].tolist()
    found = evaluate(folder, model="cifar_resnet20", weights=weights, split="test", quiet=True)
    target = torch.from_numpy(found.scan.samples.target)
    if kept is not None:
        np.savez(kept, logits=found.logits, target=target, classes=np.array(found.classes))
    return found.logits.double(), target, list(found.classes)


def problems(logits: Tensor, target: Tensor, classes: list[str]) -> Iterator[tuple[str, Problem]]:
    """Yield what val sets are drawn from, by name."""
    bases = {"ten classes": (logits, target)}
    for name, pair in (("easy pair", EASY), ("hard pair", HARD)):
        columns = [classes.index(each) for each in pair]
        own = (target[:, None] == torch.tensor(columns)).any(dim=1)
        bases[name] = (logits[own][:, columns], (target[own] == columns[1]).long())
    yield from bases.items()
    for name, (rows, own) in bases.items():
        calibrated = rows / fit_temperature(rows, own)
        for factor in (1.0, 1.25, 0.8):
            yield f"{name}, best temperature {factor:g}", (calibrated * factor, own)


def mean_nll(logits: Tensor, target: Tensor, temperature: float = 1.0) -> float:
    """Return the mean NLL in nats."""
    return F.cross_entropy(logits / temperature, target).item()


def draw(problem: Problem, n: int, rng: np.random.Generator) -> tuple[Problem, Problem]:
    """Return a val set of n samples, and all others."""
    logits, target = problem
    order = torch.from_numpy(rng.permutation(len(target)))
    val, rest = order[:n], order[n:]
    return (logits[val], target[val]), (logits[rest], target[rest])


def choose_temperatures(problem: Problem, n: int, num_draws: int) -> dict[str, float]:
    """Return how often a temperature was kept, how often it did harm, and the mean fall of NLL."""
    rng = np.random.default_rng(n)
    added, always = [], []
    for seed in range(num_draws):
        val, rest = draw(problem, n, rng)
        plain = mean_nll(*rest)
        added.append(mean_nll(*rest, calibrate(*val, seed=seed).temperature) - plain)
        always.append(mean_nll(*rest, fit_temperature(*val)) - plain)
    harm = np.array(added) > 0
    return {
        "kept": float(np.mean(np.array(added) != 0)),
        "worse": float(harm.mean()),
        "mean_added": float(np.mean(added)),
        "largest_added": float(np.max(added)),
        "worse_if_always_fitted": float(np.mean(np.array(always) > 0)),
        "mean_added_if_always_fitted": float(np.mean(always)),
    }


def vector_scaling(val: Problem, rest: Problem) -> float:
    """Return the NLL of a factor and an offset for each class, fitted by L-BFGS."""
    logits, target = val
    factor = nn.Parameter(torch.ones(logits.shape[1], dtype=torch.float64))
    offset = nn.Parameter(torch.zeros(logits.shape[1], dtype=torch.float64))
    optimizer = torch.optim.LBFGS([factor, offset], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(logits * factor + offset, target)
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        return mean_nll(rest[0] * factor + offset, rest[1])


def isotonic(val: Problem, rest: Problem) -> float:
    """Return the NLL of isotonic regressions, one class against the rest, normalised."""
    seen, asked = (inference.probs(each[0]).numpy() for each in (val, rest))
    columns = [
        IsotonicRegression(out_of_bounds="clip")
        .fit(seen[:, index], (val[1] == index).double().numpy())
        .predict(asked[:, index])
        for index in range(seen.shape[1])
    ]
    probs = np.clip(np.stack(columns, axis=1), MIN_PROB, None)
    probs /= probs.sum(axis=1, keepdims=True)
    return -float(np.log(probs[np.arange(len(probs)), rest[1].numpy()]).mean())


MAPS: dict[str, Callable[[Problem, Problem], float]] = {
    "temperature 1": lambda _, rest: mean_nll(*rest),
    "temperature": lambda val, rest: mean_nll(*rest, calibrate(*val).temperature),
    "vector scaling": vector_scaling,
    "isotonic": isotonic,
}


def compare_maps(problem: Problem, n: int, num_draws: int) -> dict[str, float]:
    """Return the mean NLL of other samples for each map, over draws of val."""
    rng = np.random.default_rng(n)
    draws = [draw(problem, n, rng) for _ in range(num_draws)]
    return {name: float(np.mean([fit(*each) for each in draws])) for name, fit in MAPS.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("weights")
    parser.add_argument("--logits", type=Path, help="file that keeps the logits for another run")
    parser.add_argument("--draws", type=int, default=150)
    options = parser.parse_args()
    logits, target, classes = logits_of(options.folder, options.weights, options.logits)
    figures: dict[str, object] = {}
    for name, problem in problems(logits, target, classes):
        figures[name] = {str(n): choose_temperatures(problem, n, options.draws) for n in SIZES}
        print(name, figures[name], flush=True)
    figures["maps"] = {
        str(n): compare_maps((logits, target), n, 20 if n < 5000 else 5) for n in VAL_SIZES
    }
    figures["draws"] = options.draws
    report(
        "calibration",
        ratios={},
        figures=figures,
        packages=("torch", "numpy", "scikit-learn"),
    )


if __name__ == "__main__":
    main()
