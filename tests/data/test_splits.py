"""DATA becomes train, val and test, listed and then read."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from data.pictures import SMALL

from softonce.config import TrainConfig
from softonce.data.splits import Splits, list_splits, read_splits
from softonce.errors import DataError


def read(data: Path) -> Splits:
    listed = list_splits(data, val_fraction=0.25, seed=0)
    return read_splits(listed, TrainConfig(data, size=16), SMALL)


def test_given_splits_are_used_as_they_are(photos: Path) -> None:
    shutil.copytree(photos / "val", photos / "test")
    listed = list_splits(photos, val_fraction=0.25, seed=0)
    assert listed.test is not None
    assert (len(listed.train), len(listed.val), len(listed.test)) == (36, 15, 15)
    assert (listed.split_off, listed.listing) == (False, "")
    assert listed.classes == ("ants", "bees", "wasps")


@pytest.mark.parametrize("has_train_folder", [True, False])
def test_without_val_a_part_of_train_becomes_val(
    photos: Path, caplog: pytest.LogCaptureFixture, has_train_folder: bool
) -> None:
    shutil.rmtree(photos / "val")
    with caplog.at_level(logging.INFO, "softonce"):
        data = photos if has_train_folder else photos / "train"
        listed = list_splits(data, val_fraction=0.25, seed=0)
    assert f"no val/ in {data}: 9 of 36 images split off train" in caplog.text
    assert (len(listed.train), len(listed.val), listed.test) == (27, 9, None)
    assert listed.split_off
    assert not set(listed.train.names) & set(listed.val.names)
    assert listed.listing == list_splits(data, val_fraction=0.5, seed=9).listing


def test_a_folder_without_train_is_refused(photos: Path) -> None:
    shutil.rmtree(photos / "train")
    with pytest.raises(DataError, match="expected train/ in .*, found only val: name the folder"):
        list_splits(photos, val_fraction=0.25, seed=0)


def test_reading_gathers_bad_files_and_warns_of_leaks(
    photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(photos / "val", photos / "test")
    shutil.copy(photos / "train" / "ants" / "00.jpg", photos / "test" / "ants" / "00.jpg")
    for name in "train", "val", "test":
        (photos / name / "bees" / "00.jpg").write_bytes(b"")
    splits = read(photos)
    assert [file.path for file in splits.bad_files] == [
        str(photos / name / "bees" / "00.jpg") for name in ("train", "val", "test")
    ]
    assert splits.leaks == (
        (str(photos / "train" / "ants" / "00.jpg"), str(photos / "test" / "ants" / "00.jpg")),
    )
    assert "1 file of another split found in train too, the first: " in caplog.text


def test_identical_files_are_found_on_both_sides_of_a_split_off_val(photos: Path) -> None:
    train = photos / "train"
    for path in (train / "ants").iterdir():
        shutil.copy(path, train / "ants" / f"copy-of-{path.name}")
    splits = read(train)
    assert splits.leaks
    assert all(a != b and Path(a).read_bytes() == Path(b).read_bytes() for a, b in splits.leaks)
