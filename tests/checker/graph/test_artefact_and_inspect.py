"""The artefact's own record, the door of the room, and `softonce inspect`."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from softonce.artefact import Metadata, write_artefact
from softonce.checker.graph import read_model
from softonce.checker.kinds import Kind
from softonce.cli.app import main
from softonce.errors import ArtefactError
from softonce.preprocessing import Preprocessing


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
        (struct.pack("<Q", 2) + b"{}", "a plain state dict of 0 tensors"),
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


def exported(net: nn.Module, folder: Path) -> str:
    program = torch.export.export(net, (torch.zeros(5, 3),))
    torch.export.save(program, folder / "m.pt2")
    return str(folder / "m.pt2")


@pytest.mark.parametrize(
    ("last", "expected", "status"),
    [
        (nn.Identity(), "logits", 0),
        (nn.Identity(), "probabilities", 1),
        (nn.Softmax(dim=1), "probabilities", 0),
        (nn.Softmax(dim=1), "logits", 1),
        (nn.Sigmoid(), "probabilities", 0),
        (nn.LogSoftmax(dim=1), "log-probabilities", 0),
        (nn.Sequential(nn.Softmax(dim=1), nn.Softmax(dim=1)), "probabilities", 1),
        (nn.Softmax(dim=0), "probabilities", 1),
    ],
)
def test_what_is_expected_decides_the_status(
    tmp_path: Path, capsys, last, expected, status
) -> None:
    file = exported(nn.Sequential(nn.Linear(3, 4), last), tmp_path)
    assert main(["inspect", file, "--expect", expected]) == status
    out, err = capsys.readouterr()
    assert ("expected an output with" in err or "warning SO20" in out) == (status == 1)


def test_softmax_over_the_batch_is_a_finding(tmp_path: Path) -> None:
    file = exported(nn.Sequential(nn.Linear(3, 4), nn.Softmax(dim=0)), tmp_path)
    (finding,) = read_model(Path(file)).findings
    assert finding.code == "SO203"
    file = exported(nn.Sequential(nn.Linear(3, 4), nn.Softmax(dim=1)), tmp_path)
    assert read_model(Path(file)).findings == ()


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_foreign_file_is_named_for_what_it_is(tmp_path: Path) -> None:
    net = nn.Linear(3, 4)
    path = tmp_path / "net.pth"
    torch.save(net.state_dict(), path)
    files = {path: r"a checkpoint of torch\.save"}
    legacy, script = tmp_path / "old.pt", tmp_path / "script.pt"
    torch.save(net.state_dict(), legacy, _use_new_zipfile_serialization=False)
    torch.jit.trace(net, torch.zeros(2, 3)).save(str(script))
    files |= {legacy: "a pickle, which is not opened", script: "a TorchScript program"}
    weights, tflite = tmp_path / "plain.safetensors", tmp_path / "m.tflite"
    save_file(dict(net.state_dict()), weights)
    tflite.write_bytes(b"\x1c\0\0\0TFL3" + bytes(32))
    files |= {weights: "a plain state dict of 2 tensors", tflite: "a TensorFlow Lite model"}
    for file, found in files.items():
        with pytest.raises(ArtefactError, match=found):
            read_model(file)
