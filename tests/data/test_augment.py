"""Crops, flips and blanks: how often, where, and for whom."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from data.pictures import SMALL, encoded, noise
from PIL import Image
from torchvision_beside import load_torchvision

from softonce.data.augment import Augmentation, augment_pixels_, draw, random_crop_image
from softonce.data.images import open_image, to_pixels
from softonce.data.loader import Loader, normalize
from softonce.data.samples import list_samples
from softonce.data.scan import scan
from softonce.data.sources import open_source
from softonce.data.sources.source import WHOLE
from softonce.data.trivial_augment import NUM_STRENGTHS, OPERATIONS, trivial_augment
from softonce.preprocessing import Preprocessing

if TYPE_CHECKING:
    from softonce.data.augment import EraseFill
    from softonce.preprocessing import Interpolation
    from softonce.shapes import Pixels

NOTHING = Augmentation(crop="none", size=16, hflip=0, random_erase=0, fill=(0.2, 0.4, 0.6))


def batch(num: int, side: int = 16) -> Pixels:
    pixels = np.random.default_rng(0).integers(0, 256, (num, 3, side, side), np.uint8)
    return torch.from_numpy(pixels)


def augmented(pixels: Pixels, augmentation: Augmentation, epoch: int = 0) -> Pixels:
    return augment_pixels_(pixels.clone(), augmentation, 0, epoch, np.arange(len(pixels)))


def test_nothing_asked_for_changes_nothing() -> None:
    assert torch.equal(augmented(batch(4), NOTHING), batch(4))


@pytest.mark.parametrize("hflip", [0.0, 0.3, 1.0])
def test_pictures_are_mirrored_as_often_as_asked(hflip: float) -> None:
    pixels = batch(2000, side=4)
    found = augmented(pixels, replace(NOTHING, hflip=hflip))
    mirrored = (found == pixels.flip(-1)).flatten(1).all(1)
    assert ((found == pixels).flatten(1).all(1) | mirrored).all()
    assert mirrored.double().mean() == pytest.approx(
        hflip, abs=4 * (hflip * (1 - hflip) / 2000) ** 0.5
    )


@pytest.mark.parametrize("side", [1, 3, 7, 16])
def test_pad_crop_is_a_window_of_the_reflected_picture(side: int) -> None:
    pixels, pad = batch(300, side), max(1, side // 8) if side > 1 else 0
    found = augmented(pixels, replace(NOTHING, crop="pad-crop", size=side))
    padded = np.pad(pixels.numpy(), ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="reflect")
    places = set()
    for picture, wide in zip(found.numpy(), padded, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(wide, (side, side), axis=(1, 2))
        hits = (windows == picture[:, None, None]).all(axis=(0, 3, 4))
        assert hits.any()
        places.add(tuple(np.argwhere(hits)[0]))
    assert len(places) == (2 * pad + 1) ** 2


@pytest.mark.parametrize("fill", ["mean", "noise"])
@pytest.mark.parametrize("random_erase", [0.0, 0.5, 1.0])
def test_a_box_is_blanked(random_erase: float, fill: EraseFill) -> None:
    pixels = torch.full((400, 3, 32, 32), 255, dtype=torch.uint8)
    how = replace(NOTHING, random_erase=random_erase, random_erase_fill=fill)
    found = augmented(pixels, how)
    blank = (found != 255).any(1)
    if fill == "mean":
        colour = torch.tensor([51, 102, 153], dtype=torch.uint8)[:, None]
        assert (found.movedim(1, 0)[:, blank] == colour).all()
        rows, columns = blank.any(2), blank.any(1)
        assert torch.equal(blank, rows[:, :, None] & columns[:, None, :])  # one rectangle each
    elif random_erase:
        values = found.movedim(1, 0)[:, blank].double()
        assert values.mean().item() == pytest.approx(127.5, abs=1)
        assert values.std().item() == pytest.approx(73.9, abs=1)
    share = blank.double().mean((1, 2))
    erased = share > 0
    assert erased.double().mean() == pytest.approx(random_erase, abs=0.1 * (random_erase == 0.5))
    assert ((share[erased] > 0.01) & (share[erased] < 0.45)).all()


def test_alternating_flip_shows_both_sides_in_any_two_epochs() -> None:
    pixels = batch(600, side=4)
    how = replace(NOTHING, hflip=0.5, alternating_flip=True)
    epochs = [augmented(pixels, how, epoch) for epoch in range(4)]
    mirrored = (epochs[0] == pixels.flip(-1)).flatten(1).all(1)
    assert mirrored.double().mean() == pytest.approx(0.5, abs=0.09)
    for before, after in itertools.pairwise(epochs):
        assert torch.equal(before, after.flip(-1))


# TrivialAugment


THEIR_NAMES = {
    "identity": "Identity", "shear-x": "ShearX", "shear-y": "ShearY",
    "translate-x": "TranslateX", "translate-y": "TranslateY", "rotate": "Rotate",
    "brightness": "Brightness", "colour": "Color", "contrast": "Contrast",
    "sharpness": "Sharpness", "posterize": "Posterize", "solarize": "Solarize",
    "autocontrast": "AutoContrast", "equalize": "Equalize",
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_operation_is_torchvisions(name: str, mode: str) -> None:
    theirs = load_torchvision().transforms
    apply_op = theirs.autoaugment._apply_op
    filter_ = theirs.InterpolationMode.BILINEAR
    space = theirs.TrivialAugmentWide()._augmentation_space(NUM_STRENGTHS)
    strengths, is_signed = space[THEIR_NAMES[name]]
    image = noise(40, 32).convert(mode)
    place = (list(OPERATIONS).index(name) + 0.5) / len(OPERATIONS)
    for number in (0, 7, 15, 30):
        strength = round(float(strengths[number]), 4) if strengths.ndim else 0.0
        for sign, sign_draw in ((-1, 0.2), (1, 0.8)):
            draws = [place, (number + 0.5) / NUM_STRENGTHS, sign_draw]
            found = trivial_augment(image, draws, interpolation="bilinear")
            signed = strength * (sign if is_signed else 1)
            expected = apply_op(image, THEIR_NAMES[name], signed, filter_, None)
            assert found.mode == mode
            assert found.size == image.size
            difference = np.asarray(found).astype(int) - np.asarray(expected).astype(int)
            # strengths and matrices are rounded otherwise there
            assert (np.abs(difference) > 1).mean() < (0.005 if "shear" in name else 1e-9), number


def test_operations_strengths_and_signs_are_drawn_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, float]] = []
    for name, (_, largest, is_signed) in list(OPERATIONS.items()):

        def note(image, strength, _, name=name):
            seen.append((name, strength))
            return image

        monkeypatch.setitem(OPERATIONS, name, (note, largest, is_signed))
    for draws in np.random.default_rng(0).random((4000, 3)):
        trivial_augment(noise(4, 4), draws.tolist(), interpolation="nearest")
    counts = Counter(name for name, _ in seen)
    assert set(counts) == set(OPERATIONS)
    assert min(counts.values()) > 0.75 * 4000 / len(OPERATIONS)
    rotations = {strength for name, strength in seen if name == "rotate"}
    assert rotations == {sign * 135 * n / 30 for n in range(31) for sign in (-1, 1)}


def test_pictures_in_memory_and_in_files_are_augmented_alike(photos: Path) -> None:
    samples = list_samples(open_source(photos / "train"), WHOLE)
    found = scan(samples, SMALL, max_bad_fraction=0.01)
    how = replace(NOTHING, crop="pad-crop", size=SMALL.size, auto_augment="ta_wide", hflip=0.5)
    loader = Loader(found, SMALL, 12, how, workers=0)
    files = replace(loader, scan=replace(found, pixels=None))
    plain = replace(loader, augmentation=replace(how, auto_augment="none"))
    batches = [list(part.batches(1)) for part in (loader, files, plain)]
    for ours, theirs, other in zip(*batches, strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert not torch.equal(ours[0], other[0])


def test_a_sample_is_changed_alike_in_any_batch_and_otherwise_in_another_epoch() -> None:
    everything = replace(NOTHING, crop="pad-crop", hflip=0.5, random_erase=0.5)
    pixels = batch(40)
    whole = augmented(pixels, everything)
    some = np.array([31, 4, 17])
    assert torch.equal(augment_pixels_(pixels[some], everything, 0, 0, some), whole[some])
    changed = (augmented(pixels, everything, epoch=1) != whole).flatten(1).any(1)
    assert changed.double().mean() > 0.8


# resized crops


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_crop_from_a_reduced_jpeg_is_close_to_one_from_the_whole(
    interpolation: Interpolation,
) -> None:
    waves = np.sin(np.linspace(0, 12, 800))[None, :] * np.cos(np.linspace(0, 9, 600))[:, None]
    image = Image.fromarray((127 + 120 * waves).astype(np.uint8)).convert("RGB")
    crop = replace(NOTHING, crop="resized-crop", size=64, scale=(0.4, 1.0))
    wanted = replace(SMALL, interpolation=interpolation)
    reduced, whole = (
        np.stack(
            [
                to_pixels(random_crop_image(open_image(data), wanted, crop, draw(0, 0, [index])[0]))
                for index in range(8)
            ]
        ).astype(int)
        for data in (encoded(image, "JPEG", quality=98), encoded(image))
    )
    assert reduced.shape == (8, 3, 64, 64)
    assert np.abs(reduced - whole).mean() < 2
    assert np.abs(whole[0] - whole[1]).mean() > 10


def test_a_crop_of_a_turned_jpeg_is_that_of_the_upright_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = noise(40, 60).resize((400, 600))
    crop = replace(NOTHING, crop="resized-crop", scale=(0.5, 1.0))
    turned = encoded(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=98, exif=exif)
    found, expected = (
        to_pixels(random_crop_image(open_image(data), SMALL, crop, draw(0, 0, [5])[0])).astype(int)
        for data in (turned, encoded(upright))
    )
    assert np.abs(found - expected).mean() < 3


def test_the_memory_layout_changes_no_pixel() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (9, 3, 20, 20), np.uint8))
    last = pixels.contiguous(memory_format=torch.channels_last)
    augmentation = Augmentation(crop="none", size=20, random_erase=0.5)
    found = [augment_pixels_(p.clone(), augmentation, 3, 1, np.arange(9)) for p in (last, pixels)]
    assert torch.equal(*found)
    assert not torch.equal(found[0], pixels)
    assert torch.equal(last, pixels)  # what came in is as it was
    wanted = Preprocessing(size=20)
    assert torch.equal(normalize(last, wanted), normalize(pixels, wanted))
