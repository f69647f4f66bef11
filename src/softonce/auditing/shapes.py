"""One answer in JSON becomes scores: of every common shape, or from where a path says.

Understood without a path: a list of numbers; a list of `{"label": ..., "score": ...}` (Hugging
Face's image classification) or of other such records; an object of a number for each class; and any
of these inside objects and lists, under a usual name or alone, as `{"predictions": [{"top": ...}]}`
(ours), `{"outputs": [{"name": ..., "data": [...]}]}` (KServe v2) or `{"predictions": [[...]]}`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from softonce.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from softonce.auditing.answers import Claim

MAX_CLASSES = 1_000_000
_DEEPEST = 12  # nesting of a JSON answer that is looked into

_LABELS = ("label", "class", "name", "category", "tagname", "tag", "value", "description", "id")
_SCORES: dict[str, Claim | None] = {
    "prob": "probabilities", "probability": "probabilities", "proba": "probabilities",
    "score": "probabilities", "confidence": "probabilities", "logprob": "log-probabilities",
    "logit": "logits", "value": None,
}  # fmt: skip
"""How a record calls its number, the likeliest first; Hugging Face's `score` is a probability."""

_VECTORS: dict[str, Claim | None] = {
    "probs": "probabilities", "probabilities": "probabilities", "proba": "probabilities",
    "prob": "probabilities", "confidences": "probabilities", "softmax": "probabilities",
    "logprobs": "log-probabilities", "logprobabilities": "log-probabilities",
    "logits": "logits", "logit": "logits",
    "top": None, "scores": None, "predictions": None, "prediction": None, "outputs": None,
    "output": None, "results": None, "result": None, "data": None, "answer": None, "answers": None,
    "classes": None,
}  # fmt: skip
"""How lists of scores are called, the likeliest first."""


@dataclass(frozen=True)
class Scores:
    """The scores of one answer.

    Args:
        values: by class, or in an order of which only the places are known ("0", "1", ...).
        is_named: whether the answer names the classes.
        claim: what its names say of the numbers.
        slots: of each class, the list or object that holds its number, and where in it.
    """

    values: dict[str, float]
    is_named: bool
    claim: Claim | None = None
    slots: dict[str, tuple[Any, Any]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, node: Any, keys: Iterable[Any], *, is_named: bool, claim: Claim | None) -> Scores:
        """Return the numbers of a list or object, whose own keys name the classes."""
        slots = {str(place if not is_named else key): (node, key) for place, key in enumerate(keys)}
        return cls._in(slots, is_named=is_named, claim=claim)

    @classmethod
    def _in(
        cls, slots: dict[str, tuple[Any, Any]], *, is_named: bool, claim: Claim | None
    ) -> Scores:
        values = {name: float(node[key]) for name, (node, key) in slots.items()}
        return cls(values, is_named, claim, slots)

    @classmethod
    def of_records(
        cls, node: list[dict[str, Any]], label: str, score: str, claim: Claim | None
    ) -> Scores:
        """Return the numbers of a list of records, each of a class and its number."""
        slots = {str(each[label]): (each, score) for each in node}
        return cls._in(slots, is_named=True, claim=claim)

    def replace_(self, values: dict[str, float]) -> None:
        """Put other numbers in the place of these, in the value that they were found in."""
        for name, value in values.items():
            node, key = self.slots[name]
            node[key] = value


def claim_of_name(name: str) -> Claim | None:
    """Return what a name says of the numbers under it, if anything.

    Example:
        >>> claim_of_name("log_probs"), claim_of_name("Probability"), claim_of_name("answer")
        ('log-probabilities', 'probabilities', None)
    """
    plain = plain_name(name)
    return _VECTORS.get(plain) or _SCORES.get(plain)


def plain_name(name: str) -> str:
    """Return a name in small letters and digits only."""
    return "".join(c for c in name.casefold() if c.isalnum())


def scores_of(answer: Any, where: str, field: str | None = None) -> list[Scores]:
    """Return the scores of each answer that a JSON value holds.

    Args:
        answer: as `json.loads` returns it.
        where: what a message calls it.
        field: where the scores are, as `outputs[0].data`.

    Raises:
        DataError: if there is nothing of such a shape, or a number is NaN or infinite.

    Example:
        >>> scores_of([{"label": "cat", "score": 0.9}, {"label": "dog", "score": 0.1}], "here")
        [Scores(values={'cat': 0.9, 'dog': 0.1}, is_named=True, claim='probabilities')]
        >>> scores_of({"outputs": [{"data": [0.5, 0.5]}]}, "here")[0].values
        {'0': 0.5, '1': 0.5}
    """
    claim = None
    if field is not None:
        answer = follow(answer, field, where)
        claim = claim_of_name(re.split(r"[.\[]", field)[-1])
    found = _find(answer, claim, 0)
    if found is None:
        raise DataError(
            f"expected scores in {where}: a list of numbers, of {{label, score}}, or an object of "
            f"a number for each class, found {_short(answer)}: say where they are with --field"
        )
    for scores in found:
        _check(scores, where)
    return found


