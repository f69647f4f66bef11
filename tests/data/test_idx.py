"""IDX files: what is read, what a damaged header may not do."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from data.pictures import scanned, squares

from softonce.data.sources import open_source
from softonce.data.sources.idx import Idx
from softonce.data.splits import list_splits
from softonce.errors import DataError
from softonce.preprocessing import Preprocessing

GREY = Preprocessing(size=28, mode="L", mean=(0.5,), std=(0.5,))
FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist
NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write(folder: Path, split: str, num: int, suffix: str = "") -> np.ndarray:
    """Write a split of `num` pictures with the labels 0, 1, 2, 0, ...; return the pictures."""
    pictures = np.random.default_rng(num).integers(0, 256, (num, 28, 28), np.uint8)
    for name, array in zip(NAMES[split], (pictures, np.arange(num) % 3), strict=True):
        data = idx(array)
        (folder / (name + suffix)).write_bytes(gzip.compress(data) if suffix == ".gz" else data)
    return pictures


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_pictures_and_labels_are_those_of_the_files(tmp_path: Path, suffix: str) -> None:
    pictures = write(tmp_path, "train", 12, suffix)
    write(tmp_path, "test", 3, suffix)
    source = open_source(f"idx:{tmp_path}")
    assert source.splits() == ("train", "test")
    found = scanned(f"idx:{tmp_path}", GREY, split="train")
    assert np.array_equal(squares(found)[:, 0], pictures)
    assert found.samples.target.tolist() == [0, 1, 2] * 4
    assert found.samples.classes == ("0", "1", "2")
    assert found.samples.where(4) == f"{tmp_path}/train/0000004.pgm"


def test_labels_may_begin_at_one_as_those_of_letters_do(tmp_path: Path) -> None:
    for split, labels in (("train", [1, 2, 26, 1]), ("test", [26, 2])):
        write(tmp_path, split, len(labels))
        (tmp_path / NAMES[split][1]).write_bytes(idx(np.array(labels)))
    found = list_splits(f"idx:{tmp_path}")
    assert found.classes == ("1", "2", "26")
    assert found.test is not None
    assert found.test.target.tolist() == [2, 1]


@pytest.mark.skipif(not FASHION.exists(), reason="needs Debian's dataset-fashion-mnist")
def test_fashion_mnist_is_read_with_the_names_of_its_classes() -> None:
    source = Idx.open(FASHION)
    train, test = (source.list_split(split) for split in ("train", "test"))
    assert (len(train.names), len(test.names)) == (60_000, 10_000)
    assert train.classes[:2] == test.classes[:2] == ("T-shirt/top", "Trouser")
    assert np.bincount(train.target).tolist() == [6000] * 10


HUGE = b"\0\0\x08\x03" + struct.pack(">3I", 2**31, 2**10, 2**10)
DAMAGED = {
    "cut header": (b"\0\0\x08\x03\0\0", "an IDX header 00000803 of bytes on 3 axes"),
    "empty": (b"", "found nothing: it is another kind of file"),
    "labels": (idx(np.arange(12)), "found 00000801"),
    "floats": (b"\0\0\x0d\x03" + b"\0" * 12, "found 00000d03"),
    "absurd size": (HUGE, "found 2147483648 x 1024 x 1024: the header is damaged"),
    "no pictures": (b"\0\0\x08\x03" + struct.pack(">3I", 0, 28, 28), "found 0 x 28 x 28"),
    "cut body": (idx(np.zeros((12, 28, 28)))[:-1], r"9,408 bytes after the header .*found 9,407"),
    "long body": (idx(np.zeros((12, 28, 28))) + b"x", "found more: the file is damaged"),
    "other number": (idx(np.zeros((11, 28, 28))), "as many images as labels .* found 11 and 12"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("data", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_a_clear_error_and_takes_no_memory(
    tmp_path: Path, data: bytes, message: str, packed: bool
) -> None:
    write(tmp_path, "train", 12)
    path = tmp_path / NAMES["train"][0]
    if packed:
        path.unlink()
        (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(data))
    else:
        path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(DataError, match=message):
        Idx.open(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    tracemalloc.stop()


def test_a_promise_that_the_bytes_do_not_keep_takes_no_memory(tmp_path: Path) -> None:
    write(tmp_path, "train", 12)
    header = b"\0\0\x08\x03" + struct.pack(">3I", 2**20, 32, 32)  # a GiB
    (tmp_path / NAMES["train"][0]).write_bytes(header)
    tracemalloc.start()
    with pytest.raises(DataError, match="expected 1,073,741,824 bytes .* found 0"):
        Idx.open(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    tracemalloc.stop()


def test_what_is_no_gzip_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "train", 12, ".gz")
    (tmp_path / f"{NAMES['train'][1]}.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="expected IDX data in .*labels.*found: Not a gzipped file"):
        Idx.open(tmp_path)


def test_missing_and_doubled_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected train-images-idx3-ubyte.* found neither"):
        Idx.open(tmp_path)
    write(tmp_path, "train", 12)
    (tmp_path / "train-images.idx3-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match="one file of train images .* found train-images-idx3"):
        Idx.open(tmp_path)
    (tmp_path / "train-images.idx3-ubyte").unlink()
    (tmp_path / NAMES["train"][1]).unlink()
    with pytest.raises(DataError, match="images and labels of train .* found no labels"):
        Idx.open(tmp_path)
