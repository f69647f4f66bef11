"""On graphs put together at random, what is known of a tensor at run time is true of it."""

from __future__ import annotations

import pytest
import torch
from random_graphs import ELSEWHERE, WATCHED, is_true, random_graph

from softonce.checker.kinds import JOINS, PAIRS, ROWS, Kind
from softonce.checker.runtime import watch


def check(seed: int) -> int:
    """Run one graph, watched; return how many of its values are known."""
    graph = random_graph(seed, length=10, table=WATCHED)
    with watch(report=False) as session, torch.no_grad():
        values = graph(graph.x0)
        tags = [session.mode.scores_of(value) for value in values]
    assert session.ledger.num_blind == 0, graph.lines
    for line, value, tag in zip(graph.lines, values, tags, strict=True):
        if tag is not None:
            assert is_true(tag.kind, tag.axis, value), (line, tag, graph.lines)
    return sum(tag is not None for tag in tags)


@pytest.mark.filterwarnings("ignore")
def test_what_is_known_of_a_tensor_is_true() -> None:
    known = [check(seed) for seed in range(300)]
    assert sum(known) > len(known)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_is_known_of_the_tensors_of_5000_graphs_is_true() -> None:
    for seed in range(5000):
        check(seed)


@pytest.mark.parametrize(
    "form",
    [
        "x.transpose(1, 2)", "x.transpose(dim1=0, dim0=1)",
        "torch.transpose(input=x, dim0=0, dim1=1)", "torch.swapaxes(x, axis0=-2, axis1=0)",
        "x.permute(1, 2, 0)", "x.permute((-1, 1, 0))", "torch.permute(input=x, dims=(1, 0, 2))",
        "x.movedim(1, 0)", "x.movedim((0, 1), (2, 0))", "x.mT",
        "torch.movedim(x, destination=2, source=0)",
        "torch.moveaxis(input=x, source=0, destination=1)",
    ],
)  # fmt: skip
def test_axis_is_known_however_a_permutation_is_written(form: str) -> None:
    with watch(report=False) as session:
        value = eval(form, {"torch": torch, "x": torch.randn(3, 4, 5).softmax(1)})
        axis = session.mode.scores_of(value).axis
    assert session.ledger.num_blind == 0
    assert value.shape[axis] == 4


@pytest.mark.parametrize(
    "form",
    ["x.transpose(0, -1)", "x.swapaxes(0, 0)", "x.movedim(0, 0)", "x.permute(())", "x.t()"],
)
def test_permutation_of_a_scalar_leaves_it_what_it_is(form: str) -> None:
    with watch(report=False) as session:
        value = eval(form, {"x": torch.randn(4).softmax(0)[1]})
        kind = session.mode.scores_of(value).kind
    assert (session.ledger.num_blind, kind) == (0, Kind.BP)


def test_every_operation_of_the_table_is_tried() -> None:
    tried = WATCHED.keys() | ELSEWHERE
    assert tried >= ROWS.keys() | JOINS | {name for name, _, _ in PAIRS}


def test_the_comparison_can_fail() -> None:
    assert not is_true(Kind.P, -1, torch.randn(7, 5))
    assert not is_true(Kind.P, 0, torch.randn(7, 5).softmax(1))
    assert not is_true(Kind.P, -3, torch.randn(7, 5).softmax(1))
