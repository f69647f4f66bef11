"""Copies are found by how they look, and nothing else is called one."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from data.pictures import SMALL, noise
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from softonce import TrainConfig
from softonce.data.bands import Bands
from softonce.data.likeness import MAX_BITS, are_copies, find_alike, look_of
from softonce.data.scan import Scan
from softonce.data.sources.columns import Columns
from softonce.data.splits import Splits, list_splits, read_splits


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


@pytest.fixture(scope="module")
def twinned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return class folders of photographs, every second one with two copies of other forms."""
    root = tmp_path_factory.mktemp("twinned")
    with_edges = [image for image in photographs() if any(look_of(image))]  # one is even sky
    for number, image in enumerate(with_edges):
        folder = root / "ab"[number % 2]
        folder.mkdir(exist_ok=True)
        image.save(folder / f"{number}.png")
        if number % 4 < 2:
            image.save(folder / f"{number}.jpg", quality=80)
            changed(image)["smaller"].save(folder / f"{number}.webp", quality=90)
    return root


def stems(part: Scan) -> set[str]:
    return {Path(part.samples.where(index)).stem for index in range(len(part))}


def split(data: Path, **options: Any) -> Splits:
    return read_splits(list_splits(data), TrainConfig(data, **options), SMALL)


@pytest.mark.parametrize("seed", range(3))
def test_copies_are_on_one_side_of_every_split(twinned: Path, seed: int) -> None:
    every = {}
    for options in ({"val_fraction": 0.4}, *({"val_fold": f"{fold}/3"} for fold in (1, 2, 3))):
        found = split(twinned, seed=seed, **options)
        assert not stems(found.train) & stems(found.val)
        assert not any(double.is_leak for double in found.doubles)
        assert len(found.doubles) >= len(stems(found.train) | stems(found.val)) // 2
        every[str(options)] = stems(found.val)
    first, *folds = every.values()
    assert first
    assert sum(map(len, folds)) == len(set().union(*folds))


def test_only_a_copy_moves_a_picture(twinned: Path, tmp_path: Path) -> None:
    before = stems(split(twinned, val_fold="1/2").val)
    more = Path(shutil.copytree(twinned, tmp_path / "more"))
    for number in range(12):
        noise(60, 50, seed=number).save(more / "a" / f"new-{number}.png")
    for path in list(more.glob("b/*.png"))[::3]:
        shutil.copy(path, path.with_name(f"{path.stem}.copied.png"))  # the same bytes
    after = {stem.partition(".")[0] for stem in stems(split(more, val_fold="1/2").val)}
    assert {stem for stem in after if not stem.startswith("new-")} == before


def test_groups_of_a_table_and_copies_are_kept_together(twinned: Path) -> None:
    files = sorted(twinned.rglob("*.png"))
    rows = [
        f"{file.relative_to(twinned)},{file.parent.name},{index % 9}"
        for index, file in enumerate(files)
    ]
    rows += [
        f"{file.relative_to(twinned)},{file.parent.name},lone {index}"
        for index, file in enumerate(sorted(twinned.rglob("*.jpg")))
    ]
    table = twinned / "table.csv"
    table.write_text("\n".join(["path,label,patient", *rows]))
    config = TrainConfig(table, group_col="patient", val_fraction=0.4)
    found = read_splits(list_splits(table, Columns.of(config)), config, SMALL)
    table.unlink()
    patient = {str(file): index % 9 for index, file in enumerate(files)}
    sides = [
        {
            patient[path]
            for index in range(len(part))
            if (path := part.samples.where(index)) in patient
        }
        for part in (found.train, found.val)
    ]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]
    assert not stems(found.train) & stems(found.val)
