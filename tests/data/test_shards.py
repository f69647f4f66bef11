"""Tar shards: packed deterministically, read at random, foreign ones indexed, none leading out."""

from __future__ import annotations

import gzip
import io
import os
import resource
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from data.pictures import encoded, noise, scanned
from training.runs import small

from softonce import train
from softonce.config import PackConfig
from softonce.data import storage
from softonce.data.pack import pack
from softonce.data.samples import list_samples
from softonce.data.sources import open_source
from softonce.data.storage import Local
from softonce.data.tar_index import INDEX, TarIndex
from softonce.errors import ConfigError, DataError, ImageError, StorageError
from softonce.tensors import read_tensors

PICTURE = encoded(noise(9, 9))


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# packing


def test_packed_samples_are_those_of_the_folder(photos: Path, tmp_path: Path) -> None:
    (photos / "val" / "bees").rename(photos / "val" / "gone")
    for path in (photos / "val" / "gone").iterdir():
        path.unlink()
    (photos / "val" / "gone").rmdir()
    out = pack(PackConfig(photos, tmp_path / "shards"))
    before, after = open_source(photos), open_source(out)
    assert after.splits() == ("train", "val")
    for split in after.splits():
        old, new = (list_samples(s, split, ("ants", "bees", "wasps")) for s in (before, after))
        assert new.target.tolist() == old.target.tolist()
        assert [new.read(i) for i in range(len(new))] == [old.read(i) for i in range(len(old))]
    with tarfile.open(out / "train-00000.tar") as tar:
        assert {name.split("/")[0] for name in tar.getnames()} == {"ants", "bees", "wasps"}


def test_a_run_on_shards_is_the_run_on_the_folder(photos: Path, tmp_path: Path) -> None:
    out = pack(PackConfig(photos, tmp_path / "shards"))
    for name, data in (("one", photos), ("two", out)):
        train(small(data, tmp_path / name, epochs=1, augment="resized-crop", workers=1))
    one, two = (read_tensors(tmp_path / name / "last.safetensors")[0] for name in ("one", "two"))
    assert all(torch.equal(two[name], value) for name, value in one.items())


def test_the_bytes_depend_on_the_data_alone(photos: Path, tmp_path: Path) -> None:
    first = pack(PackConfig(photos, tmp_path / "one"))
    for path in photos.rglob("*.jpg"):
        path.touch()
    assert contents(first) == contents(pack(PackConfig(photos, tmp_path / "two")))


