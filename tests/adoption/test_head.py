"""Whatever a foreign graph ends in, what is written has logits, and one softmax."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from foreign_files import PIXELS, answers, ends, node, sigmoid, softmax, write

from softonce import ArtefactError, Classifier, adopt
from softonce.checker.graph import read_model
from softonce.checker.kinds import Kind

ENDS = ends()


@pytest.mark.parametrize("name", ENDS)
def test_the_logits_are_those_before_the_normaliser(name: str, tmp_path: Path) -> None:
    nodes, arrays = ENDS[name]
    path = write(tmp_path / "other.onnx", nodes, arrays=arrays)
    adopted = adopt(path, range="0..1", quiet=True)
    found = Classifier.load(adopted.file, engine="onnxruntime")(list(PIXELS))
    logits = np.stack([row.logits for row in found])
    probs = np.stack([row.probs for row in found])
    assert adopted.agreement.probs <= 1e-6
    if name == "a mean of two softmaxes":
        expected = answers(path, output="y")
    else:
        np.testing.assert_allclose(logits, answers(path), atol=1e-5)
        expected = softmax(answers(path))
    np.testing.assert_allclose(probs, expected, atol=1e-6)
    outputs = {output.name: output for output in read_model(adopted.file).outputs}
    assert outputs["probs"].kind == Kind.P
    assert not read_model(adopted.file).findings


def test_a_second_softmax_is_said_with_both_nodes(tmp_path: Path) -> None:
    nodes, _ = ENDS["two softmaxes"]
    adopted = adopt(write(tmp_path / "other.onnx", nodes), range="0..1", quiet=True)
    assert adopted.notes["scores"] == (
        "normalised 2 times, by Softmax 'n/p' and then Softmax 'n/y': all come off"
    )
    assert adopted.metadata.training["taken_off"] == ["Softmax 'n/p'", "Softmax 'n/y'"]


@pytest.mark.parametrize("is_by_hand", [False, True])
def test_sigmoids_stay_sigmoids(is_by_hand: bool, tmp_path: Path) -> None:
    nodes, arrays = [node("Sigmoid", ["z"], "y")], {}
    if is_by_hand:
        nodes = [
            node("Neg", ["z"], "n"),
            node("Exp", ["n"], "e"),
            node("Add", ["unit", "e"], "a"),
            node("Div", ["unit", "a"], "y"),
        ]
        arrays = {"unit": np.float32(1)}
    path = write(tmp_path / "other.onnx", nodes, arrays=arrays)
    adopted = adopt(path, range="0..1", quiet=True)
    found = adopted.classifier(list(PIXELS))
    assert adopted.metadata.normaliser == "sigmoid"
    assert "each with a sigmoid of its own" in adopted.notes["scores"]
    np.testing.assert_allclose(
        np.stack([row.probs for row in found]), sigmoid(answers(path)), atol=1e-6
    )
    assert found[0].prob == pytest.approx(found[0].probs.max())


@pytest.mark.parametrize(("order", "first"), [(("o", "p"), False), (("p", "o"), True)])
def test_one_sigmoid_and_its_opposite_are_two_classes(
    order: tuple[str, str], first: bool, tmp_path: Path
) -> None:
    nodes = [
        node("Sigmoid", ["z"], "p"),
        node("Sub", ["unit", "p"], "o"),
        node("Concat", order, "y", axis=1),
    ]
    path = write(
        tmp_path / "other.onnx", nodes, num=1, arrays={"unit": np.float32(1)}, about={"a": ""}
    )
    found = adopt(path, range="0..1", quiet=True).classifier(list(PIXELS))
    one = sigmoid(answers(path))
    expected = np.concatenate([one, 1 - one] if first else [1 - one, one], axis=1)
    np.testing.assert_allclose(np.stack([row.probs for row in found]), expected, atol=1e-6)


def test_one_sigmoid_is_said_for_what_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "other.onnx", [node("Sigmoid", ["z"], "y")], num=1, about={"a": ""})
    adopted = adopt(path, range="0..1", quiet=True)
    found = adopted.classifier(list(PIXELS))
    assert "one logit z for two classes" in adopted.notes["scores"]
    assert adopted.metadata.normaliser == "softmax"
    np.testing.assert_allclose(
        np.stack([row.probs for row in found])[:, 1:], sigmoid(answers(path)), atol=1e-6
    )


def test_a_softmax_of_sigmoids_must_be_said(tmp_path: Path) -> None:
    nodes = [node("Sigmoid", ["z"], "p"), node("Softmax", ["p"], "y")]
    path = write(tmp_path / "other.onnx", nodes)
    with pytest.raises(ArtefactError, match=r"Softmax 'n/y' over Sigmoid 'n/p'.*--head"):
        adopt(path, range="0..1", quiet=True)
    softmaxed = adopt(path, range="0..1", head="softmax", quiet=True)
    np.testing.assert_allclose(
        softmaxed.classifier(list(PIXELS))[0].logits, sigmoid(answers(path))[0], atol=1e-6
    )
    assert adopt(path, range="0..1", head="sigmoid", quiet=True).metadata.normaliser == "sigmoid"


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([node("Softmax", ["z"], "y", axis=0)], "over the classes by Softmax 'n/y'"),
        ([node("ArgMax", ["z"], "y", axis=1)], "class indices only"),
        ([node("Tanh", ["z"], "y")], "'y', made by Tanh 'n/y'"),
        ([node("Softmax", ["z"], "p"), node("ReduceMax", ["p"], "y", axes=[1])], "made by"),
    ],
    ids=["over the batch", "indices", "tanh", "the largest"],
)
def test_what_is_no_row_of_scores_is_refused_by_its_node(
    nodes: list, reason: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "other.onnx", nodes)
    with pytest.raises(ArtefactError) as raised:
        adopt(path, range="0..1", quiet=True)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["other.onnx"]


def test_two_outputs_with_scores_must_be_chosen_from(tmp_path: Path) -> None:
    nodes = [
        node("Softmax", ["z"], "y"),
        node("Softmax", ["squashed"], "other"),
        node("ArgMax", ["z"], "label", axis=1),
    ]
    path = write(tmp_path / "other.onnx", nodes, outputs=("label", "y", "other"))
    with pytest.raises(ArtefactError, match=r"found 'y', 'other': name one with --output-name"):
        adopt(path, range="0..1", quiet=True)
    adopted = adopt(path, range="0..1", output_name="y", quiet=True)
    assert adopted.agreement.probs <= 1e-6
