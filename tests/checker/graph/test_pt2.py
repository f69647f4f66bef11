"""Kinds of what torch.export saves, without torch's loader."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from softonce.checker.graph import read_model
from softonce.checker.kinds import Kind
from softonce.errors import ArtefactError

if TYPE_CHECKING:
    from pathlib import Path


class Net(nn.Module):
    """One output of each sort."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.norm(self.conv(images)).relu().mean((2, 3))
        logits = self.fc(features)
        probs = logits.softmax(dim=1)
        return {
            "logits": logits,
            "probs": probs,
            "log_probs": probs.log(),
            "sigmoid": torch.sigmoid(logits),
            "index": probs.argmax(dim=1),
            "moved": probs.half().unsqueeze(-1).transpose(1, 2),
            "unknown": probs * logits,
        }


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / "net.pt2"
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(
        Net().eval(), (torch.zeros(2, 3, 8, 8),), dynamic_shapes={"images": {0: batch}}
    )
    torch.export.save(program, path)
    return path


def test_each_output_has_its_kind_and_its_name(saved: Path) -> None:
    found = {output.name: output.kind for output in read_model(saved).outputs}
    assert found == {
        "logits": Kind.LOGITS,
        "probs": Kind.P,
        "log_probs": Kind.LOGP,
        "sigmoid": Kind.BP,
        "index": Kind.INDEX,
        "moved": Kind.P,
        "unknown": Kind.OTHER,
    }


def test_axis_of_the_classes_is_followed_through_views(saved: Path) -> None:
    outputs = {output.name: output for output in read_model(saved).outputs}
    assert outputs["probs"].axis == -1
    assert outputs["moved"].axis == -1
    assert outputs["moved"].node == "aten.softmax.int 'softmax'"
    assert [step.split(" ")[0] for step in outputs["moved"].through] == [
        "aten.to.dtype",
        "aten.unsqueeze.default",
        "aten.transpose.int",
    ]


class Scalars(nn.Module):
    """Orders the axes of a tensor that has none, which torch allows."""

    def forward(self, logits: Tensor) -> list[Tensor]:
        prob = logits.softmax(dim=1)[0, 0]
        return [prob.transpose(0, -1), prob.movedim(0, 0), prob.permute(())]


def test_scalars_whose_axes_are_ordered_are_read(tmp_path: Path) -> None:
    program = torch.export.export(Scalars(), (torch.zeros(3, 4),))
    torch.export.save(program, tmp_path / "scalars.pt2")
    assert [o.kind for o in read_model(tmp_path / "scalars.pt2").outputs] == [Kind.BP] * 3


def test_log_of_softmax_in_the_graph_is_reported(saved: Path) -> None:
    assert [finding.code for finding in read_model(saved).findings] == ["SO204"]


# torch's own run_decompositions uses a class that torch deprecates.
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
def test_decomposed_program_has_the_same_kinds(tmp_path: Path) -> None:
    program = torch.export.export(Net().eval(), (torch.zeros(2, 3, 8, 8),)).run_decompositions()
    torch.export.save(program, tmp_path / "core.pt2")
    found = {output.name: output.kind for output in read_model(tmp_path / "core.pt2").outputs}
    assert found["logits"] == Kind.LOGITS
    assert found["probs"] == found["moved"] == Kind.P
    assert found["log_probs"] == Kind.LOGP


def test_reading_needs_no_torch(saved: Path) -> None:
    code = (
        "import sys, pathlib; from softonce.checker.graph import read_model;"
        f"read_model(pathlib.Path({str(saved)!r})); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


class _Bomb:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_pickles_in_the_archive_are_not_opened(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt2"
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.infolist():
            is_pickle = member.filename.endswith(".pt")
            new.writestr(member, pickle.dumps(_Bomb()) if is_pickle else old.read(member))
    assert read_model(path).outputs[0].kind == Kind.LOGITS


def test_archive_of_pickles_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt2"
    torch.save({"a": torch.zeros(2)}, path)
    with pytest.raises(
        ArtefactError,
        match=r"expected a model file with a graph.* found a checkpoint of torch\.save",
    ):
        read_model(path)


def archive(path: Path, text: bytes) -> Path:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("m/models/model.json", text)
    path.write_bytes(buffer.getvalue())
    return path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"{", "text that is none"),
        (b"[" * 200_000, "text that is none"),
        (b"[]", "JSON of another shape"),
        (json.dumps({"graph_module": {"graph": 3}}).encode(), "JSON of another shape"),
    ],
)
def test_json_of_another_shape_is_one_clear_error(tmp_path: Path, text: bytes, found: str) -> None:
    with pytest.raises(ArtefactError, match=found):
        read_model(archive(tmp_path / "m.pt2", text))


def test_graph_above_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("softonce.checker.graph.pt2_file.MAX_JSON_BYTES", 1000)
    with pytest.raises(ArtefactError, match="expected a graph of at most 1000 bytes of JSON"):
        read_model(archive(tmp_path / "m.pt2", b" " * 2000))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"plain"])
def test_bytes_that_are_no_zip_are_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.pt2").write_bytes(content)
    with pytest.raises(ArtefactError, match="found no zip that can be read"):
        read_model(tmp_path / "m.pt2")
