"""A folder of annotated pictures: safe names of their own, nothing overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from softonce.drawing import PictureFolder
from softonce.errors import ConfigError, StorageError

IMAGE = Image.new("RGB", (300, 200), "teal")


def names(folder: Path, *given: str) -> list[str]:
    pictures = PictureFolder(folder)
    return [pictures.write(IMAGE, name, ["bees"]).name for name in given]


def test_names_are_unique_on_file_systems_that_fold_cases_too(tmp_path: Path) -> None:
    given = ("a/1.png", "b/1.jpg", "c/1-2.png", "d/1.gif", "Ab.png", "aB.png")
    made = names(tmp_path / "seen", *given)
    assert made == ["1.jpg", "1-2.jpg", "1-2-2.jpg", "1-3.jpg", "Ab.jpg", "aB-2.jpg"]
    assert sorted(path.name for path in (tmp_path / "seen").iterdir()) == sorted(made)


HOSTILE = (
    "../../etc/passwd",
    "..",
    ".hidden",
    "-rf",
    "a\0b.png",
    "con\\..\\x.png",
    "\udce9.png",
    "x" * 400,
    "사" * 300 + ".png",
    "https://host/a.png?b=/c&d",
    "",
    "/",
    "a b\n.png",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    (made,) = names(tmp_path / "seen", name)
    assert [path.name for path in (tmp_path / "seen").iterdir()] == [made]
    assert made[0] not in ".-"
    assert made.endswith(".jpg")
    assert len(made.encode()) <= 255
    assert [path.name for path in tmp_path.iterdir()] == ["seen"]


def test_a_folder_with_files_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"the picture itself")
    with pytest.raises(ConfigError, match=r"found 1.jpg in .*: name another folder"):
        PictureFolder(tmp_path)
    assert (tmp_path / "1.jpg").read_bytes() == b"the picture itself"


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "seen").write_bytes(b"")
    with pytest.raises(StorageError, match="expected a folder for the annotated pictures"):
        PictureFolder(tmp_path / "seen")


def test_words_are_readable_beneath_tiny_and_huge_pictures(tmp_path: Path) -> None:
    pictures = PictureFolder(tmp_path / "seen")
    for side in (1, 8, 3000):
        path = pictures.write(Image.new("L", (side, side)), "a.png", ["bees 99.3 %"])
        with Image.open(path) as written:
            assert 240 <= written.width <= 1024
            assert written.height >= written.width + 20
