"""What an audit finds: faults put into the answers of trained classifiers, and false alarms.

Five classifiers are trained or taken, of 2, 3, 10, 43 and 1,000 classes. For each, 200 answers on
data that it was not trained on are served with a fault, written as CSV and audited as a user would:
the table says which verdict each fault got, how far the undone answers lie from those of one
softmax, and the ECE before and after on answers that had no part in fitting a temperature. Then
honest classifiers: flat ones, smoothed ones, trees, neighbours, untrained ones.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from harness import report
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import softonce

Values = NDArray[np.float64]
Labels = NDArray[np.int64]

N = 200
MENTIONED = 5
IMAGENET = {"ants": 310, "bees": 309}
LITE0 = "1000: EfficientNet-Lite0 on ants and bees"


@dataclass(frozen=True)
class Problem:
    """Answers of a trained classifier.

    Args:
        logits: (N, C), calibrated: divided by the temperature of other answers.
        target: (N,) what is right.
    """

    logits: Values
    target: Labels


def softmax(values: Values) -> Values:
    terms = np.exp(values - values.max(axis=1, keepdims=True))
    return terms / terms.sum(axis=1, keepdims=True)


def sigmoid(values: Values) -> Values:
    return 1 / (1 + np.exp(-values))


def cut(probs: Values) -> Values:
    """Return the first five of each answer, the others empty."""
    rank = (-probs).argsort(axis=1).argsort(axis=1)
    return np.where(rank < MENTIONED, probs, np.nan)


FAULTS: dict[str, Callable[[Values], Values]] = {
    "none": softmax,
    "second softmax": lambda z: softmax(softmax(z)),
    "second softmax, float32": lambda z: softmax(softmax(z)).astype(np.float32).astype(float),
    "second softmax, 4 decimals": lambda z: np.round(softmax(softmax(z)), 4),
    "third softmax": lambda z: softmax(softmax(softmax(z))),
    "temperature 2": lambda z: softmax(z / 2),
    "temperature 0.5": lambda z: softmax(2 * z),
    "sigmoid": sigmoid,
    "softmax of sigmoids": lambda z: softmax(sigmoid(z)),
    "percentages": lambda z: 100 * softmax(z),
    "logits": lambda z: z,
    "classes permuted": lambda z: np.roll(softmax(z), 1, axis=1),
    "2 decimals": lambda z: np.round(softmax(z), 2),
    "4 decimals": lambda z: np.round(softmax(z), 4),
    "first 5": lambda z: cut(softmax(z)),
}
EXPECTED = {
    "none": "none", "second softmax": "second-softmax",
    "second softmax, float32": "second-softmax", "second softmax, 4 decimals": "second-softmax",
    "third softmax": "third-softmax", "temperature 2": "too flat", "temperature 0.5": "too sure",
    "sigmoid": "sigmoids", "softmax of sigmoids": "softmax-of-sigmoids",
    "percentages": "percentages", "logits": "logits", "classes permuted": "classes-permuted",
    "2 decimals": "2 decimals", "4 decimals": "4 decimals", "first 5": "top-k",
}  # fmt: skip


def verdict_of(found: softonce.Audit, fault: str) -> str:
    """Return what the audit says, in one word; of digits and cuts, no faults, their own."""
    names = [finding.name for finding in found.findings if finding.level == "fault"]
    if names:
        return " + ".join(names)
    if found.recognition.scale.top_k is not None:
        return "top-k"
    if fault in ("2 decimals", "4 decimals"):
        return found.recognition.scale.precision.name
    is_open = any(f.sure == "cannot be told" and f.name == "softmaxes" for f in found.findings)
    words = ["softmaxes cannot be told"] if is_open else []
    if any(f.name == "temperature" and f.level == "warning" for f in found.findings):
        fitted = found.labelled.calibration.fitted  # type: ignore[union-attr]
        words.append("too sure" if fitted > 1 else "too flat")
    return ", ".join(words) or "none"


def audited(values: Values, target: Labels | None, folder: Path) -> softonce.Audit:
    """Write the answers as a table, and audit it."""
    names = [f"prob_{index}" for index in range(values.shape[1])]
    path = folder / "answers.csv"
    with path.open("w") as file:
        print(*names, *([] if target is None else ["label"]), sep=",", file=file)
        for number, row in enumerate(values.tolist()):
            cells = ["" if value != value else repr(value) for value in row]
            print(*cells, *([] if target is None else [target[number]]), sep=",", file=file)
    return softonce.audit(path, quiet=True)


def scores_of(model: object, features: Values) -> Values:
    """Return logits of a model of scikit-learn; of two classes they are half the difference."""
    if hasattr(model, "decision_function"):
        scores = np.asarray(model.decision_function(features))
        return np.stack([-scores / 2, scores / 2], axis=1) if scores.ndim == 1 else scores
    return np.log(np.clip(model.predict_proba(features), 1e-12, None))  # type: ignore[attr-defined]


def split(target: Labels, seed: int = 0) -> tuple[Labels, Labels, Labels]:
    """Return which samples train, which ones calibrate and which ones are asked about."""
    order = np.random.default_rng(seed).permutation(len(target))
    n = min(N, len(order) // 3)
    return order[2 * n :], order[n : 2 * n], order[:n]


def trained(model: object, features: Values, target: Labels) -> Problem:
    """Train, calibrate on other samples, and answer on further ones."""
    import torch

    from softonce.calibrate import fit_temperature

    train, val, test = split(target)
    model.fit(features[train], target[train])  # type: ignore[attr-defined]
    val_logits, logits = (scores_of(model, features[part]) for part in (val, test))
    temperature = fit_temperature(torch.from_numpy(val_logits), torch.from_numpy(target[val]))
    return Problem(logits / temperature, target[test].astype(np.int64))


def linear(strength: float = 1.0) -> object:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=3000))


def answers_of_lite0(photos: Path) -> tuple[Values, Labels]:
    """Return EfficientNet-Lite0's logits on photographs, and ImageNet's numbers of classes."""
    import torch
    from efficientnet_lite0 import WEIGHTS, lite0

    from softonce.data.images import open_image, to_square
    from softonce.data.loader import normalize

    network = lite0()
    network.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    network.eval()
    preprocessing = network.default_preprocessing
    paths = sorted(photos.rglob("*.jpg"))
    parts = []
    with torch.inference_mode():
        for path in paths:
            pixels = to_square(open_image(path.read_bytes()), preprocessing)[None]  # type: ignore[arg-type]
            parts.append(network(normalize(torch.from_numpy(pixels), preprocessing)))  # type: ignore[arg-type]
    target = [IMAGENET[path.parent.name] for path in paths]
    return torch.cat(parts).double().numpy(), np.array(target, np.int64)


def draw(problem: Problem, folder: Path, picture: Path) -> None:
    """Draw the reliability of a second softmax as it is served, and repaired."""
    from matplotlib import style
    from matplotlib.figure import Figure

    from softonce.plots import NOTEBOOK, draw_reliability, style_of

    found = audited(softmax(softmax(problem.logits)), problem.target, folder)
    assert found.labelled is not None
    assert found.labelled.repaired is not None
    sides = {"served": found.labelled.served, "repaired": found.labelled.repaired}
    with style.context(["default", style_of(NOTEBOOK)]):
        figure = Figure(figsize=(7.2, 3.4))
        for axes, (name, shown) in zip(figure.subplots(1, 2), sides.items(), strict=True):
            draw_reliability(
                axes, shown.reliability, title=f"{name}, ECE {shown.ece:.1%}", palette=NOTEBOOK
            )
        figure.legends[1:] = []  # one for both
        figure.savefig(picture, dpi=120)


def problems(photos: Path | None) -> Iterator[tuple[str, Problem]]:
    """Yield trained classifiers of 2, 3, 10, 43 and 1,000 classes, each on real data."""
    images, digits = load_digits(return_X_y=True)
    # With the noise there are mistakes, as calibration needs them.
    noisy, grainy, wavy = (
        images + np.random.default_rng(0).normal(scale=scale, size=images.shape)
        for scale in (6.0, 3.0, 2.0)
    )
    layers = MLPClassifier((64,), alpha=0.1, max_iter=300, random_state=0)
    yield (
        "2: digits, odd or even",
        trained(make_pipeline(StandardScaler(), layers), grainy, digits % 2),
    )
    few = np.isin(digits, (1, 7, 8)) | (digits == 3)
    three = np.searchsorted((1, 7, 8), np.where(digits == 3, 8, digits))
    yield "3: digits 1, 7, and 3 or 8", trained(linear(), wavy[few], three[few])
    yield "10: digits", trained(linear(), noisy, digits)
    # Kinds of digits, as k-means parts them; the labels are of the images without noise.
    kinds = KMeans(43, random_state=0, n_init=1).fit_predict(images)
    yield "43: kinds of digits", trained(linear(), wavy, kinds.astype(np.int64))
    if photos is not None:
        import torch

        from softonce.calibrate import fit_temperature

        values, target = answers_of_lite0(photos)
        order = np.random.default_rng(0).permutation(len(target))
        values, target = values[order], target[order]
        rest = torch.from_numpy(values[N:]), torch.from_numpy(target[N:])
        yield (
            "1000: EfficientNet-Lite0 on ants and bees",
            Problem(values[:N] / fit_temperature(*rest), target[:N]),
        )


def honest(all_problems: dict[str, Problem]) -> Iterator[tuple[str, Values]]:
    """Yield the answers of honest classifiers, the probabilities of one softmax each."""
    images, digits = load_digits(return_X_y=True)
    for name, problem in all_problems.items():
        for temperature in (20.0, 100.0):
            yield f"{name}, T = {temperature:g}", softmax(problem.logits / temperature)
        smooth = 0.9 * softmax(problem.logits) + 0.1 / problem.logits.shape[1]
        yield f"{name}, smoothed", smooth
    rng = np.random.default_rng(0)
    yield "untrained, 10", softmax(0.05 * rng.normal(size=(N, 64)) @ rng.normal(size=(64, 10)))
    yield "untrained, 2", softmax(0.05 * rng.normal(size=(N, 64)) @ rng.normal(size=(64, 2)))
    data = {"cancer": load_breast_cancer, "wine": load_wine, "iris": load_iris}
    for name, load in data.items():
        features, target = load(return_X_y=True)
        train, _, test = split(target)
        for kind in (linear(0.01), GaussianNB(), KNeighborsClassifier(7)):
            kind.fit(features[train], target[train])  # type: ignore[attr-defined]
            title = "linear" if hasattr(kind, "steps") else type(kind).__name__
            yield f"{name}, {title}", kind.predict_proba(features[test])  # type: ignore[attr-defined]
    train, _, test = split(digits)
    for kind in (
        RandomForestClassifier(50, random_state=0),
        DecisionTreeClassifier(max_depth=4, random_state=0),
        MLPClassifier((32,), max_iter=300, random_state=0),
    ):
        kind.fit(images[train], digits[train])
        yield f"digits, {type(kind).__name__}", kind.predict_proba(images[test])
    stump = DecisionTreeClassifier(max_depth=1, random_state=0).fit(
        images[train], digits[train] > 4
    )
    yield "digits, stump of two classes", stump.predict_proba(images[test])


def distance(found: softonce.Audit, once: Values) -> float:
    """Return how far undone answers lie from those of one softmax, at most."""
    return float(np.abs(np.exp(found.recognition.undone) - once).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder with ants/ and bees/ somewhere in it")
    parser.add_argument("--picture", type=Path, help="PNG of the reliability before and after")
    options = parser.parse_args()
    found_problems = dict(problems(options.photos))
    confusion: dict[str, dict[str, str]] = {}
    undone: dict[str, dict[str, float]] = {}
    before_after: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, problem in found_problems.items():
            once = softmax(problem.logits)
            for fault, make in FAULTS.items():
                if fault == "first 5" and problem.logits.shape[1] <= MENTIONED:
                    continue  # nothing is cut
                found = audited(make(problem.logits), problem.target, folder)
                confusion.setdefault(fault, {})[name] = verdict_of(found, fault)
                if found.recognition.is_undone:
                    undone.setdefault(fault, {})[name] = distance(found, once)
                if fault in ("second softmax", "temperature 2", "temperature 0.5"):
                    served, repaired = found.labelled.served, found.labelled.repaired  # type: ignore[union-attr]
                    shown = repaired or served
                    before_after[f"{name}, {fault}"] = {
                        "served": [served.ece, served.intervals.get("ece")],
                        "repaired": [shown.ece, shown.intervals.get("ece")],
                    }
            print(name, {each: row.get(name) for each, row in confusion.items()}, flush=True)
        if options.picture is not None:
            draw(found_problems[LITE0], folder, options.picture)
        alarms = {
            title: verdict_of(audited(values, None, folder), "")
            for title, values in honest(found_problems)
        }
    named = {
        fault: sum(v == EXPECTED[fault] for v in row.values()) for fault, row in confusion.items()
    }
    wrong = {
        title: verdict
        for title, verdict in alarms.items()
        if verdict not in ("none", "softmaxes cannot be told")
    }
    report(
        "audit",
        ratios={},
        figures={
            "answers": N,
            "confusion": confusion,
            "named": named,
            "undone_to": undone,
            "ece": before_after,
            "honest": alarms,
            "false_alarms": wrong,
        },
        packages=("numpy", "scikit-learn", "torch"),
    )


if __name__ == "__main__":
    main()
