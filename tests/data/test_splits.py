"""DATA becomes train, val and test, listed and then read."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from data.pictures import SMALL

from softonce.config import TrainConfig
from softonce.data.scan import Scan
from softonce.data.splits import Splits, list_splits, read_splits
from softonce.errors import DataError


def read(data: Path) -> Splits:
    return read_splits(list_splits(data), TrainConfig(data, size=16, val_fraction=0.25), SMALL)


def test_given_splits_are_used_as_they_are(photos: Path) -> None:
    shutil.copytree(photos / "val", photos / "test")
    listed = list_splits(photos)
    assert listed.val is not None
    assert listed.test is not None
    assert (len(listed.train), len(listed.val), len(listed.test)) == (36, 15, 15)
    assert listed.classes == ("ants", "bees", "wasps")


@pytest.mark.parametrize("has_train_folder", [True, False])
def test_without_val_a_part_of_train_becomes_val(
    photos: Path, caplog: pytest.LogCaptureFixture, has_train_folder: bool
) -> None:
    shutil.rmtree(photos / "val")
    with caplog.at_level(logging.INFO, "softonce"):
        data = photos if has_train_folder else photos / "train"
        splits = read(data)
    num_val = len(splits.val)
    assert f"no val/ in {data}: {num_val} of 36 images split off train" in caplog.text
    assert 3 <= num_val <= 18
    assert (len(splits.train), splits.test) == (36 - num_val, None)
    assert not set(splits.train.samples.names) & set(splits.val.samples.names)


def test_a_folder_without_train_is_refused(photos: Path) -> None:
    shutil.rmtree(photos / "train")
    with pytest.raises(DataError, match="expected train/ in .*, found only val: name the folder"):
        list_splits(photos)


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
    (double,) = (double for double in splits.doubles if double.is_leak)
    assert (double.path, double.other_path) == tuple(
        str(photos / split / "ants" / "00.jpg") for split in ("train", "test")
    )
    assert "1 file of another split found in train too, the first: " in caplog.text


def test_identical_files_stay_together_where_val_is_split_off(photos: Path) -> None:
    train = photos / "train"
    for path in (train / "ants").iterdir():
        shutil.copy(path, train / "ants" / f"copy-of-{path.name}")
    splits = read(train)
    assert len(splits.doubles) == 12
    assert not any(double.is_leak for double in splits.doubles)
    assert len(splits.train) + len(splits.val) == 48


def test_a_picture_stays_where_it_was_when_others_come_go_and_are_renamed(photos: Path) -> None:
    train = photos / "train"
    contents = {path.read_bytes(): path for path in train.rglob("*.jpg")}
    before = {split: contents_of(getattr(read(train), split)) for split in ("train", "val")}
    shutil.copytree(photos / "val", train, dirs_exist_ok=True, copy_function=_copy_beside)
    (train / "ants" / "sub").mkdir()
    for number, path in enumerate(sorted((train / "ants").glob("*.jpg"))):
        path.rename(train / "ants" / "sub" / f"{99 - number}.jpg")
    after = {split: contents_of(getattr(read(train), split)) for split in ("train", "val")}
    assert len(after["train"] | after["val"]) > len(contents)
    for split in ("train", "val"):
        assert before[split] == after[split] & set(contents)


def _copy_beside(source: str, target: str) -> None:
    shutil.copy(source, Path(target).with_name(f"new-{Path(target).name}"))


def contents_of(part: Scan) -> set[bytes]:
    return {part.samples.read(index) for index in range(len(part))}
