"""The graph that every format becomes, and the walk from its inputs to its outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from softonce.checker.catalog import RULES
from softonce.checker.findings import Finding, Place
from softonce.checker.flow import apply, describe, normalised_again
from softonce.checker.kinds import Kind, keeps_values
from softonce.checker.names import canonical
from softonce.checker.tags import Call, Operand, Scores, Shape
from softonce.errors import ArtefactError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from softonce.checker.graph.foreign import Foreign

Constant: TypeAlias = float
"""A number in the file, or nan for a tensor of them."""

_INDICES_SECOND = frozenset({"topk", "sort", "max", "min"})


class Node(NamedTuple):
    """One operation of the file.

    Attributes:
        op: what the file calls it.
        name: the name that the file gives it, or its source line.
        canonical: its row of the transfer table.
        inputs: names of values, or numbers.
        outputs: names of values.
        dim: its axes, if it has any.
        order: the new order of the axes, if it permutes them.
        mask: of a choice between two tensors, the value that decides.
        kinds: of its outputs, if its own settings tell them whatever goes in.
    """

    op: str
    name: str
    canonical: str
    inputs: tuple[str | float, ...]
    outputs: tuple[str, ...]
    dim: tuple[int, ...] = ()
    order: tuple[int, ...] = ()
    mask: str = ""
    kinds: tuple[Kind, ...] = ()

    def __str__(self) -> str:
        """Write it as the report does."""
        return f"{self.op} {self.name!r}" if self.name else self.op


@dataclass(frozen=True, slots=True)
class Graph:
    """What a reader found.

    Attributes:
        nodes: in an order in which every value is made before it is used.
        outputs: shown name -> the value.
        constants: weights and numbers.
        shapes: of the values whose shape the file says.
        inputs: shown name -> the value, of what a caller gives.
        entries: of the small constants: their numbers, in order.
    """

    nodes: tuple[Node, ...]
    outputs: Mapping[str, str]
    constants: Mapping[str, Constant] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    entries: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a model.

    Attributes:
        name: as the file calls it.
        kind: what it holds; OTHER is unknown.
        axis: where the classes lie, counted from the end, if that is known.
        node: the node that makes the kind.
        through: the nodes between that one and the output, which keep the kind.
    """

    name: str
    kind: Kind
    axis: int | None
    node: str
    through: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {
            "name": self.name,
            "kind": describe(self.kind),
            "axis": self.axis,
            "node": self.node,
            "through": list(self.through),
        }


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What a model file says of itself.

    Attributes:
        format: `onnx`, `torch.export`, `openvino` or `artefact`.
        outputs: in the file's order.
        record: the metadata that softonce wrote into it, if it did.
        findings: rules that the graph breaks by itself.
    """

    format: str
    outputs: tuple[Output, ...]
    record: dict[str, Any] | None = None
    findings: tuple[Finding, ...] = ()


def unreadable(path: Path, expected: str, found: str) -> ArtefactError:
    """Return the one error of this room."""
    return ArtefactError(
        f"expected {expected} at {path}, found {found}: "
        "the file is damaged or of another kind; copy or export it again"
    )


def foreign(path: Path, found: Foreign) -> ArtefactError:
    """Return the error for a good file of a kind that says nothing of its outputs."""
    return ArtefactError(
        f"expected a model file with a graph, or an artefact of softonce, at {path}, "
        f"found {found.kind}: {found.remedy}"
    )


def walk(graph: Graph) -> tuple[tuple[Output, ...], tuple[Finding, ...]]:
    """Follow the kinds through the graph; return its outputs and what it breaks by itself."""
    values: dict[str, Operand] = dict(graph.constants)
    makers: dict[str, Node] = {}
    findings: list[Finding] = []
    for node in graph.nodes:
        operands = tuple(x if isinstance(x, float) else values.get(x) for x in node.inputs)
        call = _call(graph, node, operands)
        code = normalised_again(call)
        if code is not None:
            findings.append(_finding(code, node, call))
        made = _number(call) if _all_constant(operands) else apply(call)
        for position, name in enumerate(node.outputs):
            makers[name] = node
            second = position == 1 and node.canonical in _INDICES_SECOND
            values[name] = Scores(Kind.INDEX, made=Place(str(node))) if second else made
        for name, kind in zip(node.outputs, node.kinds, strict=False):
            axis = None if kind == Kind.INDEX else -1
            values[name] = Scores(kind, axis, node.op, Place(str(node)))
    outputs = tuple(_output(name, value, values, makers) for name, value in graph.outputs.items())
    over_batch = (_over_batch(value, graph, values.get(value)) for value in graph.outputs.values())
    return outputs, (*findings, *filter(None, over_batch))


def _over_batch(value: str, graph: Graph, scores: Operand) -> Finding | None:
    """Return a finding if an output is normalised over its first axis, which is the batch."""
    shape = graph.shapes.get(value)
    if not isinstance(scores, Scores) or scores.kind & ~(Kind.P | Kind.LOGP) or shape is None:
        return None
    # Of a picture without a batch the first axis is that of the classes, and its size is known.
    is_batch = len(shape) == 2 or (len(shape) > 2 and shape[0] == -1)
    if not is_batch or scores.axis != -len(shape) or scores.made is None:
        return None
    message = RULES["SO203"].message.format(op=scores.op, dim=0)
    return Finding("SO203", message, scores.made, witness="graph")


def _call(graph: Graph, node: Node, operands: tuple[Operand, ...]) -> Call:
    op = canonical(node.canonical)
    if op == "matmul" and any(isinstance(x, float) for x in operands):
        op = "linear"
    return Call(
        op,
        operands,
        dim=node.dim,
        shapes=tuple(graph.shapes.get(x) if isinstance(x, str) else None for x in node.inputs),
        after=graph.shapes.get(node.outputs[0]) if node.outputs else None,
        order=node.order,
        mask=graph.shapes.get(node.mask),
        made=Place(str(node)),
    )


def _number(call: Call) -> float:
    """Return what a number becomes: copies leave it as it is, all else is not followed."""
    value = call.operands[0]
    return value if keeps_values(call.op) and isinstance(value, float) else math.nan


def _all_constant(operands: tuple[Operand, ...]) -> bool:
    return bool(operands) and all(isinstance(x, float) for x in operands)


def _finding(code: str, node: Node, call: Call) -> Finding:
    scores = call.operands[0]
    assert isinstance(scores, Scores)  # noqa: S101 - no rule is broken by what is unknown
    message = RULES[code].message.format(loss=node.op, op=scores.op, made=scores.made)
    return Finding(code, message, Place(str(node)), scores.made, witness="graph")


def _output(
    name: str, value: str, values: Mapping[str, Operand], makers: Mapping[str, Node]
) -> Output:
    """Walk back from an output to the node that made its kind."""
    scores = values.get(value)
    node = makers.get(value)
    if not isinstance(scores, Scores) or scores.kind == Kind.OTHER:
        return Output(name, Kind.OTHER, None, str(node or "an input of the graph"))
    through = []
    while node is not None and Place(str(node)) != scores.made:
        through.append(str(node))
        same = (x for x in node.inputs if _has_same_origin(values.get(str(x)), scores))
        node = makers.get(str(next(same, "")))
    made = scores.made.path if scores.made else "an input of the graph"
    return Output(name, scores.kind, scores.axis, made, tuple(reversed(through)))


def _has_same_origin(operand: Operand, scores: Scores) -> bool:
    return isinstance(operand, Scores) and operand.made == scores.made
