"""Classical classifiers (`ai.onnx.ml`) unfolded: the scores, and what normalises them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from softonce.checker.graph import onnx_ml
from softonce.checker.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

_NORMALISERS = {b"SOFTMAX": "Softmax", b"LOGISTIC": "Sigmoid"}


def unfold_(model: Any) -> dict[str, str]:
    """Take the normaliser out of linear classifiers, and a ZipMap off, whose values are a list.

    Returns:
        `classes`: the labels that the classifier holds, one a line; {} without any.
    """
    labels: list[str] = []
    nodes: list[Any] = []
    for node in model.graph.node:
        if node.domain == onnx_ml.DOMAIN:
            labels = _labels(node) or labels
            nodes += _unfolded(node)
        else:
            nodes.append(node)
    # What was inferred of a ZipMap is a list of maps; what takes its place is a tensor.
    lists = [v for v in model.graph.value_info if not v.type.HasField("tensor_type")]
    for value in lists:
        model.graph.value_info.remove(value)
    for value in model.graph.output:
        if not value.type.HasField("tensor_type"):
            value.ClearField("type")
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return {"classes": "\n".join(labels)} if labels else {}


def _labels(node: Any) -> list[str]:
    """Return the labels that a node names, as text."""
    for attribute in node.attribute:
        if attribute.name in ("classlabels_strings", "classlabels_ints"):
            strings = [text.decode("utf-8", "replace") for text in attribute.strings]
            return strings or [str(number) for number in attribute.ints]
    return []


def _unfolded(node: Any) -> Iterator[Any]:
    from onnx import helper

    if node.op_type == "ZipMap":
        yield helper.make_node("Identity", node.input[:1], node.output[:1], name=node.name)
        return
    link = next((a for a in node.attribute if a.name == "post_transform"), None)
    normaliser = _NORMALISERS.get(link.s) if link is not None else None
    if node.op_type != "LinearClassifier" or normaliser is None or link is None:
        yield node
        return
    # Two classes with the scores -z and z: sigmoid(z) is the softmax of half of both.
    is_pair = normaliser == "Sigmoid" and onnx_ml.outputs_of(node, ())[1] == Kind.P
    name, scores = node.name or node.op_type, f"{node.output[1]}/scores"
    result = node.output[1]
    link.s, node.output[1] = b"NONE", scores
    yield node
    if is_pair:
        yield helper.make_node("Constant", [], [f"{result}/half"], value_floats=[0.5])
        yield helper.make_node("Mul", [scores, f"{result}/half"], [f"{result}/halves"])
        scores, normaliser = f"{result}/halves", "Softmax"
    options: dict[str, Any] = {"axis": -1} if normaliser == "Softmax" else {}
    yield helper.make_node(normaliser, [scores], [result], name=f"{name}/{normaliser}", **options)
