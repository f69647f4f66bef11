"""Data behind URLs are the data of a folder; names cost a worker no memory."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import fsspec
import numpy as np
import pytest
from data.pictures import scanned

from softonce.config import PackConfig
from softonce.data.names import Names
from softonce.data.pack import pack
from softonce.data.remote import Remote
from softonce.data.sources import absolute, open_source, short_name
from softonce.errors import DataError, ImageError, MissingExtraError


def upload(folder: Path, url: str) -> str:
    files = fsspec.filesystem("memory")
    for path in folder.rglob("*"):
        if path.is_file():
            files.pipe(f"{url}/{path.relative_to(folder)}", path.read_bytes())
    return url


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> str:
    yield f"memory://{request.node.name}"
    fsspec.filesystem("memory").store.clear()


def assert_same(url: str, folder: Path) -> None:
    for split in open_source(folder).splits():
        local, remote = scanned(folder, split=split), scanned(url, split=split)
        assert (remote.digests == local.digests).all()
        assert (remote.samples.target == local.samples.target).all()


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_a_folder_behind_a_url_is_the_folder(photos: Path, bucket: str, scheme: str) -> None:
    (photos / "train" / "ants" / "deep").mkdir()
    (photos / "train" / "ants" / "05.jpg").rename(photos / "train" / "ants" / "deep" / "0.jpg")
    (photos / "train" / "ants" / ".hidden.jpg").write_bytes(b"")
    url = upload(photos, bucket) if scheme == "memory" else f"file://{photos}"
    assert_same(url, photos)
    assert scanned(url, split="val").samples.where(0).endswith("/val/ants/00.jpg")


def test_shards_behind_a_url_are_the_shards(photos: Path, tmp_path: Path, bucket: str) -> None:
    out = pack(PackConfig(photos, tmp_path / "out"))
    assert_same(upload(out, bucket), out)


def test_a_manifest_behind_a_url_stays_below_its_folder(photos: Path, bucket: str) -> None:
    manifest = photos / "data.csv"
    manifest.write_text("path,label\ntrain/ants/00.jpg,a\ntrain/bees/00.jpg,b\n")
    assert_same(f"{upload(photos, bucket)}/data.csv", manifest)
    for path in ("../train/ants/00.jpg", "/train/ants/00.jpg"):
        manifest.write_text(f"path,label\n{path},a\n")
        upload(photos, bucket)
        with pytest.raises(DataError, match="names inside .*data.csv, found .*: it leads out"):
            open_source(f"{bucket}/data.csv")


def test_limits_hold_behind_a_url(bucket: str) -> None:
    fsspec.filesystem("memory").pipe(f"{bucket}/a.jpg", bytes(10))
    assert Remote(bucket).read(b"a.jpg", limit=10) == bytes(10)
    with pytest.raises(ImageError, match="more than 9 bytes"):
        Remote(bucket).read(b"a.jpg", limit=9)
    with pytest.raises(ImageError, match="expected 9 bytes, found 5: the file is cut short"):
        Remote(bucket).read_part(b"a.jpg", 5, 9, stamp=(0, 0))


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        ("memory://nothing", DataError, "expected a folder of images at .*, found nothing"),
        ("zzz://nothing", DataError, "expected a URL that fsspec knows"),
    ],
)
def test_a_url_that_leads_nowhere_is_named(url: str, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        open_source(url)


def test_a_missing_back_end_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(MissingExtraError, match=r"'s3fs' .* install .*softonce\[cloud\]"):
        open_source("s3://bucket/photos")


def test_data_keep_their_meaning_and_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("photos") == str(tmp_path / "photos")
    assert absolute("idx:mnist") == f"idx:{tmp_path}/mnist"
    assert absolute("s3://bucket/x") == "s3://bucket/x"
    assert [short_name(d) for d in ("idx:a/b", "s3://c/d/", Path("e/f"))] == ["b", "d", "f"]


# memory


def private_bytes() -> int:
    text = Path("/proc/self/smaps_rollup").read_text()
    return 1024 * sum(
        int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_Dirty")
    )


def growth_in_a_worker(names: object) -> int:
    """Return how many bytes become a worker's own while it looks at every name."""

    def look(pipe: object) -> None:
        before = private_bytes()
        for index in range(len(names)):  # type: ignore[arg-type]
            names[index]  # type: ignore[index]
        pipe.send(private_bytes() - before)  # type: ignore[attr-defined]

    receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)
    worker = multiprocessing.get_context("fork").Process(target=look, args=(sender,))
    worker.start()
    grown = receiver.recv()
    worker.join()
    return grown


def test_names_cost_a_worker_no_memory() -> None:
    listed = [b"train/n%07d/picture-%07d.jpg" % (n % 1000, n) for n in range(300_000)]
    packed = Names.pack(listed)
    assert list(packed.take(np.array([299_999, 0]))) == [listed[-1], listed[0]]
    size = packed.buffer.nbytes + packed.offsets.nbytes
    assert growth_in_a_worker(packed) < size / 10
    assert growth_in_a_worker(listed) > size / 2  # the comparison can fail
