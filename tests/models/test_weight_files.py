"""Files of weights from many hands: what is understood, and what is refused without being run."""

from __future__ import annotations

import os
import zipfile
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from softonce.errors import WeightsError
from softonce.models import weight_files
from softonce.models.weight_files import read_tensors

if TYPE_CHECKING:
    from pathlib import Path

STATE = {"conv1.weight": torch.randn(2, 3), "fc.bias": torch.randn(4)}


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.marker}",))


def same(tensors: dict[str, torch.Tensor]) -> bool:
    return tensors.keys() == STATE.keys() and all(torch.equal(tensors[k], STATE[k]) for k in STATE)


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: tensor for key, tensor in STATE.items()}


@pytest.mark.parametrize("suffix", ["pth", "pt", "th", "bin", "ckpt"])
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_both_formats_of_torch_are_read_under_any_name(
    tmp_path: Path, suffix: str, is_zip: bool
) -> None:
    path = tmp_path / f"a.{suffix}"
    torch.save(STATE, path, _use_new_zipfile_serialization=is_zip)
    assert same(read_tensors(path))


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.safetensors", metadata={"softonce": "{}"})
    assert same(read_tensors(tmp_path / "a.safetensors"))


@pytest.mark.parametrize(
    "payload",
    [
        {"state_dict": STATE, "best_prec1": 91.7, "epoch": 3},
        {"model": STATE, "args": {"lr": 0.1}},
        {"model_state_dict": STATE},
        {"model_ema": prefixed("module."), "model": {"conv1.weight": torch.zeros(1)}},
        {"state_dict_ema": STATE, "state_dict": {"conv1.weight": torch.zeros(1)}},
        {"state_dict_ema": None, "state_dict": STATE},
        {"state_dict": {"model": STATE}},
        {"model": {"name": "resnet"}, "state_dict": STATE},
        {**STATE, "epoch": 3},
    ],
    ids="+".join,
)
def test_checkpoints_are_unwrapped(tmp_path: Path, payload: dict[str, Any]) -> None:
    torch.save(payload, tmp_path / "a.pth")
    assert same(read_tensors(tmp_path / "a.pth"))


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.module.",
        "model.",
        "model._orig_mod.",
    ],
)
def test_prefixes_are_stripped_in_any_order(tmp_path: Path, prefix: str) -> None:
    torch.save(prefixed(prefix), tmp_path / "a.pth")
    save_file(prefixed(prefix), tmp_path / "a.safetensors")
    assert same(read_tensors(tmp_path / "a.pth"))
    assert same(read_tensors(tmp_path / "a.safetensors"))


def test_two_networks_in_one_file_are_not_mixed(tmp_path: Path) -> None:
    torch.save({**STATE, **prefixed("module.")}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"found 4 keys in .*a.pth of which 2 differ after"):
        read_tensors(tmp_path / "a.pth")


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, is_zip: bool) -> None:
    marker = tmp_path / "ran"
    payload = {"state_dict": STATE, "extra": Hostile(marker)}
    torch.save(payload, tmp_path / "a.pth", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(WeightsError, match=r"found posix.system in .*a.pth, which is read only by"):
        read_tensors(tmp_path / "a.pth")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"ratio": Fraction(1, 2), "state_dict": STATE}, "found fractions.Fraction in"),
        (nn.Linear(2, 2), r"found torch.nn.modules.linear.Linear in .*save its state dict with"),
    ],
    ids=["fraction", "module"],
)
def test_objects_are_refused_by_name(tmp_path: Path, payload: object, message: str) -> None:
    torch.save(payload, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=message):
        read_tensors(tmp_path / "a.pth")


def test_torchscript_is_refused_by_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "version"):
            archive.writestr(f"a/{name}", b"3\n")
    with pytest.raises(WeightsError, match="found a TorchScript program in"):
        read_tensors(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>404</html>",
        b"hello" * 100,
        b"\x80\x02}q\x00.",
        b"\x80\x04\x95\xff",
        b"PK\x03\x04aaaa" * 9,
        b"no directory" * 9 + b"PK\x05\x06" + bytes(8) + b"\x20\0\0\0\x10" + bytes(5),
    ],
    ids=["empty", "html", "text", "pickle", "half-pickle", "half-zip", "lost-directory"],
)
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_garbage_is_refused(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=r"expected a whole .pth or .safetensors file, found "):
        read_tensors(tmp_path / name)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path: Path, is_zip: bool, fraction: float) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a": torch.randn(3000)}, path, _use_new_zipfile_serialization=is_zip)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(WeightsError, match="copy or download it again"):
        read_tensors(path)


def test_truncated_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="cannot be read"):
        read_tensors(path)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({}, "found the keys of nothing"),
        ({"epoch": 1, "lr": 2}, "found the keys 'epoch', 'lr'"),
        ([1, 2], "found a list"),
        ({"state_dict": {}}, "found the keys 'state_dict'"),
    ],
)
def test_files_without_tensors_are_refused(tmp_path: Path, payload: object, message: str) -> None:
    torch.save(payload, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=message):
        read_tensors(tmp_path / "a.pth")


def test_a_checkpoint_that_holds_itself_ends(tmp_path: Path) -> None:
    payload: dict[str, Any] = {"epoch": 1}
    payload["state_dict"] = payload
    torch.save(payload, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="found the keys 'epoch', 'state_dict'"):
        read_tensors(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(2, 2).to_sparse(), "found a.weight as torch.float32, torch.sparse_coo in"),
        (torch.zeros(2, dtype=torch.complex64), "found a.weight as torch.complex64"),
    ],
    ids=["sparse", "complex"],
)
def test_other_kinds_of_tensors_are_refused(
    tmp_path: Path, tensor: torch.Tensor, message: str
) -> None:
    torch.save({"a.weight": tensor}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=message):
        read_tensors(tmp_path / "a.pth")


def test_a_missing_file_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"found none at .*a.pth: check the path"):
        read_tensors(tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="expected a file of weights, found none at"):
        read_tensors(tmp_path)


def test_a_file_that_is_too_big_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_files, "MAX_FILE_BYTES", 1000)
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="at most 1,000 bytes of weights, found "):
        read_tensors(tmp_path / "a.pth")


def test_an_archive_that_unfolds_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as stored,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    with pytest.raises(WeightsError, match=r"that torch.save wrote, found compressed entries"):
        read_tensors(tmp_path / "b.pth")
