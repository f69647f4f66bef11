"""ONNX's classical classifiers (`ai.onnx.ml`), as scikit-learn's converters write them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from softonce.checker.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

DOMAIN = "ai.onnx.ml"
OPERATIONS = {"Normalizer": "l1_normalize", "ZipMap": "identity"}
_CLOSE = 1e-4
"""Coefficients are written in float32; mirrored ones differ by rounding only."""
_LINKS = {"SOFTMAX": Kind.P, "LOGISTIC": Kind.BP, "PROBIT": Kind.BP}


def canonical_of(node: Any) -> str:
    """Return the row of the table, or "unknown"."""
    norm = next((a.s for a in node.attribute if a.name == "norm"), b"MAX")
    if node.op_type == "Normalizer" and norm != b"L1":
        return "unknown"
    return OPERATIONS.get(node.op_type, "unknown")


def outputs_of(node: Any, constants: Container[str]) -> tuple[Kind, ...]:
    """Return the kinds of a classifier's outputs, the label and the scores; () for other nodes."""
    if node.op_type == "ArrayFeatureExtractor" and node.input[0] in constants:
        return (Kind.INDEX,)  # picked from the list of labels
    attributes = {entry.name: entry for entry in node.attribute}
    link = attributes["post_transform"].s.decode() if "post_transform" in attributes else "NONE"
    if node.op_type == "LinearClassifier":
        kind = Kind.LOGITS if link == "NONE" else _LINKS.get(link, Kind.OTHER)
        return Kind.INDEX, Kind.P if _is_one_and_its_opposite(attributes, link) else kind
    if node.op_type == "TreeEnsembleClassifier":
        if link == "NONE":
            return Kind.INDEX, Kind.P if _are_shares(attributes) else Kind.LOGITS
        is_pair = link == "LOGISTIC" and _num_scored(attributes) == 1
        return Kind.INDEX, Kind.P if is_pair else _LINKS.get(link, Kind.OTHER)
    if node.op_type == "SVMClassifier":
        has_probabilities = "prob_a" in attributes and len(attributes["prob_a"].floats)
        return Kind.INDEX, Kind.P if has_probabilities else Kind.LOGITS
    return ()


def _is_one_and_its_opposite(attributes: Mapping[str, Any], link: str) -> bool:
    """Return whether two classes have the scores -z and z, whose sigmoids sum to 1."""
    if link != "LOGISTIC" or "coefficients" not in attributes:
        return False
    numbers = list(attributes["coefficients"].floats)
    half = len(numbers) // 2
    offsets = list(attributes["intercepts"].floats) if "intercepts" in attributes else [0.0, 0.0]
    are_two = len(offsets) == 2 and len(numbers) == 2 * half
    return are_two and _cancel(numbers[:half], numbers[half:]) and _cancel(offsets[:1], offsets[1:])


def _cancel(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(abs(a + b) <= _CLOSE * (1 + abs(a)) for a, b in zip(one, other, strict=True))


def _num_scored(attributes: Mapping[str, Any]) -> int:
    """Return how many classes have scores; of only one the runtime makes `1 - p, p`."""
    return len(set(attributes["class_ids"].ints)) if "class_ids" in attributes else 0


def _are_shares(attributes: Mapping[str, Any]) -> bool:
    """Return whether every tree's leaves hold its share of the probabilities, as forests' do."""
    names = ("class_treeids", "class_nodeids", "class_weights")
    if any(name not in attributes for name in names) or "base_values" in attributes:
        return False
    trees, leaves = (attributes[name].ints for name in names[:2])
    weights = attributes["class_weights"].floats
    sums: dict[tuple[int, int], float] = defaultdict(float)
    for tree, leaf, weight in zip(trees, leaves, weights, strict=True):
        sums[tree, leaf] += weight
    share = 1 / max(1, len(set(trees)))
    least = 0.0 if _num_scored(attributes) == 1 else share
    are_whole = all(least - _CLOSE <= total <= share + _CLOSE for total in sums.values())
    return are_whole and min(weights, default=-1.0) >= 0
