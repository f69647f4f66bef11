"""Batches are a function of seed, epoch and index alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from softonce.data.augment import Augmentation
from softonce.data.loader import Loader
from softonce.data.samples import list_samples
from softonce.data.scan import scan
from softonce.data.sources import open_source
from softonce.data.sources.source import WHOLE
from softonce.preprocessing import Preprocessing
from softonce.randomness import permutation

SQUARE = Preprocessing(size=24, resize=28)
CROP = Augmentation(
    crop="resized-crop", size=24, scale=(0.3, 1.0), ratio=(0.75, 1.33), hflip=0.5, random_erase=0.5,
    fill=(0.5, 0.5, 0.5),
)  # fmt: skip


def split(folder: Path, preprocessing: Preprocessing = SQUARE):
    samples = list_samples(open_source(folder), WHOLE)
    return scan(samples, preprocessing, max_bad_fraction=0.01)


def batches(loader: Loader, epoch: int = 0, start: int = 0) -> list[tuple[torch.Tensor, ...]]:
    return list(loader.batches(epoch, start=start))


def assert_same(found: list, expected: list) -> None:
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # three, on two cores
@pytest.mark.parametrize("crop", ["resized-crop", "pad-crop"])
def test_batches_do_not_depend_on_the_workers_or_on_where_one_begins(
    crop: str, photos: Path
) -> None:
    found = replace(split(photos / "train"), pixels=None)  # read from files
    loader = Loader(found, SQUARE, 7, replace(CROP, crop=crop), seed=3, workers=0)
    expected = batches(loader, epoch=2)
    for workers in (1, 3):
        assert_same(batches(replace(loader, workers=workers), epoch=2), expected)
    assert_same(batches(loader, epoch=2, start=3), expected[3:])
    assert not torch.equal(batches(loader, epoch=1)[0][0], expected[0][0])


def test_small_images_in_memory_give_the_batches_of_their_files(photos: Path) -> None:
    found = split(photos / "train")
    assert found.pixels is not None
    loader = Loader(found, SQUARE, 7, replace(CROP, crop="pad-crop"), workers=0)
    assert_same(batches(loader), batches(replace(loader, scan=replace(found, pixels=None))))


def test_an_epoch_sees_every_image_once(photos: Path) -> None:
    found = split(photos / "train")
    loader = Loader(found, SQUARE, 7, replace(CROP, crop="pad-crop"), workers=0)
    sizes = [len(target) for _, target in batches(loader)]
    assert sum(sizes) == len(found) == 36
    assert max(sizes) - min(sizes) <= 1
    assert sorted(permutation(0, 0, 36)) == list(range(36))
