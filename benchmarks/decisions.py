"""Whether withheld answers and sets of classes keep their promises, on CIFAR-10 test images.

FOLDER holds test/<class>/, FILE published weights of ResNet-20. In each draw the rules are found on
a random half of the test images and tried on the other: how many of its images have their class in
their set, and how many of the answers that are given are right. The temperature is the one with the
least NLL on the same half as the rules. Sets of LAC and APS are compared with MAPIE's on the same
probabilities, where APS takes 1 for its random number.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from calibration import logits_of
from harness import report
from mapie.classification import SplitConformalClassifier
from numpy.typing import NDArray

from softonce import DataError, inference
from softonce.calibrate import fit_temperature
from softonce.calibrate.abstention import fit_abstention
from softonce.calibrate.conformal import fit_sets
from softonce.decisions import SetMethod, in_set
from softonce.metrics.intervals import Z

METHODS: tuple[SetMethod, ...] = ("lac", "aps", "raps")
COVERAGE = 0.9
ACCURACIES = (0.9, 0.95, 0.98)
NUM_JUDGED = 10
"""Draws whose sets are compared with MAPIE's, which takes a second for each."""

Half = tuple[NDArray[np.float64], NDArray[np.int64]]


class OnesForChance(np.random.RandomState):
    """The random numbers of APS, as 1."""

    def uniform(self, *_: object, size: object = None, **__: object) -> NDArray[np.float64]:  # type: ignore[override] # all that MAPIE asks of it
        """Return ones of a shape."""
        return np.ones(size)  # type: ignore[call-overload] # a number, or a shape


class Fixed:
    """A classifier for scikit-learn whose features are probabilities already."""

    def __init__(self, num_classes: int) -> None:
        self.classes_ = np.arange(num_classes)

    def fit(self, *_: object) -> Fixed:
        """Do nothing."""
        return self

    def predict_proba(self, probs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities as they are."""
        return probs

    def predict(self, probs: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the most probable class."""
        return probs.argmax(axis=1)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def draws(logits: torch.Tensor, target: torch.Tensor, num: int) -> list[tuple[Half, Half]]:
    """Return random halves as probabilities and targets, each with a temperature of its first."""
    found = []
    for seed in range(num):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(target)))
        one, other = order.chunk(2)
        temperature = fit_temperature(logits[one], target[one])
        probs = inference.probs(logits, temperature=temperature).numpy()
        found.append(tuple((probs[half], target[half].numpy()) for half in (one, other)))
    return found  # type: ignore[return-value] # pairs of pairs


def try_sets(halves: list[tuple[Half, Half]], method: SetMethod) -> dict[str, float]:
    """Return the coverage of sets on the other halves, over all draws."""
    covered, sizes = [], []
    for own, (probs, target) in halves:
        held = in_set(fit_sets(*own, coverage=COVERAGE, method=method), probs)
        covered.append(held[np.arange(len(target)), target].mean())
        sizes.append(held.sum(axis=1).mean())
    n = len(halves[0][0][1])
    # Both halves are drawn: the other one's share varies as that of the first does.
    half = Z * math.sqrt(2 * COVERAGE * (1 - COVERAGE) / n)
    inside = np.abs(np.array(covered) - COVERAGE) <= half
    return {
        "mean": float(np.mean(covered)),
        "lowest": float(np.min(covered)),
        "highest": float(np.max(covered)),
        "interval_low": COVERAGE - half,
        "interval_high": COVERAGE + half,
        "draws_inside": int(inside.sum()),
        "mean_size": float(np.mean(sizes)),
    }


def try_threshold(halves: list[tuple[Half, Half]], accuracy: float) -> dict[str, float]:
    """Return how often the promised accuracy was reached on the other half."""
    reached, given = [], []
    for (probs, target), (others, truth) in halves:
        correct = probs.argmax(axis=1) == target
        try:
            rule = fit_abstention(probs.max(axis=1), correct, accuracy=accuracy)
        except DataError:
            continue
        answered = others.max(axis=1) >= rule.threshold
        reached.append((others.argmax(axis=1) == truth)[answered].mean())
        given.append(answered.mean())
    return {
        "promised": len(reached),
        "reached": int((np.array(reached) >= accuracy).sum()),
        "mean_accuracy": float(np.mean(reached)),
        "mean_coverage": float(np.mean(given)),
    }


def count_differences(halves: list[tuple[Half, Half]], method: SetMethod) -> int:
    """Return how many sets of the other halves differ from MAPIE's."""
    num = 0
    for own, (probs, _) in halves:
        judge = SplitConformalClassifier(
            Fixed(probs.shape[1]),
            confidence_level=COVERAGE,
            conformity_score=method,
            prefit=True,
            random_state=OnesForChance(0),
        ).conformalize(*own)
        options = {} if method == "lac" else {"include_last_label": True}
        expected = judge.predict_set(probs, conformity_score_params=options)[1][:, :, 0]
        held = in_set(fit_sets(*own, coverage=COVERAGE, method=method), probs)
        num += int((held != expected).any(axis=1).sum())
    return num


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("weights")
    parser.add_argument("--logits", type=Path, help="file that keeps the logits for another run")
    parser.add_argument("--draws", type=int, default=100)
    options = parser.parse_args()
    logits, target, _ = logits_of(options.folder, options.weights, options.logits)
    halves = draws(logits, target, options.draws)
    figures: dict[str, object] = {
        "sets": {method: try_sets(halves, method) for method in METHODS},
        "thresholds": {str(accuracy): try_threshold(halves, accuracy) for accuracy in ACCURACIES},
        "sets_that_differ_from_mapie": {
            method: count_differences(halves[:NUM_JUDGED], method) for method in ("lac", "aps")
        },
        "draws": options.draws,
        "images_in_a_half": len(target) // 2,
    }
    report(
        "decisions",
        ratios={},
        figures=figures,
        packages=("torch", "numpy", "scikit-learn", "mapie"),
    )


if __name__ == "__main__":
    main()
