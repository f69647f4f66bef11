"""A linear classifier of scikit-learn's converter: its softmax is a setting, and is taken out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from foreign_files import SIDE, softmax
from onnx import TensorProto, helper

from softonce import adopt


def test_the_softmax_of_a_linear_classifier_comes_off(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(3, SIDE * SIDE))
    nodes = [
        helper.make_node(
            "LinearClassifier", ["x"], ["label", "p"], name="LinearClassifier",
            domain="ai.onnx.ml", coefficients=weights.ravel(), intercepts=[0.0] * 3,
            classlabels_strings=["a", "b", "c"], multi_class=1, post_transform="SOFTMAX",
        ),
        helper.make_node("Normalizer", ["p"], ["n"], domain="ai.onnx.ml", norm="L1"),
        helper.make_node(
            "ZipMap", ["n"], ["y"], domain="ai.onnx.ml", classlabels_strings=["a", "b", "c"]
        ),
    ]  # fmt: skip
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", SIDE * SIDE])
    outputs = [helper.make_empty_tensor_value_info(name) for name in ("label", "y")]
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]
    graph = helper.make_graph(nodes, "linear", [given], outputs)
    path = tmp_path / "other.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    adopted = adopt(path, size=SIDE, mode="L", range="0..1", quiet=True)
    picture = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    found = adopted.classifier(picture)[0]
    expected = weights @ (picture.ravel() / 255)
    assert adopted.metadata.classes == ("a", "b", "c")
    np.testing.assert_allclose(found.logits, expected, atol=1e-4)
    np.testing.assert_allclose(found.probs, softmax(expected[None])[0], atol=1e-5)
