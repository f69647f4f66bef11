"""Kinds of ONNX outputs, in files made with onnx's own helper."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from softonce.checker.graph import Output, read_model
from softonce.checker.graph.onnx_file import OPERATIONS
from softonce.checker.kinds import JOINS, PAIRS, ROWS, Kind
from softonce.errors import ArtefactError

if TYPE_CHECKING:
    from pathlib import Path

WEIGHT = numpy_helper.from_array(np.ones((4, 5), np.float32), "weight")


def write(path: Path, nodes: list, outputs: list[str], *, opset: int = 18, **options) -> Path:
    """A linear layer from `x` to `logits`, then the nodes."""
    linear = helper.make_node("Gemm", ["x", "weight"], ["logits"], name="/fc/Gemm")
    graph = helper.make_graph(
        [linear, *nodes],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [WEIGHT, *options.get("initializers", [])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    path.write_bytes(model.SerializeToString())
    return path


def one_output(path: Path, nodes: list, name: str = "out", **options) -> Output:
    model = read_model(write(path, nodes, [name], **options))
    return model.outputs[0]


def node(op: str, source: str, out: str, **attributes):
    return helper.make_node(op, [source], [out], name=f"/{out}/{op}", **attributes)


@pytest.mark.parametrize(
    ("op", "attributes", "kind"),
    [
        ("Softmax", {"axis": -1}, Kind.P),
        ("LogSoftmax", {"axis": -1}, Kind.LOGP),
        ("Sigmoid", {}, Kind.BP),
        ("Relu", {}, Kind.NONNEG),
        ("Tanh", {}, Kind.BOUNDED),
        ("ArgMax", {"axis": 1}, Kind.INDEX),
        ("Identity", {}, Kind.LOGITS),
    ],
)
def test_last_operation_decides_the_kind(tmp_path: Path, op, attributes, kind) -> None:
    found = one_output(tmp_path / "m.onnx", [node(op, "logits", "out", **attributes)])
    assert found.kind == kind
    assert found.node == ("Gemm '/fc/Gemm'" if op == "Identity" else f"{op} '/out/{op}'")


def test_graph_without_an_activation_gives_logits(tmp_path: Path) -> None:
    found = one_output(tmp_path / "m.onnx", [], "logits")
    assert (found.kind, found.node) == (Kind.LOGITS, "Gemm '/fc/Gemm'")


def test_softmax_then_log_is_log_probabilities_and_is_reported(tmp_path: Path) -> None:
    nodes = [node("Softmax", "logits", "p"), node("Log", "p", "out")]
    model = read_model(write(tmp_path / "m.onnx", nodes, ["out"]))
    assert model.outputs[0].kind == Kind.LOGP
    assert [finding.code for finding in model.findings] == ["SO204"]


def test_second_softmax_is_reported_with_both_nodes(tmp_path: Path) -> None:
    nodes = [node("Softmax", "logits", "p"), node("Softmax", "p", "out")]
    model = read_model(write(tmp_path / "m.onnx", nodes, ["out"]))
    (finding,) = model.findings
    assert finding.code == "SO202"
    assert str(finding.place) == "Softmax '/out/Softmax'"
    assert str(finding.made) == "Softmax '/p/Softmax'"
    assert model.outputs[0].node == "Softmax '/out/Softmax'"


def test_one_softmax_breaks_no_rule(tmp_path: Path) -> None:
    model = read_model(write(tmp_path / "m.onnx", [node("Softmax", "logits", "out")], ["out"]))
    assert model.findings == ()


def test_softmax_over_another_axis_is_no_second_one(tmp_path: Path) -> None:
    nodes = [node("Softmax", "logits", "p", axis=1), node("Softmax", "p", "out", axis=0)]
    found = read_model(write(tmp_path / "m.onnx", nodes, ["out"])).findings
    assert [finding.code for finding in found] == ["SO203"]  # it is over the batch


def test_operations_that_keep_the_values_are_walked_back_through(tmp_path: Path) -> None:
    shape = numpy_helper.from_array(np.array([-1, 5, 1]), "shape")
    nodes = [
        node("Softmax", "logits", "p"),
        node("Cast", "p", "half", to=TensorProto.FLOAT16),
        helper.make_node("Reshape", ["half", "shape"], ["three"], name="/three/Reshape"),
        node("Transpose", "three", "out", perm=[0, 2, 1]),
    ]
    found = one_output(tmp_path / "m.onnx", nodes, initializers=[shape])
    assert (found.kind, found.axis) == (Kind.P, -1)
    assert found.node == "Softmax '/p/Softmax'"
    assert found.through == (
        "Cast '/half/Cast'",
        "Reshape '/three/Reshape'",
        "Transpose '/out/Transpose'",
    )


def test_every_output_of_a_branching_graph_has_its_own_kind(tmp_path: Path) -> None:
    nodes = [
        node("Softmax", "logits", "p"),
        helper.make_node("TopK", ["p", "k"], ["values", "indices"], name="/top"),
    ]
    k = numpy_helper.from_array(np.array([3]), "k")
    path = write(tmp_path / "m.onnx", nodes, ["logits", "p", "values", "indices"], initializers=[k])
    kinds = [output.kind for output in read_model(path).outputs]
    assert kinds == [Kind.LOGITS, Kind.P, Kind.BP, Kind.INDEX]


def test_temperature_between_layer_and_softmax_changes_no_kind(tmp_path: Path) -> None:
    two = numpy_helper.from_array(np.array(2.0, np.float32), "two")
    nodes = [
        helper.make_node("Div", ["logits", "two"], ["scaled"]),
        node("Softmax", "scaled", "out"),
    ]
    found = one_output(tmp_path / "m.onnx", nodes, initializers=[two])
    assert found.kind == Kind.P


def test_sum_to_one_is_lost_when_probabilities_are_scaled(tmp_path: Path) -> None:
    two = numpy_helper.from_array(np.array(2.0, np.float32), "two")
    nodes = [node("Softmax", "logits", "p"), helper.make_node("Mul", ["p", "two"], ["out"])]
    assert one_output(tmp_path / "m.onnx", nodes, initializers=[two]).kind == Kind.OTHER


def test_matmul_with_a_weight_gives_logits_and_with_activations_nothing(tmp_path: Path) -> None:
    nodes = [node("Softmax", "logits", "p"), helper.make_node("MatMul", ["p", "logits"], ["out"])]
    assert one_output(tmp_path / "m.onnx", nodes).kind == Kind.OTHER
    square = numpy_helper.from_array(np.ones((5, 5), np.float32), "square")
    nodes = [node("Softmax", "logits", "p"), helper.make_node("MatMul", ["p", "square"], ["out"])]
    assert one_output(tmp_path / "m.onnx", nodes, initializers=[square]).kind == Kind.LOGITS


def test_softmax_without_axis_follows_the_opset(tmp_path: Path) -> None:
    new = one_output(tmp_path / "new.onnx", [node("Softmax", "logits", "out")])
    old = one_output(tmp_path / "old.onnx", [node("Softmax", "logits", "out")], opset=11)
    assert (new.axis, old.axis) == (-1, -1)


def test_operation_of_another_domain_is_unknown(tmp_path: Path) -> None:
    foreign = helper.make_node("Softmax", ["logits"], ["out"], name="odd", domain="vendor")
    found = one_output(tmp_path / "m.onnx", [foreign])
    assert (found.kind, found.node) == (Kind.OTHER, "Softmax 'odd'")


def test_record_of_softonce_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", [], ["logits"])
    model = onnx.load(path)
    helper.set_model_props(model, {"softonce": json.dumps({"output": "logits"})})
    onnx.save(model, path)
    assert read_model(path).record == {"output": "logits"}


def test_every_operation_of_the_map_is_in_the_transfer_table() -> None:
    arithmetic = {name for name, _, _ in PAIRS} | {"div"}
    assert set(OPERATIONS.values()) <= set(ROWS) | JOINS | arithmetic


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"not a model", b"\x08\x09" * 500])
def test_bytes_that_are_no_model_are_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="expected an ONNX model"):
        read_model(path)


def test_truncated_model_is_one_clear_error(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", [node("Softmax", "logits", "out")], ["out"])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArtefactError, match="expected an ONNX model"):
        read_model(path)