def follow(answer: Any, field: str, where: str) -> Any:
    """Return what is at a path such as `outputs[0].data`.

    Raises:
        DataError: if there is nothing.
    """
    for step in re.findall(r"[^.\[\]]+", field):
        is_place = isinstance(answer, list) and step.isdecimal() and int(step) < len(answer)
        if is_place:
            answer = answer[int(step)]
        elif isinstance(answer, dict) and step in answer:
            answer = answer[step]
        else:
            there = (
                ", ".join(map(str, list(answer)[:8]))
                if isinstance(answer, dict)
                else _short(answer)
            )
            raise DataError(
                f"expected {field} in {where}, found no {step} among: {there}: correct --field"
            )
    return answer


def _find(node: Any, claim: Claim | None, depth: int) -> list[Scores] | None:
    """Return the scores below a node, the first that are found by the likeliest names."""
    if depth > _DEEPEST:
        return None
    if isinstance(node, list):
        return _find_in_list(node, claim, depth)
    if isinstance(node, dict):
        return _find_in_object(node, claim, depth)
    return None


def _find_in_list(node: list[Any], claim: Claim | None, depth: int) -> list[Scores] | None:
    if not node or len(node) > MAX_CLASSES:
        return None
    if all(map(_is_number, node)):
        whole = Scores.of(node, range(len(node)), is_named=False, claim=claim)
        return [whole] if len(node) > 1 else None
    if all(isinstance(each, dict) and {"name", "data"} <= each.keys() for each in node):
        return _find_in_tensors(node, depth)
    # An answer may name its class and probability, too, beside those of all classes.
    below = [_find(each, claim, depth + 1) for each in node]
    found = [scores for each in below if each is not None for scores in each]
    if found:
        return found
    records = _of_records(node)
    return None if records is None else [records]


def _find_in_tensors(tensors: list[dict[str, Any]], depth: int) -> list[Scores] | None:
    """Return the scores of the first tensor that has some, those of a usual name before others."""
    usual = list(_VECTORS)
    ranks = [plain_name(str(each["name"])) for each in tensors]
    order = sorted(
        range(len(tensors)),
        key=lambda place: usual.index(ranks[place]) if ranks[place] in usual else len(usual),
    )
    found = (_find(tensors[place], None, depth + 1) for place in order)
    return next((scores for scores in found if scores is not None), None)


def _of_records(node: list[Any]) -> Scores | None:
    """Return the scores of a list of records, each of a class and its number."""
    if not all(isinstance(each, dict) for each in node):
        return None
    names = {plain_name(str(key)): key for key in node[0]}
    label = next((names[key] for key in _LABELS if key in names), None)
    score = next(
        (names[key] for key in _SCORES if key in names and _is_number(node[0][names[key]])), None
    )
    if label is None or score is None or label == score:
        return None
    pairs = [(each.get(label), each.get(score)) for each in node]
    if not all(isinstance(name, str | int) and _is_number(value) for name, value in pairs):
        return None
    if len({str(name) for name, _ in pairs}) < len(pairs):
        return None
    return Scores.of_records(node, label, score, _SCORES[plain_name(score)])


def _find_in_object(node: dict[str, Any], claim: Claim | None, depth: int) -> list[Scores] | None:
    if len(node) > 1 and all(map(_is_number, node.values())):
        return [Scores.of(node, node, is_named=True, claim=claim)]
    for name, own in _by_likelihood(node):
        # KServe v2 names its tensors beside the data.
        named = node.get("name") if name == "data" else None
        said = own or (claim_of_name(named) if isinstance(named, str) else None)
        shape = _shape_of(node, name)
        if shape is not None:
            return _rows_of(node[name], shape, said or claim)
        found = _find(node[name], said or claim, depth + 1)
        if found is not None:
            return found
    return None


def _by_likelihood(node: dict[str, Any]) -> Iterator[tuple[str, Claim | None]]:
    """Yield the keys of an object, those that usually hold scores first."""
    plain = {plain_name(key): key for key in reversed(list(node)) if isinstance(key, str)}
    usual = [key for key in _VECTORS if key in plain]
    for key in usual:
        yield plain[key], _VECTORS[key]
    for key, name in plain.items():
        if key not in _VECTORS:
            yield name, None


def _shape_of(node: dict[str, Any], name: str) -> tuple[int, int] | None:
    """Return rows and columns of KServe's flat data, if it is that."""
    value, shape = node[name], node.get("shape")
    if name != "data" or not isinstance(value, list) or not isinstance(shape, list):
        return None
    if not all(isinstance(side, int) and side > 0 for side in shape):
        return None
    match shape:
        case [rows, columns] if rows * columns == len(value) and all(map(_is_number, value)):
            return rows, columns
    return None


def _rows_of(data: list[Any], shape: tuple[int, int], claim: Claim | None) -> list[Scores]:
    rows, columns = shape
    starts = range(0, rows * columns, columns)
    return [
        Scores.of(data, range(start, start + columns), is_named=False, claim=claim)
        for start in starts
    ]


def _check(scores: Scores, where: str) -> None:
    for name, value in scores.values.items():
        if math.isnan(value) or value == math.inf:
            raise DataError(
                f"expected finite numbers in {where}, found {value} for class {name}: look for an "
                "overflow in the classifier"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return f"{type(value).__name__} {text[:60]}{'...' if len(text) > 60 else ''}"
