"""The cache of decoded pictures: the same pixels, one reading, safe when interrupted or changed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from data.pictures import BROKEN, LARGE, scanned
from training.runs import small, weights

from softonce import TrainConfig, train
from softonce.data.augment import Augmentation
from softonce.data.loader import Loader
from softonce.data.samples import Samples
from softonce.errors import ImageError, StorageError

CROP = Augmentation(crop="resized-crop", size=72)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with every file that is read."""
    seen, real = [], Samples.read

    def read(self: Samples, index: int) -> bytes:
        seen.append(index)
        return real(self, index)

    monkeypatch.setattr(Samples, "read", read)
    return seen


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_evaluation_sees_the_pixels_that_it_sees_without(
    photos: Path, tmp_path: Path, fit: str, reads: list[int]
) -> None:
    preprocessing = dataclasses.replace(LARGE, fit=fit)
    plain = scanned(photos / "val", preprocessing)
    cached = scanned(photos / "val", preprocessing, cache=tmp_path / "cache")
    assert cached.fingerprint == plain.fingerprint
    reads.clear()
    again = scanned(photos / "val", preprocessing, cache=tmp_path / "cache")
    found = [list(Loader(s, preprocessing, 4, workers=0).batches()) for s in (cached, again)]
    assert reads == []
    expected = list(Loader(plain, preprocessing, 4, workers=0).batches())
    for batches in found:
        for (pixels, target), (true_pixels, true_target) in zip(batches, expected, strict=True):
            assert torch.equal(pixels, true_pixels)
            assert torch.equal(target, true_target)


def test_training_cuts_its_boxes_from_resized_pictures(
    photos: Path, tmp_path: Path, reads: list[int]
) -> None:
    cached = scanned(photos / "train", LARGE, cache=tmp_path, squares=False)
    assert cached.pictures is not None
    assert cached.pixels is None
    assert cached.pictures[0].shape == (80, 100, 3)  # from 32 x 40
    plain = scanned(photos / "train", LARGE)
    reads.clear()
    ours = torch.cat([pixels for pixels, _ in Loader(cached, LARGE, 9, CROP, workers=0).batches()])
    assert reads == []
    true = torch.cat([pixels for pixels, _ in Loader(plain, LARGE, 9, CROP, workers=0).batches()])
    # the same boxes of the same pictures, resampled twice
    assert (ours.float() - true.float()).abs().mean() < 12
    assert (ours.float() - true.flip(0).float()).abs().mean() > 30


def test_a_changed_file_or_another_preprocessing_is_another_cache(
    photos: Path, tmp_path: Path, reads: list[int]
) -> None:
    scanned(photos / "val", LARGE, cache=tmp_path)
    for change in (
        lambda: dataclasses.replace(LARGE, resize=90),
        lambda: dataclasses.replace(LARGE, interpolation="bicubic"),
        lambda: (photos / "val" / "ants" / "00.jpg").touch() or LARGE,
    ):
        reads.clear()
        scanned(photos / "val", change(), cache=tmp_path)
        assert len(reads) == 15


@pytest.mark.parametrize("how", ["pixels cut", "index gone", "index cut"])
def test_what_is_not_whole_is_made_again(
    photos: Path, tmp_path: Path, reads: list[int], how: str
) -> None:
    before = scanned(photos / "val", LARGE, cache=tmp_path)
    assert before.pixels is not None
    expected = np.array(before.pixels)
    pixels, index = next(tmp_path.glob("*.pixels")), next(tmp_path.glob("*.safetensors"))
    if how == "index gone":
        index.unlink()
    else:
        path = pixels if how == "pixels cut" else index
        path.write_bytes(path.read_bytes()[:-1])
    reads.clear()
    after = scanned(photos / "val", LARGE, cache=tmp_path)
    assert len(reads) == 15
    assert np.array_equal(after.pixels, expected)


def test_an_interrupted_cache_leaves_nothing_that_is_used(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def read(self: Samples, index: int) -> bytes:
        if index == 7:
            raise Killed
        return Path(self.where(index)).read_bytes()

    with monkeypatch.context() as patched:
        patched.setattr(Samples, "read", read)
        with pytest.raises(Killed):
            scanned(photos / "val", LARGE, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    assert len(scanned(photos / "val", LARGE, cache=tmp_path / "cache")) == 15


def test_bad_files_are_remembered(photos: Path, tmp_path: Path, reads: list[int]) -> None:
    bad = photos / "val" / "bees" / "02.jpg"
    bad.write_bytes(BROKEN["truncated JPEG"][0])
    first = scanned(photos / "val", LARGE, cache=tmp_path)
    reads.clear()
    second = scanned(photos / "val", LARGE, cache=tmp_path)
    assert first.bad_files == second.bad_files == (first.bad_files[0],)
    assert (first.bad_files[0].path, reads) == (str(bad), [])
    assert second.pixels is not None
    assert len(second.pixels) == len(second) == 14


def test_a_file_that_could_not_be_read_for_a_while_is_tried_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Samples.read

    def read(self: Samples, index: int) -> bytes:
        if index == 3:
            raise ImageError("Permission denied")
        return real(self, index)

    with monkeypatch.context() as patched:
        patched.setattr(Samples, "read", read)
        for _ in range(2):
            found = scanned(photos / "val", LARGE, cache=tmp_path)
            assert [file.reason for file in found.bad_files] == ["Permission denied"]
    assert scanned(photos / "val", LARGE, cache=tmp_path).bad_files == ()


def test_a_disk_without_room_is_named_before_anything_is_read(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[int]
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("", (), {"free": 100}))
    with pytest.raises(StorageError, match=r"expected about 0.0 GB for the cache .* --cache-dir"):
        scanned(photos / "val", LARGE, cache=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="expected a folder to write to at .*file"):
        scanned(photos / "val", LARGE, cache=tmp_path / "file" / "cache")
    assert reads == []


def test_a_resumed_run_reads_from_the_cache(photos: Path, tmp_path: Path, reads: list[int]) -> None:
    options = {"size": 72, "resize": 80, "epochs": 1, "cache_dir": tmp_path / "cache"}
    train(small(photos, tmp_path / "one", **options))
    before = weights(tmp_path / "one")
    reads.clear()
    train(TrainConfig(resume=tmp_path / "one"))
    train(small(photos, tmp_path / "two", **options | {"workers": 2}))
    assert weights(tmp_path / "one") == weights(tmp_path / "two") == before
    assert len(reads) <= 30  # the thumbnails of the two reports alone
