"""Planted faults in 2,000 pictures: how many are found, and how many others are called faults.

FOLDER holds test/<class>/ of CIFAR-10, FILE published weights of ResNet-20, which has not learned
these pictures. 400 of 2,000 drawn pictures become val. Planted are wrong labels (1 %), pictures in
two classes (1 %), re-encoded or resized copies in one class of train (2 %), and such copies of
pictures of train in val (1 %). Two pictures that were alike before count against precision.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from harness import report
from PIL import Image

from softonce import TrainConfig, evaluate
from softonce.calibrate import fit_temperature
from softonce.data.splits import list_splits, read_splits
from softonce.preprocessing import Preprocessing

NUM, NUM_VAL = 2000, 400


def draw(folder: Path, data: Path, rng: random.Random) -> list[Path]:
    """Copy the pictures into train/ and val/; return those of train, in random order."""
    files = rng.sample(sorted((folder / "test").glob("*/*")), NUM)
    placed = []
    for number, file in enumerate(files):
        target = data / ("val" if number < NUM_VAL else "train") / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        placed.append(Path(shutil.copy(file, target)))
    return placed[NUM_VAL:]


def save_copy(file: Path, target: Path, how: int) -> Path:
    """Save a picture once more, in one of four ways."""
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    if how % 4 == 3:
        picture = picture.resize((24, 24), Image.Resampling.BICUBIC)
    target = target.with_suffix((".png", ".jpg", ".webp", ".png")[how % 4])
    picture.save(target, quality=75 if how % 4 == 1 else 85)
    return target


def plant(data: Path, train: list[Path], rng: random.Random) -> dict[str, set[Path]]:
    """Make the faults; return the files that each kind has added or moved."""
    classes = sorted(path.name for path in (data / "train").iterdir())
    parts = iter(train)

    def other(file: Path) -> str:
        return rng.choice([name for name in classes if name != file.parent.name])

    found: dict[str, set[Path]] = {"wrong": set(), "conflict": set(), "twin": set(), "leak": set()}
    for number in range(NUM // 100):
        file = next(parts)
        found["wrong"].add(file.rename(data / "train" / other(file) / f"wrong-{number}.jpg"))
        file = next(parts)
        target = data / "train" / other(file) / f"conflict-{number}.jpg"
        found["conflict"].add(Path(shutil.copy(file, target)))
        for half in range(2):
            file = next(parts)
            target = file.with_name(f"twin-{number}-{half}")
            found["twin"].add(save_copy(file, target, 2 * number + half))
        file = next(parts)
        target = data / "val" / file.parent.name / f"leak-{number}"
        found["leak"].add(save_copy(file, target, number))
    return found


def score(found: set[Path], planted: set[Path]) -> dict[str, Any]:
    right = len(found & planted)
    return {
        "planted": len(planted),
        "found": right,
        "others": len(found - planted),
        "recall": round(right / len(planted), 3),
        "precision": round(right / len(found), 3) if found else None,
    }


def measure(folder: Path, weights: str, data: Path, seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    planted = plant(data, draw(folder, data, rng), rng)
    splits = read_splits(list_splits(data), TrainConfig(data), Preprocessing(size=32, resize=32))
    called: dict[str, set[Path]] = {"conflict": set(), "leak": set(), "twin": set()}
    for double in splits.doubles:
        kind = "conflict" if double.is_conflict else "leak" if double.is_leak else "twin"
        ends = {Path(double.path), Path(double.other_path)}
        called[kind] |= (ends & planted[kind]) or ends
    suspects: set[Path] = set()
    for split in ("train", "val"):
        evaluation = evaluate(
            data, model="cifar_resnet20", weights=weights, split=split, quiet=True
        )
        target = torch.from_numpy(evaluation.scan.samples.target)
        calibrated = replace(evaluation, temperature=fit_temperature(evaluation.logits, target))
        suspects |= {Path(suspect.path) for suspect in calibrated.suspects()}
    # A picture in two classes has a wrong label too; either of the two may be suspected.
    scores = {kind: score(called[kind], planted[kind]) for kind in called}
    return scores | {"wrong": score(suspects - planted["conflict"], planted["wrong"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("weights")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as data:
        figures = measure(options.folder, options.weights, Path(data), options.seed)
    for kind, found in figures.items():
        print(kind, found)
    report("planted_faults", ratios={}, figures=figures, packages=("torch", "numpy", "pillow"))


if __name__ == "__main__":
    main()
