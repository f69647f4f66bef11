"""Files that are not read are counted by reason, and said."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pytest
from data.pictures import encoded, noise
from PIL import Image

from softonce.data import images, storage
from softonce.data.images import decode, open_image, to_array
from softonce.data.passed_over import images_below, say_passed_over
from softonce.data.samples import list_samples
from softonce.data.sources import open_source
from softonce.data.storage import is_image
from softonce.errors import ImageError

OTHERS = {
    "ants/a.HEIC": ".heic (pip install 'softonce[formats]' lets them be read)",
    "ants/b.dcm": ".dcm (save them as PNG)",
    "bees/deep/noname": "without a suffix (add one, such as .jpg, if they are pictures)",
    "bees/notes.txt": ".txt",
    "readme.md": ".md",
    "loose.png": "outside the class folders (move them into one)",
    "ants/.DS_Store": "hidden",
    "__MACOSX/ants/._a.png": "hidden",
    "bees/.ipynb_checkpoints/b.png": "hidden",
    "bees/Thumbs.db": "hidden",
}


@pytest.fixture(autouse=True)
def _no_packages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read what Pillow reads by itself, except in the test of the packages."""
    if "read_by_their_packages" in request.node.name:
        return
    monkeypatch.setattr(images, "register_plugins", lambda: None)
    alone = frozenset({".png", ".jpg", ".jpeg"})
    monkeypatch.setattr(storage, "image_suffixes", lambda: alone)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(["ants/0.png", "ants/1.png", "bees/deep/2.png", "bees/3.JPG"]):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(noise(9, 9, seed=number)))
    return tmp_path / "photos"


def fill(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"?")


def test_every_other_file_is_counted_by_its_reason(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(folder, list(OTHERS))
    with caplog.at_level(logging.INFO, "softonce"):
        samples = list_samples(open_source(folder), "all")
    assert len(samples) == 4
    assert samples.classes == ("ants", "bees")
    (line,) = caplog.messages
    assert line.startswith(f"passed over 10 files in {folder}: 4 hidden, 1 ")
    counts = Counter(OTHERS.values())
    assert sorted(line.partition(": ")[2].split(", 1 ")[1:]) == sorted(
        reason for reason, count in counts.items() if count == 1
    )


@pytest.mark.parametrize(
    ("name", "level"),
    [("a.heic", "WARNING"), ("noname", "WARNING"), ("a.txt", "INFO"), (".x.png", "INFO")],
)
def test_only_what_may_be_a_picture_is_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture, name: str, level: str
) -> None:
    fill(folder, [f"ants/{name}"])
    with caplog.at_level(logging.INFO, "softonce"):
        list_samples(open_source(folder), "all")
    assert [record.levelname for record in caplog.records] == [level]


def test_nothing_passed_over_is_nothing_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "softonce"):
        list_samples(open_source(folder), "all")
        say_passed_over("here", {})
    assert caplog.messages == []


def test_a_folder_beside_train_and_val_is_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("train", "val", "unlabelled"):
        (folder.parent / "data" / name).mkdir(parents=True)
    with caplog.at_level(logging.WARNING, "softonce"):
        assert open_source(folder.parent / "data").splits() == ("train", "val")
    assert "1 folder in" in caplog.text
    assert "not read, beside train, val: unlabelled" in caplog.text


def test_a_folder_of_predict_counts_them_too(folder: Path) -> None:
    fill(folder, list(OTHERS))
    passed_over: Counter[str] = Counter()
    found = [path.name for path in images_below(folder, passed_over)]
    assert found == ["loose.png", "0.png", "1.png", "3.JPG", "2.png"]
    assert passed_over == {
        "hidden": 4, ".heic": 1, ".dcm": 1, "without a suffix": 1, ".txt": 1, ".md": 1,
    }  # fmt: skip


HEADS = {
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "HEIF": b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic",
    "JPEG XL": b"\xff\x0a\xfa\x7f",
    "DICOM": bytes(128) + b"DICM\2\0",
    "PDF": b"%PDF-1.7\n",
}


@pytest.mark.parametrize("name", HEADS)
def test_a_format_that_is_not_read_is_named_with_what_to_do(name: str) -> None:
    with pytest.raises(ImageError, match=f"^{name}: (pip install|save )"):
        open_image(HEADS[name], formats=("PNG", "JPEG"))


@pytest.mark.parametrize(("name", "kind"), [("IMG_1.HEIC", "HEIF"), ("a.jxl", "JXL")])
def test_other_formats_are_read_by_their_packages(folder: Path, name: str, kind: str) -> None:
    images.register_plugins()
    picture = Image.new("RGB", (64, 48), (200, 30, 90))
    picture.save(folder / "ants" / name, kind)
    assert is_image(name.encode())
    samples = list_samples(open_source(folder), "all")
    index = [samples.where(index) for index in range(len(samples))].index(
        str(folder / "ants" / name)
    )
    pixels = to_array(decode(open_image(samples.read(index)), "RGB"))
    assert pixels.shape == (48, 64, 3)
    assert abs(pixels.astype(int) - (200, 30, 90)).max() < 8


def test_without_the_packages_their_files_are_named(folder: Path) -> None:
    fill(folder, ["ants/a.heic", "ants/b.jxl"])
    assert list_samples(open_source(folder), "all").source.list_split("all").passed_over == {
        ".heic": 1,
        ".jxl": 1,
    }
