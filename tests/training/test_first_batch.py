"""`train_batch.png`: the first batch as the network sees it, and nothing that a run depends on."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from training.runs import small, weights

from softonce import TrainConfig, train
from softonce.data.loader import denormalize, normalize
from softonce.preprocessing import Preprocessing
from softonce.training import loop
from softonce.training.first_batch import write_first_batch
from softonce.training.mixing import Mixing
from softonce.training.step import TrainStep

SHEET = "train_batch.png"
CLASSES = ("ants", "bees", "wasps")


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """Return the list of batches that the network gets from now on."""
    seen: list[tuple[Tensor, Tensor]] = []
    real = TrainStep.__call__

    def step(self: TrainStep, images: Tensor, target: Tensor, *, lr: float) -> Tensor:
        seen.append((images.clone(), target.clone()))
        return real(self, images, target, lr=lr)

    monkeypatch.setattr(TrainStep, "__call__", step)
    return seen


def tiles(path: Path, side: int, num: int, lines: int = 1) -> list[NDArray[np.uint8]]:
    """Cut the enlarged pictures out of a sheet, at their own size."""
    sheet = Image.open(path)
    times = -(-112 // side)
    shown, text = side * times, 2 * (15 // 3) + round(1.35 * 15) * lines
    corners = [
        (10 + (n % 4) * (shown + 10), 10 + (n // 4) * (shown + text + 10)) for n in range(num)
    ]
    boxes = [(left, top, left + shown, top + shown) for left, top in corners]
    return [np.asarray(sheet.crop(box))[::times, ::times] for box in boxes]


def described(path: Path) -> list[str]:
    with Image.open(path) as sheet:
        text: str = sheet.info["Description"]
    return text.split("; ")


def test_it_shows_what_the_network_gets_with_its_labels(
    photos: Path, tmp_path: Path, batches: Sequence[tuple[Tensor, Tensor]]
) -> None:
    config = small(photos, tmp_path / "run", epochs=1, random_erase=0.5, auto_augment="ta_wide")
    result = train(config)
    images, target = batches[0]
    pixels = denormalize(images, Preprocessing(size=16)).permute(0, 2, 3, 1).numpy()
    sheet = result.run / SHEET
    for shown, fed in zip(tiles(sheet, 16, len(pixels)), pixels, strict=True):
        assert np.array_equal(shown, fed)
    assert described(sheet) == [CLASSES[index] for index in target.tolist()]


def test_a_mixed_picture_has_both_labels_with_their_shares(
    photos: Path, tmp_path: Path, batches: Sequence[tuple[Tensor, Tensor]]
) -> None:
    result = train(small(photos, tmp_path / "run", epochs=1, cutmix_alpha=1.0))
    labels = described(result.run / SHEET)
    assert any(" and " in label for label in labels)
    for label, row in zip(labels, batches[0][1], strict=True):
        shares = [int(share) for share in re.findall(r"(\d+) %", label)] or [100]
        assert sum(shares) == pytest.approx(100, abs=1)
        assert shares[0] == pytest.approx(100 * row.max().item(), abs=1)
        assert CLASSES[int(row.argmax())] in label.split(" and ")[0]


def test_a_run_is_the_same_without_it(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(small(photos, tmp_path / "with", epochs=1, mixup_alpha=0.2))
    monkeypatch.setattr(loop, "write_first_batch", lambda *_, **__: None)
    train(small(photos, tmp_path / "without", epochs=1, mixup_alpha=0.2))
    assert not (tmp_path / "without" / SHEET).exists()
    assert weights(tmp_path / "with") == weights(tmp_path / "without")


def test_resuming_leaves_it_and_overwriting_replaces_it(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    train(small(photos, run, epochs=1))
    (run / SHEET).write_bytes(b"as it was")
    train(TrainConfig(resume=run))
    assert (run / SHEET).read_bytes() == b"as it was"
    monkeypatch.setattr(loop, "write_first_batch", lambda *_, **__: None)
    train(small(photos, run, epochs=1, overwrite=True))
    assert not (run / SHEET).exists()


def test_no_generator_is_drawn_from(tmp_path: Path) -> None:
    before = torch.get_rng_state(), random.getstate()
    images = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    write(tmp_path, images, torch.zeros(20, dtype=torch.long), Preprocessing(size=8))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


def write(folder: Path, images: Tensor, target: Tensor, preprocessing: Preprocessing) -> Path:
    path = folder / SHEET
    write_first_batch(path, images, target, classes=CLASSES, preprocessing=preprocessing)
    return path


def test_sixteen_pictures_at_most(tmp_path: Path) -> None:
    pixels = torch.arange(20 * 3 * 64, dtype=torch.uint8).reshape(20, 3, 8, 8)
    preprocessing = Preprocessing(size=8)
    images = normalize(pixels, preprocessing)
    path = write(tmp_path, images, torch.zeros(20, dtype=torch.long), preprocessing)
    assert len(described(path)) == 16
    assert np.array_equal(tiles(path, 8, 16)[15], pixels[15].permute(1, 2, 0).numpy())


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), (5, 5)])
def test_grey_and_channels_that_are_no_colours_are_shown_in_grey(
    mode: str | int, channels: int, tmp_path: Path
) -> None:
    values = (0.3,) * channels
    preprocessing = Preprocessing(size=8, mode=mode, mean=values, std=values)
    pixels = torch.arange(2 * channels * 64, dtype=torch.uint8).reshape(2, channels, 8, 8)
    path = write(tmp_path, normalize(pixels, preprocessing), torch.tensor([0, 1]), preprocessing)
    for shown, own in zip(tiles(path, 8, 2), pixels, strict=True):
        assert np.array_equal(shown, np.repeat(own[0].numpy()[..., None], 3, axis=2))


def test_denormalize_gives_back_every_pixel() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).expand(1, 3, 4, 256)
    preprocessing = Preprocessing(size=4)
    assert torch.equal(denormalize(normalize(pixels, preprocessing), preprocessing), pixels)
    beyond = torch.tensor([-99.0, 99.0]).expand(1, 3, 1, 2)
    assert denormalize(beyond, preprocessing)[0, 0].tolist() == [[0, 255]]


def test_a_share_too_small_to_be_read_is_left_out(tmp_path: Path) -> None:
    images = torch.zeros(2, 3, 8, 8)
    target = torch.tensor([[0.998, 0.002, 0.0], [0.25, 0.0, 0.75]])
    path = write(tmp_path, images, target, Preprocessing(size=8))
    assert described(path) == ["ants", "75 % wasps and 25 % ants"]


def test_a_picture_mixed_with_one_of_its_class_has_one_label(tmp_path: Path) -> None:
    images, same = torch.zeros(4, 3, 8, 8), torch.ones(4, dtype=torch.long)
    mixed, probs = Mixing(3, mixup_alpha=1.0)(images, same, step=0)
    assert set(described(write(tmp_path, mixed, probs, Preprocessing(size=8)))) == {"bees"}
