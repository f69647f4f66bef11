"""Batches are a function of seed, epoch and index; pixels are torchvision's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision_beside import torchvision_or_skip

from softonce.data.augment import Augmentation
from softonce.data.images import decode, fit_image, open_image, to_pixels
from softonce.data.loader import Loader, normalize
from softonce.data.scan import find_leaks, scan
from softonce.data.sources import find_splits, list_samples, read_classes, split_off_val
from softonce.preprocessing import Preprocessing
from softonce.randomness import permutation, uniforms

SQUARE = Preprocessing(size=24, resize=28)
CROP = Augmentation(
    crop="resized-crop", size=24, scale=(0.3, 1.0), ratio=(0.75, 1.33), hflip=0.5, random_erase=0.5,
    fill=(0.5, 0.5, 0.5),
)  # fmt: skip


def split(folder: Path, preprocessing: Preprocessing = SQUARE):
    samples = list_samples(folder, read_classes(folder))
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


@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 99), index=st.integers(0, 10**6))
def test_a_draw_is_a_function_of_seed_epoch_and_index(seed: int, epoch: int, index: int) -> None:
    alone = uniforms(seed, epoch, np.array([index]), num_draws=4)
    among = uniforms(seed, epoch, np.array([index + 1, index, 5]), num_draws=4)[1:2]
    assert np.array_equal(alone, among)
    assert ((alone >= 0) & (alone < 1)).all()


# pixels, beside torchvision


@pytest.mark.parametrize("size", [(40, 32), (61, 200), (224, 224), (500, 333)])
def test_resize_crop_and_normalisation_are_torchvisions(size: tuple[int, int]) -> None:
    transforms = torchvision_or_skip().transforms
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    theirs = transforms.Compose(
        [transforms.Resize(28), transforms.CenterCrop(24), transforms.PILToTensor()]
    )(image)
    ours = torch.from_numpy(to_pixels(fit_image(image, SQUARE)))
    assert (ours.int() - theirs.int()).abs().max() == 0
    as_float = transforms.ConvertImageDtype(torch.float32)(theirs)
    normal = transforms.Normalize(SQUARE.mean, SQUARE.std)(as_float)
    assert (normalize(ours[None], SQUARE)[0] - normal).abs().max() <= 1e-6


MODES = {
    "P": lambda image: image.convert("P"),
    "L": lambda image: image.convert("L"),
    "LA": lambda image: image.convert("LA"),
    "RGBA": lambda image: image.convert("RGBA"),
    "1": lambda image: image.convert("1"),
    "I;16": lambda image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_colour_mode_keeps_its_brightness(mode: str, tmp_path: Path) -> None:
    gradient = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (64, 1, 3))
    MODES[mode](Image.fromarray(gradient)).save(tmp_path / "a.png")
    found = np.asarray(decode(open_image((tmp_path / "a.png").read_bytes()), "RGB"))
    assert found.shape == (64, 64, 3)
    columns = found.astype(float).mean(axis=(0, 2))
    assert np.abs(columns - gradient[0, :, 0]).mean() < (70 if mode == "1" else 8)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20] = 255  # bright on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    shown = np.asarray(decode(open_image((tmp_path / "a.jpg").read_bytes()), "RGB"))
    assert shown.shape == (40, 20, 3)
    assert shown[:18].mean() > 240
    assert shown[22:].mean() < 15


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_a_wide_picture_becomes_a_square_in_three_ways(fit: str) -> None:
    pixels = np.full((20, 60, 3), 128, np.uint8)
    pixels[:, :6] = pixels[:, -6:] = 255  # marks at both ends
    square = to_pixels(fit_image(Image.fromarray(pixels), replace(SQUARE, fit=fit)))
    assert square.shape == (3, 24, 24)
    keeps_ends = bool((square[:, 12, [0, -1]] > 200).all())
    keeps_shape = fit != "squash"
    assert keeps_ends == (fit != "crop")
    if not keeps_shape:
        assert (square[:, :, 12] == 128).all()


# the split, the classes, the leaks


@settings(deadline=None, max_examples=25)
@given(fraction=st.floats(0.1, 0.8), seed=st.integers(0, 1000))
def test_the_split_is_stratified_and_loses_nothing(
    fraction: float, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.getbasetemp() / "listed"
    for name, number in (("a", 10), ("b", 25), ("c", 3)):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(number):
            (root / name / f"{index}.jpg").touch()
    samples = list_samples(root, read_classes(root))
    train, val = split_off_val(samples, fraction, seed=seed)
    assert sorted([*train, *val]) == list(range(38))
    for index, number in enumerate((10, 25, 3)):
        there = int((samples.target[val] == index).sum())
        assert there == min(round(fraction * number), number - 1)
    again = split_off_val(samples, fraction, seed=seed)
    assert np.array_equal(again[1], val)


def test_hidden_folders_are_no_classes(photos: Path) -> None:
    (photos / "train" / ".ipynb_checkpoints").mkdir()
    assert read_classes(photos / "train") == ("ants", "bees", "wasps")


def test_a_class_that_val_lacks_keeps_its_place(photos: Path) -> None:
    classes = read_classes(photos / "train")
    for path in (photos / "val" / "ants").iterdir():
        path.unlink()
    (photos / "val" / "ants").rmdir()
    assert set(list_samples(photos / "val", classes).target.tolist()) == {1, 2}


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_val_has_three_names(name: str, photos: Path) -> None:
    (photos / "val").rename(photos / name)
    assert find_splits(photos)["val"] == photos / name


def test_the_same_picture_in_train_and_val_is_reported(photos: Path) -> None:
    original = photos / "train" / "bees" / "03.jpg"
    copy = photos / "val" / "ants" / "copied.jpg"
    copy.write_bytes(original.read_bytes())
    assert find_leaks(split(photos / "train"), split(photos / "val")) == [(original, copy)]


def test_a_lone_gif_is_used_and_named(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    gif = photos / "train" / "bees" / "lone.gif"
    Image.new("RGB", (30, 30), "red").save(gif)
    assert len(split(photos / "train")) == 37
    assert f"{gif} is the only GIF among 37 images" in caplog.text
