"""Classical classifiers in ONNX: what is read is what ONNX Runtime puts out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from softonce.checker.graph import read_model
from softonce.checker.kinds import Kind

if TYPE_CHECKING:
    from pathlib import Path

ROWS = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
COEFFICIENTS = [0.5, -1.0, 0.3, 1.5, 0.2, -0.7, -1.1, 0.4, 0.9]


def linear(link: str, classes: int = 3, *, mirrored: bool = False) -> onnx.NodeProto:
    weights = COEFFICIENTS[: 3 * classes]
    if mirrored:
        weights = [*(-x for x in weights[:3]), *weights[:3]]
    return helper.make_node(
        "LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml",
        coefficients=weights, intercepts=[0.0] * classes, classlabels_ints=list(range(classes)),
        post_transform=link, multi_class=0,
    )  # fmt: skip


def forest(weights: list[float], link: str, *, ids: tuple[int, ...] = (0, 1, 2)) -> onnx.NodeProto:
    """Two trees of one leaf each, with a weight for each class."""
    number = len(ids)
    return helper.make_node(
        "TreeEnsembleClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml",
        nodes_treeids=[0, 1], nodes_nodeids=[0, 0], nodes_featureids=[0, 0],
        nodes_modes=["LEAF", "LEAF"], nodes_values=[0.0, 0.0], nodes_truenodeids=[0, 0],
        nodes_falsenodeids=[0, 0], nodes_missing_value_tracks_true=[0, 0],
        nodes_hitrates=[1.0, 1.0],
        class_treeids=[0] * number + [1] * number, class_nodeids=[0] * (2 * number),
        class_ids=[*ids, *ids], class_weights=weights,
        classlabels_int64s=[0, 1] if number == 1 else list(range(number)), post_transform=link,
    )  # fmt: skip


NORMALIZER = helper.make_node("Normalizer", ["scores"], ["out"], domain="ai.onnx.ml", norm="L1")
SAME = helper.make_node("Identity", ["scores"], ["out"])
CASES = {
    "softmax": ([linear("SOFTMAX"), SAME], Kind.P),
    "one against all": ([linear("LOGISTIC"), SAME], Kind.BP),
    "one against all, normalised": ([linear("LOGISTIC"), NORMALIZER], Kind.P),
    "two mirrored classes": ([linear("LOGISTIC", 2, mirrored=True), SAME], Kind.P),
    "decision function": ([linear("NONE"), SAME], Kind.LOGITS),
    "forest": ([forest([0.1, 0.2, 0.2, 0.3, 0.1, 0.1], "NONE"), SAME], Kind.P),
    "forest of two classes": ([forest([0.2, 0.4], "NONE", ids=(0,)), SAME], Kind.P),
    "boosted": ([forest([0.4, -0.2, 0.1, 0.3, 0.6, 1.0], "SOFTMAX"), SAME], Kind.P),
    "votes": ([forest([0.4, -0.2, 0.1, 0.3, 0.6, 1.0], "NONE"), SAME], Kind.LOGITS),
}


def write(path: Path, nodes: list[onnx.NodeProto]) -> Path:
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, None),
        helper.make_tensor_value_info("out", TensorProto.FLOAT, None),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])]
    graph = helper.make_graph(nodes, "classifier", inputs, outputs)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize("name", CASES)
def test_scores_of_a_classifier_are_known_and_are_so(name: str, tmp_path: Path) -> None:
    nodes, kind = CASES[name]
    path = write(tmp_path / "m.onnx", nodes)
    label, scores = read_model(path).outputs
    assert (label.kind, scores.kind) == (Kind.INDEX, kind)
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    out = runtime.InferenceSession(str(path)).run(["out"], {"x": ROWS})[0]
    sums_to_one = bool(np.allclose(out.sum(axis=1), 1, atol=1e-5) and (out >= 0).all())
    assert sums_to_one == (kind is Kind.P)


def test_map_of_labels_and_scores_keeps_what_they_are(tmp_path: Path) -> None:
    zipped = helper.make_node(
        "ZipMap", ["scores"], ["out"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]
    )
    _, scores = read_model(write(tmp_path / "m.onnx", [linear("SOFTMAX"), zipped])).outputs
    assert (scores.kind, scores.axis) == (Kind.P, -1)


def test_label_that_is_looked_up_is_an_index(tmp_path: Path) -> None:
    labels = numpy_helper.from_array(np.array([3, 5, 9]), "labels")
    nodes = [
        linear("SOFTMAX"),
        helper.make_node("Constant", [], ["labels"], value=labels),
        helper.make_node("ArgMax", ["scores"], ["best"], axis=1),
        helper.make_node("ArrayFeatureExtractor", ["labels", "best"], ["out"], domain="ai.onnx.ml"),
    ]
    assert read_model(write(tmp_path / "m.onnx", nodes)).outputs[1].kind == Kind.INDEX