def test_shards_end_at_their_size(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            data = encoded(noise(500, 500, seed=number))  # 750 kB
            (tmp_path / "data" / name / f"{number}.png").write_bytes(data)
    out = pack(PackConfig(tmp_path / "data", tmp_path / "out", shard_size=2))
    shards = sorted(out.glob("all-*.tar"))
    assert [path.stat().st_size // 10**6 for path in shards] == [1, 1, 1]
    assert len(scanned(out)) == 6


def test_only_shards_are_overwritten(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    for out in (".", "photos", "thesis.txt"):
        with pytest.raises(ConfigError, match="nothing but shards and their index to replace"):
            pack(PackConfig("photos", out, overwrite=True))
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    assert len(scanned(photos, split="train")) == 36
    monkeypatch.chdir(pack(PackConfig(photos, tmp_path / "out")))
    before = contents(tmp_path / "out")
    next((photos / "train" / "ants").iterdir()).unlink()
    pack(PackConfig(photos, ".", overwrite=True))
    assert contents(tmp_path / "out").keys() == before.keys()
    assert contents(tmp_path / "out") != before


def test_files_that_no_index_knows_are_not_overwritten(photos: Path, tmp_path: Path) -> None:
    out = pack(PackConfig(photos, tmp_path / "out"))
    (out / "backup.tar").write_bytes(b"precious")
    before = contents(out)
    with pytest.raises(ConfigError, match="shards and their index .* found backup.tar"):
        pack(PackConfig(photos, out, overwrite=True))
    assert contents(out) == before


def test_a_folder_that_cannot_be_listed_is_one_clear_error(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(StorageError, match="a folder that can be listed at .*, found: Permission"):
        pack(PackConfig(photos, tmp_path))
    with pytest.raises(StorageError, match="a folder that can be listed at .*, found: Permission"):
        train(small(photos, tmp_path))


def test_a_copied_index_keeps_its_order_of_classes(tmp_path: Path) -> None:
    index = TarIndex.read(Local(pack(PackConfig(_in_odd_order(tmp_path), tmp_path / "out"))))
    assert index is not None
    for path in (tmp_path / "out").glob("*.tar"):
        path.touch()  # as `cp` leaves them, after the index
    for _ in range(2):
        samples = list_samples(open_source(tmp_path / "out"), "train")
        assert samples.classes == index.classes == ("10", "9")
        assert samples.target.tolist() == [0, 1, 0]


def _in_odd_order(folder: Path) -> Path:
    """Return shards whose index has another order of classes than their names would give."""
    tar_of(
        folder / "odd" / "train-0.tar", {f"{n}/{i}.png": PICTURE for i, n in enumerate((10, 9, 10))}
    )
    tar_of(folder / "odd" / "test-0.tar", {"9/0.png": PICTURE})
    found = open_source(folder / "odd").index
    flipped = replace(found, target=1 - found.target, classes=found.classes[::-1])
    flipped.write(folder / "odd")
    return folder / "odd"


def test_class_names_that_are_no_folder_names_survive_even_without_the_index(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.png").write_bytes(PICTURE)
    (tmp_path / "data.csv").write_text("path,label\na.png,T-shirt/top\na.png,..\na.png,50%2F\n")
    out = pack(PackConfig(tmp_path / "data.csv", tmp_path / "out"))
    assert list_samples(open_source(out), "all").classes == ("..", "50%2F", "T-shirt/top")
    index = (out / INDEX).read_bytes()
    for path in out.glob("*.tar"):
        path.touch()  # as a copy of them is newer than the index
    assert list_samples(open_source(out), "all").classes == ("..", "50%2F", "T-shirt/top")
    assert (out / INDEX).read_bytes() == index


def test_nothing_is_replaced_or_left_half_written(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = pack(PackConfig(photos, tmp_path / "out"))
    before = contents(out)
    with pytest.raises(ConfigError, match="expected nothing at .*out, found something"):
        pack(PackConfig(photos, out))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    real = Path.rename

    def rename(path: Path, place: Path) -> Path:
        return full() if path.name == "shards" else real(path, place)

    for name, fails in (("pathlib.Path.rename", rename), ("os.fsync", full)):
        with monkeypatch.context() as patched:
            patched.setattr(name, fails)
            with pytest.raises(StorageError, match="No space left on device; nothing was replaced"):
                pack(PackConfig(photos, out, overwrite=True))
    assert [path.name for path in tmp_path.iterdir() if path != photos] == ["out"]
    assert contents(out) == before
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="expected a folder to write to at .*file, found"):
        pack(PackConfig(photos, tmp_path / "file" / "out"))


# foreign shards


def test_folders_of_members_are_classes_and_the_index_is_kept(tmp_path: Path) -> None:
    members = {f"./{name}/{n}.png": PICTURE for name in ("b", "a") for n in range(2)}
    tar_of(tmp_path / "train" / "0.tar", members | {"a/notes.txt": b"no picture"})
    tar_of(tmp_path / "val" / "0.tar", {"b/9.png": PICTURE})
    source = open_source(tmp_path)
    assert source.splits() == ("train", "val")
    samples = list_samples(source, "train")
    assert (samples.classes, samples.target.tolist()) == (("a", "b"), [1, 1, 0, 0])
    assert samples.where(0) == f"{tmp_path}/train/0.tar/b/0.png"
    index = (tmp_path / INDEX).stat().st_mtime_ns
    open_source(tmp_path)
    assert (tmp_path / INDEX).stat().st_mtime_ns == index
    tar_of(tmp_path / "val" / "0.tar", {f"b/{n}.png": PICTURE for n in range(20)})
    assert len(list_samples(open_source(tmp_path), "val", ("a", "b"))) == 20


@pytest.mark.parametrize("is_label", [False, True], ids=["name", ".cls"])
def test_a_shard_of_the_same_size_with_other_labels_is_indexed_again(
    tmp_path: Path, is_label: bool
) -> None:
    def write(first: str) -> list[str]:
        labels = [first, "ant", "bee"]
        members = {f"{label}/{n}.png": PICTURE for n, label in enumerate(labels)}
        if is_label:
            members = {f"{n}.png": PICTURE for n in range(3)}
            members |= {f"{n}.cls": label.encode() for n, label in enumerate(labels)}
        tar_of(tmp_path / "0.tar", members)
        samples = list_samples(open_source(tmp_path), "all")
        return [samples.classes[label] for label in samples.target.tolist()]

    assert write("ant") == ["ant", "ant", "bee"]
    size = (tmp_path / "0.tar").stat().st_size
    assert write("bee") == ["bee", "ant", "bee"]
    assert (tmp_path / "0.tar").stat().st_size == size


def test_more_shards_than_files_may_be_open_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        tar_of(tmp_path / f"{number:02d}.tar", {f"{'ab'[number % 2]}/{number}.png": PICTURE})
    samples = list_samples(open_source(tmp_path), "all")
    few = lru_cache(maxsize=8)(storage._open_shard.__wrapped__)
    monkeypatch.setattr(storage, "_open_shard", few)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert all(samples.read(index) == PICTURE for index in range(60))
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 8


def test_threads_that_share_few_open_shards_read_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [encoded(noise(9, 9, seed=number)) for number in range(12)]
    for number, picture in enumerate(pictures):
        tar_of(tmp_path / f"{number:02d}.tar", {f"{'ab'[number % 2]}/{number}.png": picture})
    samples = list_samples(open_source(tmp_path), "all")
    monkeypatch.setattr(
        storage, "_open_shard", lru_cache(maxsize=2)(storage._open_shard.__wrapped__)
    )
    order = [*range(12)] * 400
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(samples.read, order))
    assert found == [pictures[number] for number in order]


def test_a_shard_that_is_replaced_is_read_as_the_new_one(photos: Path, tmp_path: Path) -> None:
    def packed() -> list[bytes]:
        out = pack(PackConfig(photos, tmp_path / "out", overwrite=True))
        samples = list_samples(open_source(out), "train")
        return [samples.read(index) for index in range(len(samples))]

    before = packed()
    min((photos / "train" / "ants").iterdir()).unlink()
    assert packed() == before[1:]


def test_a_process_that_may_open_no_more_files_blames_no_picture(
    photos: Path, tmp_path: Path
) -> None:
    shards = pack(PackConfig(photos, tmp_path / "out"))
    for place in (photos, shards):
        samples = list_samples(open_source(place), "train")
        storage._open_shard.cache_clear()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            with pytest.raises(StorageError, match=r"one more file, found: Too many .*ulimit"):
                samples.read(0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_webdataset_labels_are_read(tmp_path: Path) -> None:
    labels = [10, 9, 10]
    members = {f"{n}.cls": str(label).encode() for n, label in enumerate(labels)}
    members |= {f"{n}.seg.png" if n == 1 else f"{n}.png": PICTURE for n in range(3)}
    tar_of(tmp_path / "shard-0.tar", members)
    samples = list_samples(open_source(tmp_path), "all")
    assert (samples.classes, samples.target.tolist()) == (("9", "10"), [1, 0, 1])
    assert samples.read(1) == PICTURE


def test_a_member_without_a_class_is_named(tmp_path: Path) -> None:
    tar_of(tmp_path / "0.tar", {"7.png": PICTURE})
    with pytest.raises(DataError, match="a class for 7.png in .*0.tar, found neither a folder nor"):
        open_source(tmp_path)


@pytest.mark.parametrize("name", ["../a/0.png", "/a/0.png", "a/../../0.png"])
def test_a_member_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    tar_of(tmp_path / "0.tar", {name: PICTURE})
    with pytest.raises(DataError, match="names inside .*0.tar, found .*: it leads out of it"):
        open_source(tmp_path)


def test_links_in_a_shard_are_no_samples(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "0.tar", {"a/0.png": PICTURE, "b/0.png": PICTURE})
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("b/1.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert len(list_samples(open_source(tmp_path), "all")) == 2


@pytest.mark.parametrize("how", ["packed", "cut", "text"])
def test_what_is_no_plain_tar_is_refused(tmp_path: Path, how: str) -> None:
    path = tar_of(tmp_path / "0.tar", {"a/0.png": bytes(9000)})
    data = path.read_bytes()
    if how == "packed":
        data = gzip.compress(data)
    path.write_bytes({"packed": data, "cut": data[:700], "text": b"no tar" * 200}[how])
    with pytest.raises(DataError, match="expected a whole, plain tar file at .*0.tar, found"):
        open_source(tmp_path)


def test_a_damaged_index_is_made_again(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = pack(PackConfig(photos, tmp_path / "out"))
    good = (out / INDEX).read_bytes()
    index = TarIndex.read(Local(out))
    assert index is not None
    index.offset[3] += 2**40
    index.write(out)
    assert len(list_samples(open_source(out), "train")) == 36
    assert "expected numbers that fit each other" in caplog.text
    (out / INDEX).write_bytes(good[:-50])
    assert len(list_samples(open_source(out), "train")) == 36


def test_a_member_above_the_limit_is_a_bad_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tar_of(tmp_path / "0.tar", {"a/0.png": PICTURE, "b/0.png": PICTURE, "b/1.png": bytes(5000)})
    monkeypatch.setattr("softonce.data.sources.shards.MAX_BYTES", 4000)
    found = scanned(tmp_path)
    assert [file.reason for file in found.bad_files] == ["5,000 bytes, more than 4,000 allowed"]


def test_a_shard_cut_after_it_was_indexed_is_a_bad_file(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "0.tar", {"a/0.png": PICTURE, "b/0.png": PICTURE, "b/1.png": PICTURE})
    samples = list_samples(open_source(tmp_path), "all")
    with path.open("r+b") as file:
        file.truncate(2000)
    with pytest.raises(ImageError, match=r"0.tar was changed after it was listed"):
        samples.read(2)


def test_a_label_or_a_shard_that_is_no_utf_8_is_one_clear_error(tmp_path: Path) -> None:
    members = {"0.png": PICTURE, "0.cls": b"\xff\xfe", "1.png": PICTURE, "1.cls": b"bees"}
    shard = os.fsdecode(b"caf\xe9.tar")
    folder = tar_of(tmp_path / "a" / shard, members).parent
    for _ in range(2):  # without the index, and with it
        with pytest.raises(DataError, match="classes in .* that are named in UTF-8, found"):
            list_samples(open_source(folder), "all")
    folder = tar_of(tmp_path / "b" / shard, members | {"0.cls": b"ants"}).parent
    assert list_samples(open_source(folder), "all").classes == ("ants", "bees")
    assert TarIndex.read(Local(folder)) is not None


@pytest.mark.parametrize("size", [2**40, 2**63, 2**80, -1, -1024, -(2**70)])
def test_a_size_that_no_file_has_is_one_clear_error(size: int, tmp_path: Path) -> None:
    shard = tar_of(tmp_path / "a" / "0.tar", {"ants/0.png": PICTURE, "bees/0.png": PICTURE})
    data = bytearray(shard.read_bytes())
    data[124:136] = (size % (1 << 96) | 0x80 << 88).to_bytes(12, "big")  # in base 256
    data[148:156] = b"%06o\0 " % (256 + sum(data[:148]) + sum(data[156:512]))
    shard.write_bytes(data)
    with pytest.raises(DataError, match="expected a whole, plain tar file"):
        list_samples(open_source(shard.parent), "all")
