"""What the campaign has found once, each by its name."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data.pictures import scanned
from fuzz import corpus
from fuzz.readers import attempt

from softonce.checker import by_hand
from softonce.checker.kinds import Kind
from softonce.checker.tags import Call, Scores
from softonce.data.images import open_image
from softonce.data.sources import open_source
from softonce.errors import CheckpointError, DataError, ImageError
from softonce.tensors import read_tensors, write_tensors
from softonce.training.checkpoint import load_checkpoint

UNCLOSED = b"\x93NUMPY\x01\0\x40\0" + b"{'descr': '<f8', 'shape': (12. 3), 'x': (".ljust(63) + b"\n"
"""NumPy parses the head as Python, and its errors are those of Python's tokenizer."""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "tables"
    corpus.make("manifests", folder)
    return folder


@pytest.mark.parametrize(("start", "end"), [(4, 60), (-40, -12), (-300, -280)])
def test_pages_and_footers_of_parquet(start: int, end: int, tables: Path) -> None:
    data = bytearray((tables / "all.parquet").read_bytes())
    data[start:end] = b"\xff" * (end - start)
    file = tables / f"harmed{start}.parquet"
    file.write_bytes(data)
    assert attempt("manifests", file) == ["refused"]


def test_half_of_a_surrogate_pair_in_a_row(tables: Path) -> None:
    file = tables / "half.jsonl"
    file.write_text('{"path": "0.png", "label": "ants"}\n{"path": "1.png", "label": "\\ud800"}\n')
    with pytest.raises(DataError, match=r"expected text in line 2 of .*, found '\\ud800'"):
        open_source(file)


def test_an_array_whose_head_is_no_python(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="a damaged array: "):
        open_image(UNCLOSED)
    (tmp_path / "a.npy").write_bytes(UNCLOSED)
    assert attempt("answers", tmp_path / "a.npy") == ["refused"]


def test_a_member_of_an_archive_that_is_no_array(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("logits.npy", b"no array")
    assert attempt("answers", tmp_path / "a.npz") == ["refused"]


@pytest.mark.parametrize("classes", [["ants", {}], ["ants", "ants"], [1, 2]])
def test_classes_of_an_index_of_shards(classes: list[Any], tmp_path: Path) -> None:
    _, packed = corpus.make("shards", tmp_path / "whole")
    index = packed.folder / packed.file
    tensors, record = read_tensors(index)
    write_tensors(index, tensors, record | {"classes": classes})
    assert open_source(packed.folder).list_split("all").classes == corpus.CLASSES  # made again


@pytest.mark.parametrize(
    "about",
    [
        {"other": {"_type": "ClassLabel", "names": ["a"]}},
        {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": 3}},
        [],
        "no record",
    ],
)
def test_what_a_dataset_says_of_its_columns(about: Any, tmp_path: Path) -> None:
    from pyarrow import parquet

    _, example = corpus.make("datasets", tmp_path / "whole")
    file = example.folder / example.file
    text = about if isinstance(about, str) else json.dumps({"info": {"features": about}})
    table = parquet.read_table(file).replace_schema_metadata({"huggingface": text})
    parquet.write_table(table, file)
    (ending,) = attempt("datasets", file)
    assert ending == ("refused" if "image" in about else "read")


@pytest.mark.parametrize(
    "change",
    [
        {"errors": []},
        {"kinds": [None] * 6},
        {"mode": {}},
        {"mode": "L"},
        {"errors": ["bad"] + [""] * 5},
    ],
)
def test_a_cache_of_other_pictures_is_made_again(change: dict[str, Any], tmp_path: Path) -> None:
    photos = corpus._class_folders(tmp_path / "photos")
    before = scanned(photos, corpus.SIZE, cache=tmp_path / "cache", squares=True)
    (index,) = (tmp_path / "cache").glob("*.safetensors")
    tensors, record = read_tensors(index)
    write_tensors(index, tensors, record | change)
    after = scanned(photos, corpus.SIZE, cache=tmp_path / "cache", squares=True)
    assert read_tensors(index)[1] == record
    assert after.pixels is not None
    assert before.pixels is not None
    every = np.arange(6)
    assert np.array_equal(after.pixels[every], before.pixels[every])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (example,) = corpus.make("checkpoints", tmp_path_factory.mktemp("kept") / "run")
    return example.folder / example.file


@pytest.mark.parametrize(
    ("tensors", "record"),
    [
        ({"random.cpu": None}, {}),
        ({"random.cpu": torch.zeros(1, 3, dtype=torch.uint8)}, {}),
        ({"random.cpu": torch.zeros(())}, {}),
        ({"sums": None}, {}),
        ({"optimizer.none.momentum_buffer": torch.zeros(1)}, {}),
        ({"optimizer.999.momentum_buffer": torch.zeros(1)}, {}),
        ({}, {"optimizer": []}),
        ({}, {"progress": {"epoch": "one"}}),
        ({}, {"progress": {"step": -1}}),
        ({}, {"progress": {"best": {"top1": None}}}),
        ({}, {"progress": {"later": 1}}),
        ({}, {"progress": 3}),
    ],
)
def test_a_state_of_training_that_no_run_has_written(
    tensors: dict[str, Any], record: dict[str, Any], checkpoint: Path, tmp_path: Path
) -> None:
    old, about = read_tensors(checkpoint)
    changed = {k: v for k, v in (old | tensors).items() if v is not None}
    write_tensors(tmp_path / "state.safetensors", changed, about | record)
    state = corpus.state_of(corpus.network())
    with pytest.raises(CheckpointError, match="expected the state of this network in .*, found"):
        load_checkpoint(tmp_path / "state.safetensors", state)


@pytest.mark.parametrize(
    "change",
    [
        {"size": 16.5},
        {"size": float("nan")},
        {"size": True},
        {"mean": [float("nan")] * 3},
        {"std": [float("inf")] * 3},
        {"mode": "L", "mean": [0.5], "std": [0.5]},
    ],
)
def test_a_preprocessing_that_no_network_has(change: dict[str, Any], tmp_path: Path) -> None:
    path = corpus.artefact_in(tmp_path)
    tensors, record = read_tensors(path)
    record["preprocessing"] |= change
    write_tensors(path, tensors, record)
    answered = attempt("artefacts", path)
    assert (answered[0], answered[2]) == ("refused", "refused")


def test_metrics_that_are_none(tmp_path: Path) -> None:
    path = corpus.artefact_in(tmp_path)
    tensors, record = read_tensors(path)
    for metrics in ([], 3, None, {"top1": {}}):
        write_tensors(path, tensors, record | {"training": {"metrics": metrics}})
        assert attempt("artefacts", path) == ["read"] * 3


@pytest.mark.parametrize("op", by_hand._FORMS)
def test_an_operation_of_a_graph_that_lacks_its_operands(op: str) -> None:
    assert by_hand.written_out(Call(op, ())) is None
    found = by_hand.written_out(Call(op, (Scores(Kind.LOGITS),), shapes=((8, 10),)))
    assert found is None or not found.kind & (Kind.P | Kind.LOGP)
