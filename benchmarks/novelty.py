"""How many images unlike those of training are marked, at how many false alarms, on CIFAR-10.

FOLDER holds train/<class>/ and test/<class>/, FILE published weights of ResNet-20, --photos any
further photographs. The limit of each score is found on a random half of the test images, for 5 %
false alarms; false alarms are counted on the other half, and the share of other images that is
marked: Fashion-MNIST's (if Debian's dataset-fashion-mnist is installed), scikit-learn's handwritten
digits, the photographs, noise, and squares of one colour. Beside the energy there are the largest
probability and the squared Mahalanobis distance of the features from the nearest class mean, with
the covariance that all classes share, both of every fifth image of train.

Source:
    Lee et al. 2018, A Simple Unified Framework for Detecting Out-of-Distribution Samples and
    Adversarial Attacks, section 2.1, without its perturbation of the input.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from harness import report
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from softonce import inference
from softonce.calibrate.novelty import fit_novelty
from softonce.data.images import decode_for_display, open_image, to_square
from softonce.data.loader import normalize
from softonce.decisions import energies
from softonce.engines.networks import build_network
from softonce.models import Network
from softonce.preprocessing import Preprocessing

FASHION = Path("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
FALSE_ALARMS = 0.05
NUM_DRAWS = 100
NUM_OTHERS = 2000
BATCH = 500

Outputs = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Logits (N, C) and features (N, D)."""
Score = Callable[[Outputs], NDArray[np.float64]]


def to_squares(pictures: list[Image.Image], seen: Preprocessing) -> NDArray[np.uint8]:
    return np.stack([to_square(picture.convert("RGB"), seen) for picture in pictures])


def read(files: list[Path], seen: Preprocessing) -> NDArray[np.uint8]:
    return to_squares([decode_for_display(open_image(file.read_bytes())) for file in files], seen)


def other_images(photos: Path | None, seen: Preprocessing) -> dict[str, NDArray[np.uint8]]:
    """Return images that are none of CIFAR-10's, by name."""
    random, found = np.random.default_rng(0), {}
    if FASHION.exists():
        plain = np.frombuffer(gzip.decompress(FASHION.read_bytes()), np.uint8, offset=16)
        clothes = plain.reshape(-1, 28, 28)[:NUM_OTHERS]
        found["Fashion-MNIST"] = to_squares([Image.fromarray(each) for each in clothes], seen)
    digits = (load_digits().images * 15.9).astype(np.uint8)
    found["handwritten digits"] = to_squares([Image.fromarray(digit) for digit in digits], seen)
    if photos is not None:
        found["photographs"] = read(sorted(photos.rglob("*.jpg"))[:NUM_OTHERS], seen)
    side = (NUM_OTHERS, 3, seen.size, seen.size)
    found["noise"] = random.integers(0, 256, side, np.uint8)
    found["one colour"] = np.broadcast_to(
        random.integers(0, 256, (NUM_OTHERS, 3, 1, 1), np.uint8), side
    ).copy()
    return found


@torch.inference_mode()
def answer(network: Network, pixels: NDArray[np.uint8], seen: Preprocessing) -> Outputs:
    logits, features = [], []
    for start in range(0, len(pixels), BATCH):
        images = normalize(torch.from_numpy(pixels[start : start + BATCH]), seen)
        features.append(network.forward_features(images))
        logits.append(network.head(features[-1]))
    return torch.cat(logits).double().numpy(), torch.cat(features).double().numpy()


def fit_mahalanobis(features: NDArray[np.float64], target: NDArray[np.int64]) -> Score:
    means = np.stack([features[target == index].mean(axis=0) for index in range(target.max() + 1)])
    precision = np.linalg.pinv(np.cov((features - means[target]).T, bias=True))

    def measure(outputs: Outputs) -> NDArray[np.float64]:
        apart = outputs[1][:, None] - means
        distance: NDArray[np.float64] = np.einsum("ncd,de,nce->nc", apart, precision, apart)
        return distance.min(axis=1)

    return measure


def largest_prob(outputs: Outputs) -> NDArray[np.float64]:
    probs: NDArray[np.float64] = inference.array_probs(outputs[0], temperature=1.0)
    return -probs.max(axis=1)


def try_score(score: Score, own: Outputs, others: dict[str, Outputs]) -> dict[str, object]:
    values, alarms = score(own), []
    marked: dict[str, list[float]] = {name: [] for name in others}
    strange = {name: score(outputs) for name, outputs in others.items()}
    for seed in range(NUM_DRAWS):
        one, other = np.array_split(np.random.default_rng(seed).permutation(len(values)), 2)
        limit = fit_novelty(values[one], false_alarms=FALSE_ALARMS).limit
        alarms.append(float((values[other] > limit).mean()))
        for name, found in strange.items():
            marked[name].append(float((found > limit).mean()))
    return {
        "false_alarms": {"mean": np.mean(alarms), "lowest": min(alarms), "highest": max(alarms)},
        "marked": {name: round(float(np.mean(shares)), 4) for name, shares in marked.items()},
        "auc": {name: round(_auc(values, found), 4) for name, found in strange.items()},
    }


def _auc(own: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    is_other = np.repeat([0, 1], [len(own), len(others)])
    return float(roc_auc_score(is_other, np.concatenate([own, others])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("weights")
    parser.add_argument("--photos", type=Path)
    options = parser.parse_args()
    network, seen = build_network(
        "cifar_resnet20", num_classes=10, in_channels=3, weights=options.weights
    )
    network.eval()
    classes = sorted(path.name for path in (options.folder / "train").iterdir())
    files = {split: sorted((options.folder / split).glob("*/*")) for split in ("train", "test")}
    files["train"] = files["train"][::5]
    learned, own = (answer(network, read(files[split], seen), seen) for split in ("train", "test"))
    target = np.array([classes.index(file.parent.name) for file in files["train"]])
    others = {
        name: answer(network, pixels, seen)
        for name, pixels in other_images(options.photos, seen).items()
    }
    scores: dict[str, Score] = {
        "energy": lambda outputs: energies(outputs[0]),
        "Mahalanobis": fit_mahalanobis(learned[1], target),
        "largest probability": largest_prob,
    }
    figures: dict[str, object] = {"draws": NUM_DRAWS, "images_in_a_half": len(own[0]) // 2}
    for name, score in scores.items():
        figures[name] = found = try_score(score, own, others)
        print(name, found)
    report("novelty", ratios={}, figures=figures, packages=("torch", "numpy", "scikit-learn"))


if __name__ == "__main__":
    main()
