"""Folders to samples: what is a class, what is an image, what becomes val."""

from __future__ import annotations

import logging
import os
import shutil
import unicodedata
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from softonce.data.names import Names
from softonce.data.passed_over import images_below
from softonce.data.samples import Samples, list_samples
from softonce.data.sources import open_source
from softonce.data.sources.source import WHOLE
from softonce.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

MAP = ("ants", "bees", "wasps")


def samples_of(counts: list[int]) -> Samples:
    """Return samples with `counts` members a class, in an order that mixes the classes."""
    target = np.repeat(np.arange(len(counts)), counts)
    target = np.random.default_rng(0).permutation(target)
    names = Names.pack(b"%d.png" % i for i in range(len(target)))
    return Samples(None, "", names, target, tuple(map(str, range(len(counts)))))  # type: ignore[arg-type]


def classes_of(folder: Path) -> tuple[str, ...]:
    return list_samples(open_source(folder), WHOLE).classes


# classes and images


def test_classes_are_the_sorted_visible_folders(photos: Path) -> None:
    (photos / "train" / ".ipynb_checkpoints").mkdir()
    (photos / "train" / "readme.txt").touch()
    (photos / "train" / "Bees").mkdir()
    assert classes_of(photos / "train") == ("Bees", *MAP)


@pytest.mark.parametrize(("classes", "found"), [((), "none"), (("ants",), "only 'ants'")])
def test_fewer_than_two_classes_are_refused(
    tmp_path: Path, classes: tuple[str, ...], found: str
) -> None:
    for name in classes:
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=f"at least 2 classes in .*, found {found}: make"):
        classes_of(tmp_path)


def test_a_class_name_that_no_artefact_can_hold_is_refused(photos: Path) -> None:
    os.mkdir(os.fsencode(photos / "train") + b"/caf\xe9")  # noqa: PTH102 - bytes, not text
    with pytest.raises(DataError, match=r"that are named in UTF-8, found 'caf\\udce9': rename"):
        classes_of(photos / "train")


def test_samples_are_the_visible_images_in_order_nested_ones_included(photos: Path) -> None:
    ants = photos / "train" / "ants"
    (ants / "deep").mkdir()
    shutil.copy(ants / "00.jpg", ants / "deep" / "é.JPEG")
    shutil.copytree(ants, ants / ".thumbnails")
    shutil.copy(ants / "00.jpg", ants / ".00.jpg")
    (ants / "notes.txt").write_text("no picture")
    samples = list_samples(open_source(photos / "train"), WHOLE, MAP, complete=True)
    listed = [samples.where(i) for i in range(len(samples)) if samples.target[i] == 0]
    assert [Path(path) for path in listed] == [
        *(ants / f"{n:02d}.jpg" for n in range(12)),
        ants / "deep" / "é.JPEG",
    ]
    assert list(map(str, images_below(ants, Counter()))) == listed
    assert samples.target.tolist() == [0] * 13 + [1] * 12 + [2] * 12


@pytest.mark.parametrize("loop", [".", "..", "../ants"], ids=["itself", "its parent", "its name"])
def test_links_that_lead_back_list_no_file_twice(photos: Path, loop: str) -> None:
    ants = photos / "train" / "ants"
    (ants / "deep").mkdir()
    (ants / "00.jpg").rename(ants / "deep" / "00.jpg")
    (ants / "deep" / "loop").symlink_to(loop)
    (ants / "again").symlink_to("deep")
    listed = [Path(name).name for name in images_below(ants, Counter())]
    assert sorted(listed) == [f"{number:02d}.jpg" for number in range(12)]


def test_a_name_that_is_no_utf_8_is_found_again(photos: Path) -> None:
    name = os.fsencode(photos / "train" / "ants") + b"/caf\xe9.jpg"
    shutil.copy(photos / "train" / "ants" / "00.jpg", name)
    samples = list_samples(open_source(photos / "train"), WHOLE, MAP)
    assert samples.read(12) == samples.read(0)


def test_an_empty_class_is_refused_where_all_are_needed(photos: Path) -> None:
    shutil.rmtree(photos / "train" / "bees")
    (photos / "train" / "bees").mkdir()
    with pytest.raises(DataError, match="every class in .*, found none of: 'bees'; add images"):
        list_samples(open_source(photos / "train"), WHOLE, MAP, complete=True)


def test_a_split_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected images in the classes"):
        list_samples(open_source(tmp_path), WHOLE, MAP)


