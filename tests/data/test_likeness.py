"""Copies are found by how they look, and nothing else is called one."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from data.pictures import SMALL
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from softonce import TrainConfig
from softonce.data.bands import Bands
from softonce.data.likeness import MAX_BITS, are_copies, find_alike, look_of
from softonce.data.splits import list_splits, read_splits


def photographs() -> list[Image.Image]:
    """Return the parts of two photographs that have some contrast, none over another."""
    found = [
        Image.fromarray(array[top : top + 100, left : left + 120])
        for array in load_sample_images().images
        for top in range(0, 400, 100)
        for left in range(0, 600, 120)
    ]
    return [image for image in found if np.asarray(image).std() > 20]


def changed(image: Image.Image) -> dict[str, Image.Image]:
    def jpeg(quality: int) -> Image.Image:
        data = io.BytesIO()
        image.save(data, "JPEG", quality=quality)
        return Image.open(data)

    return {
        "jpeg 90": jpeg(90),
        "jpeg 50": jpeg(50),
        "smaller": image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC),
        "larger": image.resize((image.width * 2, image.height * 2), Image.Resampling.BILINEAR),
        "palette": image.quantize(256),
    }


def bits_between(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


@pytest.mark.parametrize("kind", ["jpeg 90", "jpeg 50", "smaller", "larger", "palette"])
def test_copies_look_alike(kind: str) -> None:
    found = [
        bits_between(look_of(image), look_of(copy)) <= MAX_BITS and are_copies(image, copy)
        for image in photographs()
        for copy in (changed(image)[kind],)
    ]
    assert len(found) == 35
    assert sum(found) >= 32


def test_others_are_no_copies() -> None:
    images = photographs()
    assert not any(
        are_copies(one, other)
        for n, one in enumerate(images)
        for other in images[:n]
        if one.tobytes() != other.tobytes()
    )
    digits = [Image.fromarray((digit * 15.9).astype(np.uint8)) for digit in load_digits().images]
    looks = looks_of([look_of(digit) for digit in digits])
    candidates = list(find_alike(looks))
    assert len(candidates) > 1000  # the hash by itself would flood the list
    assert not any(are_copies(digits[a], digits[b]) for a, b in candidates)


def test_flat_pictures_and_channels_without_colours_are_copies_of_nothing() -> None:
    flat = Image.new("RGB", (40, 40), "navy")
    assert not are_copies(flat, flat)
    assert look_of(flat) == look_of(Bands((Image.new("L", (4, 4)),) * 5)) == bytes(8)
    assert list(find_alike(np.zeros((5, 8), np.uint8))) == []


def looks_of(looks: list[bytes]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"".join(looks), np.uint8).reshape(-1, 8)


@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.sets(st.integers(0, 63), max_size=7)), max_size=12),
)
def test_all_pairs_of_few_differing_bits_are_found(
    seeds: list[int], near: list[tuple[int, set[int]]]
) -> None:
    values = [*seeds]
    for place, flips in near:
        values.append(values[place % len(seeds)] ^ sum(1 << bit for bit in flips))
    looks = [value.to_bytes(8, "big") for value in values]
    expected = {
        (a, b)
        for b in range(len(values))
        for a in range(b)
        if bits_between(looks[a], looks[b]) <= MAX_BITS and any(looks[a]) and any(looks[b])
    }
    found = list(find_alike(looks_of(looks)))
    assert set(found) == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize("size", [16, 80], ids=["small", "large"])
def test_twins_across_splits_and_classes_are_named(tmp_path: Path, size: int) -> None:
    for number, image in enumerate(photographs()):
        folder = tmp_path / ("train", "val")[number % 8 > 5] / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (image.resize((60, 48)) if size == 16 else image).save(folder / f"{number}.png")
    preprocessing = replace(SMALL, size=size, resize=size)

    def twins() -> list[tuple[set[str], bool, bool]]:
        found = read_splits(list_splits(tmp_path), TrainConfig(tmp_path), preprocessing).doubles
        return [
            (
                {Path(double.path).name, Path(double.other_path).name},
                double.is_conflict,
                double.is_leak,
            )
            for double in found
            if not double.is_identical
        ]

    assert twins() == []
    train, val = tmp_path / "train", tmp_path / "val"
    Image.open(train / "a" / "16.png").save(val / "a" / "leak.jpg", quality=80)
    Image.open(train / "b" / "17.png").save(train / "a" / "conflict.webp", quality=85)
    Image.open(train / "b" / "19.png").save(train / "b" / "harmless.jpg", quality=85)
    found = sorted(twins(), key=lambda twin: (twin[1], not twin[2]))
    assert found == [
        ({"16.png", "leak.jpg"}, False, True),
        ({"19.png", "harmless.jpg"}, False, False),
        ({"17.png", "conflict.webp"}, True, False),
    ]
