"""A foreign file is data: what it declares is bounded, and nothing of it is run but its graph."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from foreign_files import node, write
from onnx import TensorProto, helper

from softonce import ArtefactError, adopt
from softonce.checker.graph import read_model
from softonce.checker.graph.onnx_file import num_nodes

SOFTMAX = [node("Softmax", ["z"], "y")]


def changed(path: Path, change: Callable[[Any], None]) -> Path:
    model = onnx.load(write(path, SOFTMAX))
    change(model)
    onnx.save(model, path)
    return path


def external(location: str, **more: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == "weight")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in ({"location": location} | more).items():
            tensor.external_data.add(key=key, value=str(value))

    return change


def huge(model: Any) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "weight")
    tensor.dims[:] = [2**31, 3]


def half_there(model: Any) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "weight")
    tensor.raw_data = tensor.raw_data[:8]


def custom(model: Any) -> None:
    model.graph.node[0].domain = "evil.ops"


def loop(model: Any) -> None:
    model.graph.node[0].op_type = "Loop"


def backwards(model: Any) -> None:
    nodes = list(model.graph.node)[::-1]
    copies = [onnx.NodeProto.FromString(each.SerializeToString()) for each in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def circle(model: Any) -> None:
    model.graph.node[1].input[0] = "z"


def laughs(model: Any) -> None:
    """Ten functions that call the next ten times each: 10**10 nodes."""
    for level in range(10):
        op = "Identity" if level == 9 else f"f{level + 1}"
        domain = "" if level == 9 else "laughs"
        names = ["a", *(f"v{number}" for number in range(9)), "b"]
        nodes = [
            helper.make_node(op, [one], [two], domain=domain)
            for one, two in itertools.pairwise(names)
        ]
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid("laughs", 1)]
        model.functions.append(
            helper.make_function("laughs", f"f{level}", ["a"], ["b"], nodes, opsets)
        )
    model.opset_import.append(helper.make_opsetid("laughs", 1))
    model.graph.node.append(helper.make_node("f0", ["y"], ["w"], domain="laughs"))
    model.graph.output[0].name = "w"


def expanded(model: Any) -> None:
    """A value of 2**40 numbers, whose size is a constant of the graph."""
    nodes = [
        helper.make_node("Constant", [], ["sizes"], value_ints=[2**20, 2**20, 1]),
        helper.make_node("Expand", ["y", "sizes"], ["big"]),
        helper.make_node("ReduceMax", ["big"], ["w"], axes=[0], keepdims=0),
    ]
    model.graph.node.extend(nodes)
    model.graph.output[0].name = "w"


def grown(model: Any) -> None:
    """The same, by a size that only the run computes: 2**20 for each pixel of white."""
    nodes = [
        helper.make_node("Constant", [], ["big"], value_float=2.0**34),
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Mul", ["top", "big"], ["much"]),
        helper.make_node("Cast", ["much"], ["number"], to=TensorProto.INT64),
        helper.make_node("Constant", [], ["row"], value_ints=[1]),
        helper.make_node("Reshape", ["number", "row"], ["sizes"]),
        helper.make_node("ConstantOfShape", ["sizes"], ["zeros"]),
        helper.make_node("ReduceMax", ["zeros"], ["zero"], keepdims=0),
        helper.make_node("Add", ["z", "zero"], ["late"]),
        helper.make_node("Softmax", ["late"], ["w"]),
    ]
    model.graph.node.extend(nodes)
    model.graph.output[0].name = "w"


BAD = {
    "a size of 24 GiB": (huge, "at most"),
    "half a tensor": (half_there, "whole tensors"),
    "external data elsewhere": (external("../weights.bin"), "its own folder"),
    "external data at the root": (external("/etc/hostname"), "its own folder"),
    "external data that is missing": (external("none.bin"), "its own folder"),
    "external data beyond its end": (external("short.bin", offset=8), "whole tensors"),
    "operators of a library": (custom, "ReduceMean 'n/pooled' of the library 'evil.ops'"),
    "a loop": (loop, "found Loop 'n/pooled'"),
    "an order that is none": (backwards, "before it is made"),
    "a circle": (circle, "before it is made"),
    "functions in functions": (laughs, "functions of at most"),
    "a value of 2**40 numbers": (expanded, "values of at most"),
    "a size that the run computes": (grown, "found: "),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_asks_for_too_much_is_one_line(name: str, tmp_path: Path) -> None:
    change, reason = BAD[name]
    (tmp_path / "short.bin").write_bytes(b"\0" * 36)
    path = changed(tmp_path / "other.onnx", change)
    with pytest.raises(ArtefactError) as raised:
        adopt(path, range="0..1", quiet=True)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["other.onnx", "short.bin"]


def test_functions_in_functions_are_not_inlined_to_be_inspected(tmp_path: Path) -> None:
    path = changed(tmp_path / "other.onnx", laughs)
    assert num_nodes(onnx.load(path)) > 10**9
    assert len(read_model(path).outputs) == 1


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(b"\0" * 36)
    (folder / "weights.bin").symlink_to(tmp_path / "weights.bin")
    path = changed(folder / "other.onnx", external("weights.bin"))
    with pytest.raises(ArtefactError, match="its own folder"):
        adopt(path, range="0..1", quiet=True)


def test_external_data_beside_the_file_are_read_into_the_new_one(tmp_path: Path) -> None:
    weight = (4 * np.eye(3, dtype=np.float32)).tobytes()
    (tmp_path / "weights.bin").write_bytes(weight)
    path = changed(tmp_path / "other.onnx", external("weights.bin"))
    adopted = adopt(path, range="0..1", quiet=True, output=tmp_path / "own" / "own.onnx")
    assert [each.name for each in adopted.file.parent.iterdir()] == ["own.onnx"]
    assert adopted.agreement.probs <= 1e-6


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"\x08\x07" * 999, b"<net/>"])
def test_what_is_no_model_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtefactError) as raised:
        adopt(path, range="0..1", quiet=True)
    assert "\n" not in str(raised.value)


def test_a_file_of_ours_needs_no_adoption(tmp_path: Path) -> None:
    path = write(tmp_path / "other.onnx", SOFTMAX)
    own = adopt(path, range="0..1", quiet=True).file
    with pytest.raises(ArtefactError, match="needs no adoption"):
        adopt(own, range="0..1", quiet=True)
