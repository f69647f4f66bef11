"""The same picture twice, and files that are left out by a list."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from data.pictures import SMALL

from softonce import TrainConfig
from softonce.data.doubles import Double, to_csv
from softonce.data.splits import Splits, list_splits, read_splits
from softonce.errors import DataError


def read(data: Path, exclude: Path | None = None) -> Splits:
    return read_splits(list_splits(data, exclude=exclude), TrainConfig(data, size=16), SMALL)


def test_each_kind_is_called_what_it_is(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    train, val = photos / "train", photos / "val"
    ants, bees = sorted((train / "ants").iterdir()), sorted((train / "bees").iterdir())
    shutil.copy(ants[0], train / "ants" / "copy.jpg")
    shutil.copy(ants[1], val / "ants" / "leak.jpg")
    shutil.copy(ants[2], train / "bees" / "conflict.jpg")
    shutil.copy(bees[3], val / "ants" / "both.jpg")
    shutil.copy(val / "bees" / "00.jpg", val / "ants" / "inside.jpg")
    with caplog.at_level(logging.INFO, "softonce"):
        doubles = read(photos).doubles
    found = {Path(double.other_path).name: double for double in doubles}
    assert set(found) == {"copy.jpg", "leak.jpg", "conflict.jpg", "both.jpg", "00.jpg"}
    kinds = {name: (double.is_conflict, double.is_leak) for name, double in found.items()}
    assert kinds == {
        "copy.jpg": (False, False),
        "leak.jpg": (False, True),
        "conflict.jpg": (True, False),
        "both.jpg": (True, True),
        "00.jpg": (True, False),
    }
    assert (found["both.jpg"].label, found["both.jpg"].other_label) == ("bees", "ants")
    assert "3 pictures in two classes, so that a label is wrong, the first: " in caplog.text
    assert "1 file of another split found in train too" in caplog.text
    assert "1 picture twice in one class of one split" in caplog.text


def test_every_copy_is_paired_with_the_first(photos: Path) -> None:
    first = photos / "train" / "ants" / "00.jpg"
    for number in range(3):
        shutil.copy(first, photos / "val" / "bees" / f"copy {number}.jpg")
    doubles = read(photos).doubles
    assert [double.path for double in doubles] == [str(first)] * 3


def test_the_list_of_doubles_leaves_them_out(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(photos / "train" / "ants" / "00.jpg", photos / "val" / "ants" / "a, b.jpg")
    shutil.copy(photos / "train" / "ants" / "01.jpg", photos / "train" / "bees" / "x.jpg")
    file = tmp_path / "doubles.csv"
    file.write_text(to_csv(read(photos).doubles))
    with caplog.at_level(logging.INFO, "softonce"):
        splits = read(photos, file)
    assert splits.doubles == ()
    assert (len(splits.train), len(splits.val)) == (37 - 3, 16 - 1)
    assert f"4 images left out, as {file} asks" in caplog.text


@pytest.mark.parametrize("style", ["absolute", "of the working directory", "of the list"])
def test_paths_may_be_written_in_three_ways(
    photos: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, style: str
) -> None:
    path = Path("train") / "ants" / "00.jpg"
    file = (photos if style == "of the list" else photos.parent) / "list.txt"
    if style == "of the working directory":
        monkeypatch.chdir(photos)
    written = photos / path if style == "absolute" else path
    file.write_text(f"{written}\n\nno/such.jpg\n")
    listed = list_splits(photos, exclude=file)
    assert len(listed.train) == 35
    assert "1 path of" in caplog.text
    assert "not found among the images, the first: no/such.jpg" in caplog.text


def test_a_list_that_cannot_be_used_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="list of files for --exclude at .*none.txt, found: No such"
    ):
        list_splits(photos, exclude=tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match="expected a path a line in .*empty.txt .*, found none"):
        list_splits(photos, exclude=tmp_path / "empty.txt")
    everything = tmp_path / "all.txt"
    ants = sorted((photos / "train" / "ants").iterdir())
    everything.write_text("\n".join(map(str, ants)))
    with pytest.raises(DataError, match="at least one image of every class .* none of: 'ants'"):
        list_splits(photos, exclude=everything)


def test_the_table_names_both_files(photos: Path) -> None:
    text = to_csv([Double("a.jpg", "ants", "train", "b.jpg", "bees", "val")])
    assert text.splitlines() == [
        "path,label,split,same_as,copy,fault",
        "a.jpg,ants,train,b.jpg,identical,in two classes",
        "b.jpg,bees,val,a.jpg,identical,in two classes",
    ]
