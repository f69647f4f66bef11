"""`--lr find` says what the curve says, and keeps the default where that is nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from training.runs import rows, small

from softonce import TrainConfig, train
from softonce.cli.demo import write_digits
from softonce.config.toml import from_toml
from softonce.training import find_lr
from softonce.training.find_lr import Sweep

DIGITS = {"mode": "L", "hflip": 0.0, "augment": "none"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 1,433 handwritten digits to learn from."""
    root = tmp_path_factory.mktemp("find") / "digits"
    write_digits(root)
    return root


def few_digits(digits: Path, root: Path) -> Path:
    """Return 52 of four classes."""
    for name in "0368":
        for split, num in (("train", 13), ("test", 30)):
            for path in sorted((digits / split / name).glob("*.png"))[:num]:
                target = root / ("val" if split == "test" else split) / name / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    return root


def textures(root: Path, num: int = 40) -> Path:
    """Return noisy stripes, upright and across."""
    rng = np.random.default_rng(0)
    for split in "train", "val":
        for name in "across", "upright":
            (root / split / name).mkdir(parents=True)
            for number in range(num):
                wave = np.sin(np.arange(16) * rng.uniform(0.8, 1.6) + rng.uniform(0, 6))
                stripes = np.broadcast_to(wave, (16, 16)) * 60 + rng.normal(128, 70, (16, 16))
                pixels = (stripes if name == "upright" else stripes.T).clip(0, 255)
                picture = Image.fromarray(pixels.astype("uint8"))
                picture.save(root / split / name / f"{number:03d}.png")
    return root


def found(run: Path) -> float:
    saved = from_toml(run / "config.toml", TrainConfig)
    assert isinstance(saved.lr, float)
    assert (run / "lr_find.png").read_bytes().startswith(b"\x89PNG")
    return saved.lr


# small sets


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "make", [few_digits, lambda _, root: textures(root)], ids=["digits", "textures"]
)
def test_too_few_images_keep_the_default_and_it_is_said_why(
    make: Callable[[Path, Path], Path],
    seed: int,
    digits: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="softonce")
    data = make(digits, tmp_path / "data")
    options = DIGITS | {"epochs": 1, "seed": seed}
    train(small(data, tmp_path / "run", lr="find", **options))
    train(small(data, tmp_path / "default", **options))
    usual = from_toml(tmp_path / "default" / "config.toml", TrainConfig).lr
    assert found(tmp_path / "run") == usual
    assert f"lr {usual:g}, the default: --lr find chose none (" in caplog.text
    assert "steps in one pass over the images, and 50 tell rates apart" in caplog.text
    assert rows(tmp_path / "run") == rows(tmp_path / "default")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_found_in_enough_images_is_within_a_factor_of_the_default(
    seed: int, digits: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="softonce")
    options = DIGITS | {"batch_size": 16, "epochs": 1, "seed": seed}
    train(small(digits, tmp_path / "run", lr="find", **options))
    assert 1 / 30 < found(tmp_path / "run") / 0.0125 < 30
    assert any(line.startswith("lr ") for line in caplog.messages)


def test_no_image_is_seen_twice_in_a_trial(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    real = find_lr.build_trial

    def build(config: Any, build_job: Any, **options: Any) -> Any:
        job, numbers = real(config, build_job, **options), []
        seen.append(numbers)
        parts = type(job.train)._parts

        def noted(loader: Any, epoch: int) -> Any:
            made = parts(loader, epoch)
            if loader is job.train:
                numbers.extend(int(key) for part in made for key in part)
            return made

        monkeypatch.setattr(type(job.train), "_parts", noted)
        return job

    monkeypatch.setattr(find_lr, "build_trial", build)
    train(
        small(
            few_digits(digits, tmp_path / "data"), tmp_path / "run", lr="find", epochs=1, **DIGITS
        )
    )
    assert seen
    assert all(len(set(numbers)) == len(numbers) > 0 for numbers in seen)


# what a curve says


def curve(shape: Callable[[float], float], *, noise: float = 0.01, num: int = 100) -> Sweep:
    """Return a sweep whose loss is a function of the decimal logarithm of the rate."""
    rng = np.random.default_rng(0)
    rates = np.geomspace(1e-5, 10, num).tolist()
    return Sweep(num, rates, [shape(math.log10(lr)) + noise * rng.normal() for lr in rates])


def valley(at: float) -> Callable[[float], float]:
    """Return a loss that falls from 2.3 to a rate's logarithm, and rises after it."""
    return lambda lr: 2.3 - 1.5 * math.exp(-((lr - at) ** 2))


@pytest.mark.parametrize("at", [-2.0, -1.0, 0.0])
def test_a_clear_curve_gives_a_tenth_of_its_lowest_rate(at: float) -> None:
    sweep = curve(valley(at))
    assert sweep.objection() is None
    assert sweep.best == pytest.approx(10 ** (at - 1), rel=3)


@pytest.mark.parametrize(
    ("sweep", "why"),
    [
        (curve(valley(-1), num=49), "49 steps in one pass"),
        (curve(lambda _: 2.3), "no more than its noise"),
        (curve(lambda _: 2.3, noise=1.0), "no more than its noise"),
        (curve(valley(-1), noise=4.0), "no more than its noise"),
        (curve(lambda lr: 2.3 + (lr + 5) ** 2, noise=0.0), "the loss only rose"),
    ],
    ids=["short", "flat", "flat and noisy", "noise above the drop", "rising"],
)
def test_a_curve_that_says_nothing_is_refused(sweep: Sweep, why: str) -> None:
    assert why in str(sweep.objection())


@pytest.mark.parametrize(
    ("usual", "candidate", "default", "why"),
    [
        (2.0, 1.5, 0.01, None),
        (2.0, 2.1, 0.01, "was no better in 100 steps of each"),
        (2.0, 1.99, 0.01, "was no better in 100 steps of each"),
        (2.0, 1.0, 1.0, "but the network learns with more"),
        (2.5, 1.0, 1.0, None),
        (math.nan, 1.0, 1.0, None),
        (math.nan, math.nan, 1.0, "was no better"),
        (2.0, math.nan, 0.01, "was no better"),
        (2.0, 1.0, 0.1, "which is the same"),
    ],
)
def test_a_candidate_has_to_beat_the_default(
    usual: float, candidate: float, default: float, why: str | None
) -> None:
    sweep = Sweep(100, np.geomspace(1e-5, 10, 100).tolist(), [2.3] * 82 + [2.0] + [2.3] * 17)
    assert sweep.best == pytest.approx(0.1, rel=0.1)
    rng = np.random.default_rng(0)

    def run(lr: float) -> list[float]:
        loss = usual if lr == default else candidate
        return (loss + 0.1 * rng.normal(size=100)).tolist()

    found_why = find_lr._worse(sweep, default, run)
    assert (found_why is None) if why is None else (why in str(found_why))


# to the end


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["few digits", "textures", "digits"])
def test_it_ends_no_worse_than_the_default(
    name: str, seed: int, digits: Path, tmp_path: Path
) -> None:
    data = {
        "few digits": lambda: few_digits(digits, tmp_path / "data"),
        "textures": lambda: textures(tmp_path / "data"),
        "digits": lambda: digits,
    }[name]()
    options = DIGITS | {"batch_size": 16 if name == "digits" else 8, "epochs": 8, "seed": seed}
    nll = {}
    for lr in ("find", None):
        run = tmp_path / str(lr)
        train(small(data, run, lr=lr, recipe="scratch-small", **options))
        nll[lr] = min(row["nll"] for row in rows(run) if row["split"] == "val")
    assert nll["find"] <= nll[None] + 0.02
