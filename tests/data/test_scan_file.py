"""What was scanned once is not read again, until a file may have changed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
import pytest
from data.pictures import LARGE, SMALL, encoded, noise, scanned, squares

from softonce.data.file_table import FileTable, concatenate_tables
from softonce.data.images import Image
from softonce.data.samples import Samples, list_samples
from softonce.data.scan import Scan
from softonce.data.scan_file import ScanFile, Stamps
from softonce.data.sources import open_source
from softonce.data.sources.source import WHOLE
from softonce.errors import ImageError
from softonce.preprocessing import Preprocessing

SCAN = "scan.safetensors"
HOUR = 3600 * 10**9
Reads = list[str]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Return a list of the files whose bytes have been read, which grows."""
    found: Reads = []
    real = Samples.read

    def read(self: Samples, index: int) -> bytes:
        found.append(Path(self.where(index)).name)
        return real(self, index)

    monkeypatch.setattr(Samples, "read", read)
    return found


@pytest.fixture
def old(photos: Path) -> Path:
    """Return a folder of photos that were written an hour ago."""
    return age(photos / "train")


def age(folder: Path) -> Path:
    then = time.time_ns() - HOUR
    for path in folder.rglob("*.*"):
        os.utime(path, ns=(then, then))
    return folder


def start(
    data: Path | str, path: Path, preprocessing: Preprocessing = LARGE, split: str = WHOLE
) -> Scan:
    """Scan as a start of a run does."""
    kept = ScanFile(path, data, preprocessing.mode)
    found = scanned(data, preprocessing, split=split, kept=kept)
    kept.save()
    return found


def same(one: Scan, other: Scan) -> bool:
    return (
        np.array_equal(one.digests, other.digests)
        and one.fingerprint == other.fingerprint
        and one.bad_files == other.bad_files
        and list(one.samples.names) == list(other.samples.names)
    )


@pytest.mark.parametrize("preprocessing", [SMALL, LARGE], ids=["small", "large"])
def test_a_second_start_reads_no_byte_and_finds_the_same(
    old: Path, tmp_path: Path, reads: Reads, preprocessing: Preprocessing
) -> None:
    (old / "bees" / "03.jpg").write_bytes(b"no picture")
    age(old)
    first = start(old, tmp_path / SCAN, preprocessing)
    assert len(reads) == 36
    reads.clear()
    second = start(old, tmp_path / SCAN, preprocessing)
    assert reads == []
    assert same(first, second)
    assert [Path(file.path).name for file in second.bad_files] == ["03.jpg"]
    assert (first.pixels is None) == (second.pixels is None) == (preprocessing == LARGE)


def replaced(path: Path) -> None:
    """Change a byte of the pixels; the size stays."""
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)


CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "nothing": (lambda ants: None, []),
    "added": (lambda ants: shutil.copy(ants / "00.jpg", ants / "zz.jpg"), ["zz.jpg"]),
    "removed": (lambda ants: (ants / "00.jpg").unlink(), []),
    "renamed": (lambda ants: (ants / "00.jpg").rename(ants / "zz.jpg"), ["zz.jpg"]),
    "moved": (lambda ants: (ants / "00.jpg").rename(ants.parent / "bees/zz.jpg"), ["zz.jpg"]),
    "touched": (lambda ants: (ants / "00.jpg").touch(), ["00.jpg"]),
    "same size": (lambda ants: replaced(ants / "00.jpg"), ["00.jpg"]),
    "older": (lambda ants: os.utime(ants / "00.jpg", ns=(0, 1)), ["00.jpg"]),
    "broken": (lambda ants: (ants / "00.jpg").write_bytes(b"broken"), ["00.jpg"]),
    "gone and back": (
        lambda ants: [(ants / "00.jpg").unlink(), shutil.copy(ants / "01.jpg", ants / "00.jpg")],
        ["00.jpg"],
    ),
    "linked": (lambda ants: (ants / "zz.jpg").symlink_to(ants / "00.jpg"), ["zz.jpg"]),
    "other suffix": (lambda ants: (ants / "00.jpg").rename(ants / "00.png"), ["00.png"]),
}


@pytest.mark.parametrize(("change", "read_again"), CHANGES.values(), ids=CHANGES)
def test_what_changed_is_read_again_and_nothing_else(
    change: Callable[[Path], object],
    read_again: list[str],
    old: Path,
    tmp_path: Path,
    reads: Reads,
) -> None:
    start(old, tmp_path / SCAN)
    reads.clear()
    change(old / "ants")
    found = start(old, tmp_path / SCAN)
    assert reads == read_again
    assert same(found, scanned(old, LARGE))


