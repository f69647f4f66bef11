"""Tensors and their record go to disk and back, whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors import SafetensorError

from softonce import tensors
from softonce.errors import ArtefactError, StorageError
from softonce.tensors import read_record, read_tensors, write_tensors

if TYPE_CHECKING:
    from pathlib import Path


def test_a_full_disk_leaves_the_old_tensors_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"a": torch.zeros(3)}, {"old": True})

    def half(_: Any, filename: Path, **__: Any) -> None:
        filename.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(tensors, "save_file", half)
        with pytest.raises(StorageError, match="found: I/O error: No space left on device"):
            write_tensors(path, {"a": torch.ones(3)}, {"old": False})
    assert torch.equal(read_tensors(path)[0]["a"], torch.zeros(3))
    assert list(tmp_path.iterdir()) == [path]


def test_strided_and_attached_tensors_come_back_by_value(tmp_path: Path) -> None:
    weight = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    values = {"weight": weight.requires_grad_(), "half": torch.ones(3, dtype=torch.bfloat16)[::2]}
    write_tensors(tmp_path / "a", values, {})
    found, record = read_tensors(tmp_path / "a")
    assert record == {}
    assert all(torch.equal(found[name], values[name]) for name in values)
    assert found["half"].dtype == torch.bfloat16


def test_names_that_are_no_utf_8_come_back_in_paths_and_records(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    record = {"shards": [name, "벌"]}
    write_tensors(tmp_path / f"{name}.safetensors", {"a": torch.ones(2)}, record)
    tensors, found = read_tensors(tmp_path / f"{name}.safetensors")
    assert (found, tensors["a"].tolist()) == (record, [1, 1])
    assert read_record(tmp_path / f"{name}.safetensors") == record
    with pytest.raises(ArtefactError, match="found nothing: check the path"):
        read_tensors(tmp_path / f"{name}-2.safetensors")
