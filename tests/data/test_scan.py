"""Every file is read once: what is left out and named, what is refused, what is kept."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from data.pictures import BROKEN, LARGE, SMALL, encoded, noise, scanned, squares
from PIL import Image

from softonce.data import scan as scan_module
from softonce.data.samples import list_samples
from softonce.data.scan import scan
from softonce.data.sources import open_source
from softonce.data.storage import read_bytes
from softonce.errors import DataError, ImageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from softonce.preprocessing import Preprocessing


@pytest.mark.parametrize("preprocessing", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(("data", "reason"), BROKEN.values(), ids=BROKEN)
def test_one_bad_file_is_left_out_and_named(
    photos: Path,
    caplog: pytest.LogCaptureFixture,
    data: bytes,
    reason: str,
    preprocessing: Preprocessing,
) -> None:
    bad = photos / "train" / "bees" / "03.jpg"
    bad.write_bytes(data)
    found = scanned(photos / "train", preprocessing, max_bad_fraction=0)
    assert [file.path for file in found.bad_files] == [str(bad)]
    assert re.search(reason, found.bad_files[0].reason)
    assert f"left out {bad}: {found.bad_files[0].reason}" in caplog.text
    assert found.bad_files[0].to_dict() == {"path": str(bad), "reason": found.bad_files[0].reason}
    assert len(found) == len(found.digests) == 35
    assert str(bad) not in [found.samples.where(index) for index in range(35)]


@pytest.mark.parametrize(("num_bad", "limit"), [(2, 0.01), (2, 0.0), (4, 0.1)])
def test_more_bad_files_than_allowed_are_refused(photos: Path, num_bad: int, limit: float) -> None:
    for number in range(num_bad):
        (photos / "train" / "bees" / f"{number:02d}.jpg").write_bytes(b"")
    message = f"at most {limit:.1%} .* found {num_bad} of 36, the first: .*00.jpg .*0 bytes"
    with pytest.raises(DataError, match=message):
        scanned(photos / "train", max_bad_fraction=limit)
    assert len(scanned(photos / "train", max_bad_fraction=num_bad / 36)) == 36 - num_bad


def test_a_class_that_loses_its_only_image_is_refused_where_all_are_needed(photos: Path) -> None:
    for path in (photos / "val" / "bees").glob("0[1-4].jpg"):
        path.unlink()
    (photos / "val" / "bees" / "00.jpg").write_bytes(b"")
    assert len(scanned(photos / "val")) == 10
    with pytest.raises(DataError, match="readable image of every class .*, found none of: 'bees'"):
        scanned(photos / "val", complete=True)


def test_a_split_without_a_readable_image_is_refused(tmp_path: Path) -> None:
    for name in "ants", "bees":
        (tmp_path / name).mkdir()
    (tmp_path / "ants" / "a.jpg").touch()
    with pytest.raises(DataError, match="a readable image in .*, found none"):
        scanned(tmp_path)


def test_a_file_that_is_gone_or_too_large_is_an_image_error(
    tmp_path: Path,
) -> None:
    with pytest.raises(ImageError, match="No such file"):
        read_bytes(tmp_path / "none.jpg")
    (tmp_path / "a.jpg").write_bytes(b"0123456789")
    with pytest.raises(ImageError, match="10 bytes, more than 9 allowed"):
        read_bytes(tmp_path / "a.jpg", limit=9)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="no regular file"):
        read_bytes(tmp_path / "pipe.jpg")


# what is odd


def test_a_file_that_is_the_only_one_of_its_kind_is_used_and_named(
    photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gif = photos / "train" / "bees" / "placeholder.gif"
    gif.write_bytes(encoded(noise(20, 20), "GIF"))
    assert len(scanned(photos / "train")) == 37
    assert f"{gif} is the only GIF among 37 images: it is used" in caplog.text


@pytest.mark.parametrize("kinds", [[], ["GIF", "GIF"]], ids=["one kind", "two of each"])
def test_usual_kinds_are_passed_over_in_silence(
    photos: Path, caplog: pytest.LogCaptureFixture, kinds: list[str]
) -> None:
    for number, kind in enumerate(kinds):
        (photos / "train" / "bees" / f"x{number}.gif").write_bytes(encoded(noise(9, 9), kind))
    scanned(photos / "train")
    assert caplog.text == ""


# what is kept


def test_small_pictures_are_kept_as_pixels_and_one_large_one_forbids_it(photos: Path) -> None:
    pixels = squares(scanned(photos / "train"))
    assert (pixels.shape, pixels.dtype) == ((36, 3, 16, 16), np.uint8)
    assert scanned(photos / "train", LARGE).pixels is None
    Image.new("RGB", (65, 40)).save(photos / "train" / "ants" / "00.jpg")
    assert scanned(photos / "train").pixels is None


def test_more_small_pictures_than_the_memory_may_take_are_not_kept(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_module, "SMALL_BYTES", 36 * 3 * 16 * 16 - 1)
    assert scanned(photos / "train").pixels is None


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        (lambda ants, bees: (ants / "00.jpg").rename(ants / "zz.jpg"), True),
        (lambda ants, bees: (ants / "00.jpg").rename(bees / "zz.jpg"), False),
        (lambda ants, bees: (ants / "00.jpg").unlink(), False),
        (lambda ants, bees: shutil.copy(ants / "00.jpg", ants / "zz.jpg"), False),
    ],
    ids=["renamed", "another class", "removed", "doubled"],
)
def test_the_fingerprint_is_of_contents_and_classes(
    photos: Path, change: Callable[[Path, Path], None], is_same: bool
) -> None:
    before = scanned(photos / "train").fingerprint
    change(photos / "train" / "ants", photos / "train" / "bees")
    assert (scanned(photos / "train").fingerprint == before) == is_same


def test_a_scan_or_an_aerial_picture_is_read_if_more_pixels_are_allowed(photos: Path) -> None:
    large = photos / "train" / "ants" / "large.png"
    Image.new("1", (13_500, 13_500), 1).save(large)  # beyond twice Pillow's own limit
    listed = list_samples(open_source(photos), "train")
    found = scan(listed, SMALL, max_bad_fraction=0.1)
    assert [file.path for file in found.bad_files] == [str(large)]
    assert found.bad_files[0].reason.startswith("more than 89,478,485 pixels")
    assert found.bad_files[0].reason.endswith("--max-pixels raises the limit")
    listed = list_samples(open_source(photos), "train", max_pixels=200_000_000)
    found = scan(listed, SMALL, max_bad_fraction=0.1)
    assert found.bad_files == ()
    fewer = list_samples(open_source(photos), "train", max_pixels=1000)
    with pytest.raises(DataError, match="pixels, more than 1,000 allowed"):
        scan(fewer, SMALL, max_bad_fraction=0.1)
