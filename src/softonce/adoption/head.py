"""Where a foreign graph normalises its scores: the value before the first normaliser, by its node.

A graph is walked from an output back to the scores: through copies, through softmax, log-softmax
and sigmoid as operations or written out in arithmetic, and through what is done to probabilities
afterwards. What was passed can be replayed on the scores, which is how `run` proves the cut on
numbers: nothing that is found here is believed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
import torch

from softonce import inference
from softonce.checker.graph.nodes import walk
from softonce.checker.kinds import Kind
from softonce.errors import ArtefactError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from softonce.checker.graph.nodes import Graph, Node
    from softonce.inference import Normaliser

    Rows = NDArray[np.float64]

Op: TypeAlias = Literal[
    "softmax", "log_softmax", "sigmoid", "log", "exp", "scale", "no-first", "yes-first"
]

NORMALISERS = ("softmax", "log_softmax", "sigmoid")
_COPIES = frozenset({
    "identity", "to", "view", "reshape", "flatten", "squeeze", "unsqueeze", "expand", "clamp",
    "l1_normalize",
})  # fmt: skip
"""What leaves probabilities as they are. A clamp and a second normalisation by the sum do so but
for a rounding; if one does more, the comparison of numbers refuses the cut."""

SMALLEST = 1e-30
"""A probability of 0 has no logarithm; of this one, float32 still has it to seven digits."""


class Step(NamedTuple):
    """One thing that a graph does to its scores, before they are its output.

    Attributes:
        op: what it does; `no-first` makes `1 - p, p` of one probability, `yes-first` `p, 1 - p`.
        node: the node, as a report names it.
        value: what it is done to.
        number: of a scale, the factor.
    """

    op: Op
    node: str
    value: str
    number: float = 1.0


@dataclass(frozen=True)
class Head:
    """How a graph ends.

    Args:
        output: the output that the scores are read from, as the file calls it.
        result: its value.
        scores: the value that stands for the logits.
        steps: from the scores to the output, in the order in which they are done.
        kind: which normaliser the scores are meant for; None if the graph does not say.
        is_log: whether `scores` are probabilities that no normaliser has made, such as a mean: the
            logits are their logarithm.
    """

    output: str
    result: str
    scores: str
    steps: tuple[Step, ...]
    kind: Normaliser | None
    is_log: bool = False

    @property
    def is_yes_first(self) -> bool:
        """Whether the first of two classes is the one whose probability the scores stand for."""
        return any(step.op == "yes-first" for step in self.steps)

    @property
    def normalisers(self) -> tuple[Step, ...]:
        """What makes probabilities, in order; more than one is a mistake."""
        return tuple(step for step in self.steps if step.op in NORMALISERS)

    def replay(self, logits: Rows) -> Rows:
        """Return what the output holds for these scores (N, C), by the steps that were passed."""
        rows = logits
        for step in self.steps:
            rows = _replayed(step, rows)
        return np.exp(rows) if self.is_log else rows


def find_head(graph: Graph, *, asked: Normaliser | None, output: str | None) -> Head:
    """Find the scores of a graph.

    Args:
        graph: as a reader of the checker found it.
        asked: which normaliser the scores are meant for, if the caller says.
        output: the output to read, if the caller says.

    Raises:
        ArtefactError: if no output holds scores of classes, several do, or the graph mixes a
            sigmoid and a softmax.
    """
    kinds = {found.name: found for found in walk(graph)[0]}
    heads, unknown = [], []
    for name, value in graph.outputs.items():
        if output in (None, name):
            kind = kinds[name].kind
            head = _head(graph, name, value, kind, asked)
            if head is not None:
                heads.append(head)
            elif not kind & Kind.INDEX:
                unknown.append(f"{name!r}, made by {kinds[name].node}")
    return _only(heads, unknown, graph, output)


def _only(heads: list[Head], unknown: list[str], graph: Graph, output: str | None) -> Head:
    """Return the head that is meant; one that normalises is preferred, as it says what it is."""
    sure = [head for head in heads if head.steps or head.is_log] or heads
    if len({head.scores for head in sure}) == 1:
        return sure[0]
    if sure:
        names = ", ".join(repr(head.output) for head in sure)
        raise ArtefactError(
            f"expected one output with scores of classes, found {names}: name one with "
            "--output-name"
        )
    if output is not None and output not in graph.outputs:
        names = ", ".join(map(repr, graph.outputs))
        raise ArtefactError(f"expected --output-name of {names}, found {output!r}: choose one")
    raise ArtefactError(
        "expected an output with logits or probabilities of classes, found "
        f"{'; '.join(unknown) or 'class indices only'}: export the network's own scores, or say "
        "with --head that these are what it was trained with"
    )


def _head(graph: Graph, name: str, value: str, kind: Kind, asked: Normaliser | None) -> Head | None:
    steps, scores = _Walk(graph).back(value)
    if steps:
        return _normalised(name, value, scores, steps, asked)
    if kind in (Kind.LOGITS, Kind.LOGP):
        found: Normaliser | None = "softmax" if kind == Kind.LOGP else asked
        return Head(name, value, value, (), found)
    if kind == Kind.P:
        return Head(name, value, value, (), "softmax", is_log=True)
    # A caller who says what the scores are for takes scores that the reader cannot name.
    return Head(name, value, value, (), asked) if asked and not kind & Kind.INDEX else None


def _normalised(
    name: str, value: str, scores: str, steps: tuple[Step, ...], asked: Normaliser | None
) -> Head:
    names = [step for step in steps if step.op in NORMALISERS]
    first: Normaliser = "sigmoid" if names[0].op == "sigmoid" else "softmax"
    later = next((step for step in names if (step.op == "sigmoid") != (first == "sigmoid")), None)
    if first == "sigmoid" and later is not None:
        if asked is None:
            raise ArtefactError(
                f"expected one kind of normaliser, found {later.node} over {names[0].node}: say "
                "with --head softmax or --head sigmoid what the network was trained with"
            )
        if asked == "softmax":  # then the sigmoid is a layer of the network
            start = steps.index(later)
            return Head(name, value, later.value, steps[start:], "softmax")
    return Head(name, value, scores, steps, first)


class _Walk:
    """The way back from an output."""

    def __init__(self, graph: Graph) -> None:
        self.makers = {name: node for node in graph.nodes for name in node.outputs}
        self.constants = graph.constants

    def back(self, value: str) -> tuple[tuple[Step, ...], str]:
        """Return the steps up to the first normaliser, in the order of the graph, and its input."""
        passed: list[Step] = []
        found: tuple[tuple[Step, ...], str] = ((), value)
        while (step := self._step(self._source(value))) is not None:
            passed.insert(0, step)
            value = step.value
            if step.op in NORMALISERS:
                found = (tuple(passed), value)
        return found

    def _source(self, value: str) -> str:
        """Go back through copies."""
        while (node := self.makers.get(value)) is not None and node.canonical in _COPIES:
            value = str(node.inputs[0])
        return value

    def _made(self, value: object, *ops: str) -> Node | None:
        """Return the node that made a value, through copies, if it is one of these operations."""
        node = self.makers.get(self._source(str(value)))
        return node if node is not None and {node.canonical, node.op} & set(ops) else None

    def _is_same(self, one: object, other: object) -> bool:
        return self._source(str(one)) == self._source(str(other))

    def _number(self, operand: object) -> float | None:
        """Return a number of the file, or None."""
        found = operand if isinstance(operand, float) else self.constants.get(str(operand))
        return None if found is None or math.isnan(found) else found

    def _step(self, value: str) -> Step | None:
        node = self.makers.get(value)
        if node is None:
            return None
        if node.canonical in ("softmax", "log_softmax"):
            return Step(node.canonical, str(node), self._unshifted(node.inputs[0]))  # type: ignore[arg-type] # one of both
        if node.canonical in ("sigmoid", "exp", "log"):
            return Step(node.canonical, str(node), str(node.inputs[0]))  # type: ignore[arg-type] # one of these
        form = {"div": self._quotient, "mul": self._product, "sub": self._difference}
        form |= {"cat": self._pair}
        known = form.get(node.canonical)
        return None if known is None else known(node)

    def _unshifted(self, value: object) -> str:
        """Return `x` of `x - max(x)`, which has the same softmax."""
        node = self._made(value, "sub")
        largest = None if node is None else self._made(node.inputs[1], "amax", "maximum")
        while largest is not None and largest.canonical == "maximum":  # with a floor, as JAX does
            inputs = [x for x in largest.inputs if self._number(x) is None]
            largest = self._made(inputs[0], "amax", "maximum") if len(inputs) == 1 else None
        if node is None or largest is None or not self._is_same(node.inputs[0], largest.inputs[0]):
            return str(value)
        return str(node.inputs[0])

    def _quotient(self, node: Node) -> Step | None:
        """Know `exp(x) / sum(exp(x))`, `1 / (1 + exp(-x))`, and a division by a number."""
        top, bottom = node.inputs[:2]
        exponential, total = self._made(top, "exp"), self._made(bottom, "sum")
        if exponential and total and self._is_same(top, total.inputs[0]):
            return self._softmax(exponential, total, node)
        if self._number(top) == 1.0:
            return self._logistic(bottom, node)
        number = self._number(bottom)
        return Step("scale", str(node), str(top), 1 / number) if number else None

    def _product(self, node: Node) -> Step | None:
        """Know `exp(x) * (1 / sum(exp(x)))`, and a product with a number."""
        for one, other in (node.inputs[:2], node.inputs[1::-1]):
            exponential, inverse = self._made(one, "exp"), self._made(other, "Reciprocal")
            total = self._made(inverse.inputs[0], "sum") if inverse else None
            if exponential and total and self._is_same(one, total.inputs[0]):
                return self._softmax(exponential, total, node)
            if (number := self._number(other)) is not None:
                return Step("scale", str(node), str(one), number)
        return None

    def _softmax(self, exponential: Node, total: Node, node: Node) -> Step:
        name = f"{exponential}, {total} and {node}"
        return Step("softmax", name, self._unshifted(exponential.inputs[0]))

    def _logistic(self, bottom: object, node: Node) -> Step | None:
        added = self._made(bottom, "add")
        for one, other in (added.inputs[:2], added.inputs[1::-1]) if added else ():
            power = self._made(other, "exp")
            negative = self._made(power.inputs[0], "neg") if power else None
            if self._number(one) == 1.0 and power and negative:
                return Step("sigmoid", f"{power} and {node}", str(negative.inputs[0]))
        return None

    def _difference(self, node: Node) -> Step | None:
        """Know `x - logsumexp(x)`, in one operation or in three."""
        rows, total = node.inputs[:2]
        made = self._made(total, "logsumexp", "log")
        if made is not None and made.canonical == "log":
            added = self._made(made.inputs[0], "sum")
            made = self._made(added.inputs[0], "exp") if added else None
        if made is None or not self._is_same(rows, made.inputs[0]):
            return None
        return Step("log_softmax", f"{made} and {node}", self._unshifted(rows))

    def _pair(self, node: Node) -> Step | None:
        """Know `1 - p` and `p` side by side."""
        if len(node.inputs) != 2:
            return None
        for one, other, op in ((*node.inputs, "no-first"), (*node.inputs[::-1], "yes-first")):
            rest = self._made(one, "sub")
            if rest and self._number(rest.inputs[0]) == 1 and self._is_same(rest.inputs[1], other):
                return Step(op, str(node), str(other))  # type: ignore[arg-type] # one of both
        return None


def _replayed(step: Step, rows: Rows) -> Rows:
    """Do a step again."""
    found: Rows
    match step.op:
        case "softmax":
            return inference.array_probs(rows, temperature=1.0)
        case "log_softmax":
            found = inference.log_probs(torch.from_numpy(rows)).numpy()
        case "sigmoid":
            return inference.array_probs(rows, temperature=1.0, normaliser="sigmoid")
        case "log":
            found = np.log(np.maximum(rows, SMALLEST))
        case "exp":
            found = np.exp(rows)
        case "scale":
            found = rows * step.number
        case "no-first":
            found = np.concatenate([1 - rows, rows], axis=1)
        case "yes-first":
            found = np.concatenate([rows, 1 - rows], axis=1)
    return found