def test_a_file_that_was_just_written_is_read_again_until_its_time_has_passed(
    old: Path, tmp_path: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size and time may be those of a change that came after the scan, in one tick of the clock."""
    now = time.time_ns()
    os.utime(old / "ants" / "00.jpg", ns=(now, now))
    os.utime(old / "ants" / "01.jpg", ns=(now + HOUR, now + HOUR))  # of a clock that runs ahead
    monkeypatch.setattr(time, "time_ns", lambda: now)
    start(old, tmp_path / SCAN)
    for _ in range(2):
        reads.clear()
        start(old, tmp_path / SCAN)
        assert reads == ["00.jpg", "01.jpg"]
    monkeypatch.setattr(time, "time_ns", lambda: now + 2 * HOUR)
    start(old, tmp_path / SCAN)
    reads.clear()
    start(old, tmp_path / SCAN)
    assert reads == []


@pytest.mark.parametrize(
    ("nanoseconds_before", "fraction", "is_settled"),
    [(0, 1, False), (10**7, 1, False), (10**8, 1, True), (10**9, 0, False), (3 * 10**9, 0, True)],
)
def test_a_tick_is_as_long_as_the_file_system_has_it(
    nanoseconds_before: int, fraction: int, is_settled: bool
) -> None:
    """Times without a fraction of a second come from a file system that keeps none."""
    taken = 10**18 + fraction
    stamps = Stamps(np.array([[5, taken - nanoseconds_before]]), taken)
    assert stamps.are_settled().tolist() == [is_settled]


def test_a_file_that_could_not_be_read_is_always_tried_again(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: Reads
) -> None:
    """As after a change of its rights, or of the network's: neither changes size or time."""

    def refuse(self: Samples, index: int) -> bytes:
        if self.names[index].endswith(b"ants/00.jpg"):
            raise ImageError("Permission denied")
        return b"".join([Path(self.where(index)).read_bytes()])

    with monkeypatch.context() as patch:
        patch.setattr(Samples, "read", refuse)
        assert len(start(old, tmp_path / SCAN)) == 35
    assert len(start(old, tmp_path / SCAN)) == 36
    assert reads == ["00.jpg"]


def test_a_copy_in_another_place_is_read_by_itself(old: Path, tmp_path: Path, reads: Reads) -> None:
    start(old, tmp_path / SCAN)
    shutil.copytree(old, tmp_path / "copy")  # sizes and times stay
    replaced(tmp_path / "copy" / "ants" / "00.jpg")
    before = (old / "ants" / "00.jpg").stat()
    os.utime(tmp_path / "copy" / "ants" / "00.jpg", ns=(before.st_atime_ns, before.st_mtime_ns))
    reads.clear()
    found = start(tmp_path / "copy", tmp_path / SCAN)
    assert len(reads) == 36
    assert same(found, scanned(tmp_path / "copy", LARGE))


def test_another_mode_and_another_pillow_judge_anew(
    old: Path, tmp_path: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(old, tmp_path / SCAN)
    reads.clear()
    grey = Preprocessing(size=72, resize=80, mode="L", mean=(0.5,), std=(0.2,))
    start(old, tmp_path / SCAN, grey)
    assert len(reads) == 36
    monkeypatch.setattr(PIL, "__version__", "0")
    start(old, tmp_path / SCAN, grey)
    assert len(reads) == 72


@pytest.mark.parametrize("damage", ["empty", "cut", "other tensors", "ends", "rows"])
def test_a_damaged_file_is_named_and_everything_is_read_again(
    damage: str, old: Path, tmp_path: Path, reads: Reads, caplog: pytest.LogCaptureFixture
) -> None:
    from softonce.tensors import read_tensors, write_tensors

    path = tmp_path / SCAN
    first = start(old, path)
    reads.clear()
    tensors, record = read_tensors(path)
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "other tensors":
        write_tensors(path, {}, record)
    elif damage == "ends":
        tensors["ends"][3] = -1
        write_tensors(path, tensors, record)
    else:
        tensors["digests"] = tensors["digests"][:5].clone()
        write_tensors(path, tensors, record)
    second = start(old, path)
    assert len(reads) == 36
    assert same(first, second)
    assert f"{path} cannot be used, every file is read again" in caplog.text
    reads.clear()
    start(old, path)
    assert reads == []


# other kinds of data


def test_every_kind_of_data_is_read_once(old: Path, tmp_path: Path, reads: Reads) -> None:
    from softonce.config import PackConfig
    from softonce.data.pack import pack

    rows = [f"{path},{path.parent.name}" for path in sorted(old.rglob("*.jpg"))]
    manifest = tmp_path / "photos.csv"
    manifest.write_text("path,label\n" + "\n".join(rows) + "\n")
    pack(PackConfig(old, tmp_path / "shards"))
    age(tmp_path / "shards")
    for data, name in ((manifest, "csv"), (tmp_path / "shards", "tar")):
        reads.clear()
        first = start(data, tmp_path / name)
        assert len(reads) == 36, name
        assert same(first, start(data, tmp_path / name)), name
        assert len(reads) == 36, name
    first_shard = next((tmp_path / "shards").glob("*.tar"))
    first_shard.touch()
    start(tmp_path / "shards", tmp_path / "tar")
    assert len(reads) == 72  # a shard is one file


def test_a_store_that_gives_no_tag_and_no_time_is_read_each_time(
    old: Path, tmp_path: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    for path in old.rglob("*.jpg"):
        files.pipe(f"/kept/{path.parent.name}/{path.name}", path.read_bytes())
    url = "memory://kept"
    first = start(url, tmp_path / SCAN)
    reads.clear()
    assert same(first, start(url, tmp_path / SCAN))
    assert reads == []
    files.pipe("/kept/ants/00.jpg", (old / "ants" / "01.jpg").read_bytes())
    start(url, tmp_path / SCAN)
    assert reads == ["00.jpg"]
    real = type(files).info
    untagged = lambda self, path, **_: real(self, path) | {"created": None}  # noqa: E731
    monkeypatch.setattr(type(files), "info", untagged)
    reads.clear()
    start(url, tmp_path / SCAN)
    start(url, tmp_path / SCAN)
    assert len(reads) == 72


# small pictures


def test_a_small_picture_is_decoded_when_it_is_first_needed_and_only_then(
    old: Path, tmp_path: Path, reads: Reads
) -> None:
    first = start(old, tmp_path / SCAN, SMALL)
    reads.clear()
    second = start(old, tmp_path / SCAN, SMALL)
    assert second.pixels is not None
    some = np.array([5, 30, 5])
    assert np.array_equal(second.pixels[some], squares(first)[some])
    assert sorted(reads) == ["05.jpg", "06.jpg"]
    assert np.array_equal(squares(second), squares(first))
    assert len(reads) == 36


def test_one_large_picture_among_those_known_forbids_to_keep_them(
    old: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (65, 40)).save(old / "ants" / "00.jpg")
    age(old)
    assert start(old, tmp_path / SCAN, SMALL).pixels is None
    assert start(old, tmp_path / SCAN, SMALL).pixels is None
    (old / "ants" / "00.jpg").write_bytes(encoded(noise(20, 20), "JPEG"))
    assert start(old, tmp_path / SCAN, SMALL).pixels is not None


def test_a_known_picture_that_is_gone_when_it_is_needed_is_named(old: Path, tmp_path: Path) -> None:
    start(old, tmp_path / SCAN, SMALL)
    found = start(old, tmp_path / SCAN, SMALL)
    (old / "ants" / "00.jpg").unlink()
    with pytest.raises(ImageError, match=r"ants/00.jpg: No such file"):
        squares(found)


# tables


def test_tables_are_joined_and_taken_apart_with_their_errors() -> None:
    one, other = FileTable.empty(2), FileTable.empty(3)
    one.put(1, b"", "", (0, 0), "gone")
    other.put(0, bytes(range(16)), "JPEG", (3, 4))
    other.put(2, b"x" * 16, "", (0, 0), "broken")
    both = concatenate_tables([one, other])
    assert both.errors == {1: "gone", 4: "broken"}
    assert both.good().tolist() == [0, 2, 3]
    assert both.were_read().tolist() == [False, False, True, False, True]
    part = both.take(np.array([4, 2, 0]))
    assert part.errors == {0: "broken"}
    assert (part.kinds[1], part.sides[1].tolist()) == (b"JPEG", [3, 4])


def test_names_of_a_split_are_listed_as_they_are(old: Path) -> None:
    samples = list_samples(open_source(old), WHOLE)
    assert list(samples.names) == [samples.names[index] for index in range(len(samples))]
