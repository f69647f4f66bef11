"""A file is whole or as it was: also where the disk is full, and where the block fails."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from softonce.errors import ArtefactError, StorageError
from softonce.files import replacing, write_text
from softonce.run_folder import model_file

if TYPE_CHECKING:
    from pathlib import Path


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("old")
    return tmp_path / "a.txt"


def test_a_block_that_ends_well_replaces_the_file(path: Path) -> None:
    before = path.stat().st_ino
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_ino != before
    assert list(path.parent.iterdir()) == [path]


def test_the_bytes_are_flushed_before_the_name_and_the_folder_after(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, fsync = [], os.fsync

    def spy(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        seen.append((kind, path.read_text()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    write_text(path, "new")
    assert seen == [("file", "old"), ("folder", "new")]


def test_the_file_has_the_rights_of_a_plain_one(path: Path) -> None:
    plain = path.with_name("plain")
    plain.touch()
    write_text(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.parametrize("place", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.write_text"])
def test_a_full_disk_leaves_the_old_file_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(place, full)
        with pytest.raises(
            StorageError,
            match=r"write .*a.txt, found: No space left .*; nothing was replaced: free",
        ):
            write_text(path, "new")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt("mine")])
def test_an_error_of_the_block_passes_and_leaves_the_old_file_alone(
    path: Path, error: BaseException
) -> None:
    with pytest.raises(type(error), match="mine"), replacing(path) as temporary:  # noqa: PT012 - the block is the subject
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_missing_or_in_the_way_is_said(path: Path) -> None:
    with pytest.raises(StorageError, match="none/a.txt, found: No such file or directory"):
        write_text(path.parent / "none" / "a.txt", "new")
    (path.parent / "there").mkdir()
    with pytest.raises(StorageError, match="there, found: Is a directory"):
        write_text(path.parent / "there", "new")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_device_without_space_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tempfile.mkstemp", lambda **_: (os.open("/dev/null", os.O_RDONLY), tmp_path / "full")
    )
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left"):
        write_text(tmp_path / "a.txt", "new")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_run_means_its_artefact(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    for path in (tmp_path, str(tmp_path), tmp_path / "model.safetensors"):
        assert model_file(path) == tmp_path / "model.safetensors"
    assert model_file("missing.onnx").name == "missing.onnx"


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ((), "it is empty"),
        ((".hidden", "cat", "dog"), "cat, dog"),
        (tuple("abcdef"), "a, b, c, d, ..."),
    ],
)
def test_a_folder_without_an_artefact_is_no_run(names, found: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    with pytest.raises(ArtefactError) as refused:
        model_file(tmp_path)
    assert f"at {tmp_path}, found a folder without model.safetensors ({found})" in str(
        refused.value
    )
    assert "name the classifier first, then the images" in str(refused.value)
