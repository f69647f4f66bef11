"""The artefact goes to disk and back, and says clearly what is wrong with a file."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from softonce.artefact import FORMAT, Metadata, read_artefact, read_metadata, write_artefact
from softonce.errors import ArtefactError
from softonce.preprocessing import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

METADATA = Metadata(
    arch="cifar_resnet20",
    arch_args={"num_classes": 2, "shortcut": "A"},
    classes=("ants", '벌 \n"b"\''),
    preprocessing=Preprocessing(size=32, resize=36, fit="pad", mode="L", mean=(0.1,), std=(0.3,)),
    temperature=1.2345678901234567,
    training={"epochs": 3, "metrics": {"split": "val", "top1": 0.5}, "fingerprint": "00ff"},
)
TENSORS = {"fc.weight": torch.arange(6.0).view(2, 3).T, "fc.count": torch.tensor(7)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_artefact(tmp_path / "model.safetensors", TENSORS, METADATA)
    return tmp_path / "model.safetensors"


def rewrite(path: Path, record: Any) -> None:
    save_file({"a": torch.zeros(1)}, path, metadata={"softonce": json.dumps(record)})


def test_tensors_and_metadata_come_back_as_they_were(path: Path) -> None:
    tensors, metadata = read_artefact(path)
    assert metadata == read_metadata(path) == METADATA
    assert set(tensors) == set(TENSORS)
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_the_record_in_the_file_is_the_documented_json(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()["softonce"])
    assert record == METADATA.to_dict()
    assert (record["format"], record["output"]) == (FORMAT, "logits")
    assert set(record["preprocessing"]) == {
        *("size", "resize", "fit", "interpolation", "mean", "std", "mode")
    }


def test_the_bytes_depend_on_the_content_alone(path: Path) -> None:
    again = path.with_name("again.safetensors")
    metadata = dataclasses.replace(METADATA, arch_args={"shortcut": "A", "num_classes": 2})
    write_artefact(again, dict(reversed(TENSORS.items())), metadata)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("length", [0, 1, 7, 8, 100, -1])
def test_a_cut_tail_is_said(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    for read in (read_artefact, read_metadata):
        with pytest.raises(ArtefactError, match=r"a whole .safetensors file at .*: copy or make"):
            read(path)


def test_other_files_are_said_for_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(ArtefactError, match="found nothing: check the path"):
        read_artefact(path)
    with pytest.raises(ArtefactError, match=r"a whole .safetensors file at"):
        read_artefact(tmp_path)
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ArtefactError, match="damaged or of another kind"):
        read_artefact(path)
    for metadata in (None, {"format": "pt"}):
        save_file({"a": torch.zeros(1)}, path, metadata=metadata)
        with pytest.raises(ArtefactError, match="only tensors: use --model NAME --weights FILE"):
            read_artefact(path)


@pytest.mark.parametrize("text", ["{cut", "[1]", "null"])
def test_a_record_that_is_no_object_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"softonce": text})
    with pytest.raises(ArtefactError, match="a JSON object as the record of .*model.safetensors"):
        read_metadata(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "expected format 1, found 2: update softonce"),
        ({"format": None}, "expected format 1, found None"),
        ({"surplus": 1}, "expected the fields .*, found .*'surplus'"),
        ({"output": "probs"}, "expected the output 'logits', found 'probs'"),
        ({"arch": 5}, "expected another kind of arch, found 5"),
        ({"arch_args": []}, "another kind of arch_args"),
        ({"classes": 5}, "another kind of classes"),
        ({"classes": [1, 2]}, "class names as text"),
        ({"preprocessing": 3}, "another kind of preprocessing"),
        ({"temperature": "1"}, "another kind of temperature"),
        ({"temperature": 0}, "a temperature above 0, found 0"),
        ({"training": None}, "another kind of training"),
        ({"preprocessing": {"size": 3}}, "expected the preprocessing fields"),
        ({"preprocessing": METADATA.preprocessing.to_dict() | {"fit": "zoom"}}, "found 'zoom'"),
        ({"preprocessing": METADATA.preprocessing.to_dict() | {"mean": ["x"]}}, "to float: 'x'"),
    ],
    ids=str,
)
def test_a_record_that_does_not_fit_is_said(
    path: Path, change: dict[str, Any], message: str
) -> None:
    rewrite(path, METADATA.to_dict() | change)
    with pytest.raises(ArtefactError, match=rf"{path} is not a usable artefact: .*{message}"):
        read_artefact(path)


LATER = ("packages", "trained_on", "decisions", "normaliser")
NEEDED = [f.name for f in dataclasses.fields(Metadata) if f.name not in LATER]


@pytest.mark.parametrize("name", ["format", *NEEDED])
def test_every_field_must_be_there(path: Path, name: str) -> None:
    record = METADATA.to_dict()
    del record[name]
    rewrite(path, record)
    with pytest.raises(ArtefactError, match="is not a usable artefact"):
        read_metadata(path)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["ants", "ants"], "a different name for each class, found 'ants' 2 times"),
        (["ants", ""], "a name for each class, found ''"),
        (["ants", " \n"], r"a name for each class, found ' \\n'"),
        (["ants", "\udcff"], r"class names in UTF-8, found '\\udcff'"),
        (["ants", 3], "class names as text"),
    ],
)
def test_classes_that_no_answer_can_tell_apart_are_refused(
    classes: list[Any], message: str, path: Path
) -> None:
    rewrite(path, METADATA.to_dict() | {"classes": classes})
    with pytest.raises(ArtefactError, match=message):
        read_metadata(path)
    with pytest.raises(ArtefactError, match=message):
        Metadata.from_json(json.dumps(METADATA.to_dict() | {"classes": classes}), path)
