"""The artefact's own record, the door of the room, and `softonce inspect`."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from softonce.artefact import Metadata, write_artefact
from softonce.checker.graph import read_model
from softonce.checker.kinds import Kind
from softonce.cli.app import main
from softonce.errors import ArtefactError
from softonce.preprocessing import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    metadata = Metadata(
        arch="resnet18",
        arch_args={"num_classes": 2},
        classes=("ant", "bee"),
        preprocessing=Preprocessing(size=32, resize=32),
    )
    write_artefact(tmp_path / "m.safetensors", {"fc.weight": torch.zeros(2, 2)}, metadata)
    return tmp_path / "m.safetensors"


def header(path: Path, text: bytes) -> Path:
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    return path


def test_artefact_puts_out_logits(artefact: Path) -> None:
    (output,) = read_model(artefact).outputs
    assert output.kind == Kind.LOGITS
    assert "resnet18" in output.node


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "a header of another kind"),
        (b"\xff" * 64, "a header of another kind"),
        (struct.pack("<Q", 4) + b"{{{{", "a header that is no JSON"),
        (struct.pack("<Q", 2) + b"{}", "tensors alone"),
    ],
)
def test_foreign_header_is_one_clear_error(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(ArtefactError, match=found):
        read_model(tmp_path / "m.safetensors")


def test_record_that_is_no_object_is_refused(tmp_path: Path) -> None:
    path = header(tmp_path / "m.safetensors", b'{"__metadata__": {"softonce": "3"}}')
    with pytest.raises(ArtefactError, match="a record that is no object"):
        read_model(path)


def test_missing_file_and_foreign_ending_are_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="found nothing: check the path"):
        read_model(tmp_path / "none.onnx")
    (tmp_path / "m.h5").write_bytes(b"x")
    with pytest.raises(ArtefactError, match=r"found the ending '\.h5'"):
        read_model(tmp_path / "m.h5")


def test_inspect_prints_the_record_and_the_outputs(artefact: Path, capsys) -> None:
    assert main(["inspect", str(artefact)]) == 0
    printed = capsys.readouterr().out
    assert "ant, bee" in printed
    assert "logits along axis -1" in printed


def test_inspect_prints_kind_and_node_of_an_exported_program(tmp_path: Path, capsys) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Softmax(dim=1), nn.Softmax(dim=1))
    torch.export.save(torch.export.export(net, (torch.zeros(2, 3),)), tmp_path / "m.pt2")
    assert main(["inspect", str(tmp_path / "m.pt2")]) == 0
    printed = capsys.readouterr().out
    assert "probabilities along axis -1" in printed
    assert "warning SO202 aten.softmax.int 'softmax_1'" in printed


def test_inspect_json_is_one_object(artefact: Path, capsys) -> None:
    assert main(["inspect", str(artefact), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["arch"] == "resnet18"
    assert record["outputs"][0]["kind"] == "logits"


def test_inspect_of_a_damaged_file_ends_with_status_2(tmp_path: Path, capsys) -> None:
    (tmp_path / "m.onnx").write_bytes(b"nothing")
    assert main(["inspect", str(tmp_path / "m.onnx")]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert message.startswith("error: expected an ONNX model at")