@pytest.mark.parametrize("is_empty_folder", [True, False])
def test_a_class_that_val_lacks_keeps_its_place(
    photos: Path, caplog: pytest.LogCaptureFixture, is_empty_folder: bool
) -> None:
    shutil.rmtree(photos / "val" / "ants")
    if is_empty_folder:
        (photos / "val" / "ants").mkdir()
    with caplog.at_level(logging.INFO, "softonce"):
        samples = list_samples(open_source(photos / "val"), WHOLE, MAP)
    assert samples.classes == MAP
    assert samples.target.tolist() == [1] * 5 + [2] * 5
    assert all(MAP[t] == Path(samples.where(i)).parent.name for i, t in enumerate(samples.target))
    assert "no image of: 'ants'; the label indices stay the same" in caplog.text


def test_unknown_classes_are_listed(photos: Path) -> None:
    for name in "hornet", "aphid":
        (photos / "val" / name).mkdir()
    with pytest.raises(DataError, match="3 classes of train in .*unknown ones: 'aphid', 'hornet';"):
        list_samples(open_source(photos / "val"), WHOLE, MAP)


def test_a_long_list_of_unknown_classes_is_cut(photos: Path) -> None:
    for number in range(11):
        (photos / "val" / f"x{number:02d}").mkdir()
    with pytest.raises(DataError, match="'x07' and 3 more; rename"):
        list_samples(open_source(photos / "val"), WHOLE, MAP)


# splits


@pytest.mark.parametrize(
    ("folders", "found"),
    [
        (["train", "val", "test"], {"train": "train", "val": "val", "test": "test"}),
        (["train", "valid", "validation"], {"train": "train", "val": "valid"}),
        (["train", "validation"], {"train": "train", "val": "validation"}),
        (["Training", "Testing"], {"train": "Training", "test": "Testing"}),
        (["Train", "train", "TEST"], {"train": "train", "test": "TEST"}),
        (["ants", "bees"], {"all": "."}),
        (["bus", "car", "train"], {"all": "."}),
        (["Control", "Good", "Test"], {"all": "."}),
    ],
)
def test_splits_are_found_by_name(
    tmp_path: Path, folders: list[str], found: dict[str, str]
) -> None:
    for name in folders:
        (tmp_path / name).mkdir()
    source = open_source(tmp_path)
    places = {split: source.list_split(split).place for split in source.splits()}
    assert places == {split: str(tmp_path / name) for split, name in found.items()}


@pytest.mark.parametrize(
    ("make", "what"), [(lambda p: None, "nothing"), (lambda p: p.touch(), "a file")]
)
def test_data_that_is_no_folder_is_refused(
    tmp_path: Path, make: Callable[[Path], None], what: str
) -> None:
    make(tmp_path / "data")
    with pytest.raises(DataError, match=f"folder of images at .*data, found {what}: check"):
        open_source(tmp_path / "data")


def test_the_same_letters_in_two_encodings_are_one_class(
    photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café 고양이") for form in ("NFC", "NFD"))
    (photos / "train" / "bees").rename(photos / "train" / composed)
    (photos / "val" / "bees").rename(photos / "val" / decomposed)
    train = list_samples(open_source(photos), "train")
    val = list_samples(open_source(photos), "val", train.classes)
    assert train.classes == ("ants", composed, "wasps")
    assert (val.target == 1).sum() == 5
    older = ("ants", decomposed, "wasps")  # as a classifier of before may have them
    assert (list_samples(open_source(photos), "train", older).target == 1).sum() == 12
    assert caplog.text == ""


def test_a_class_that_is_there_in_both_encodings_is_whole(
    photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    (photos / "train" / "bees").rename(photos / "train" / composed)
    (photos / "val" / "bees").rename(photos / "train" / decomposed)
    train = list_samples(open_source(photos / "train"), WHOLE)
    assert train.classes == ("ants", "wasps", composed)
    assert np.bincount(train.target).tolist() == [12, 12, 17]
    assert "classes of the same letters in two encodings, taken as one: '\\xe9'" in caplog.text


@pytest.mark.parametrize("name", ["Ants", "ants ", "\u200bants", "ants\u00ad", "\uff41nts"])
def test_an_unknown_class_that_looks_like_one_stands_beside_it(photos: Path, name: str) -> None:
    (photos / "val" / "ants").rename(photos / "val" / name)
    with pytest.raises(DataError) as found:
        list_samples(open_source(photos), "val", ("ants", "bees", "wasps"))
    assert f"found unknown ones: {name!a} (train has 'ants'); rename" in str(found.value)
