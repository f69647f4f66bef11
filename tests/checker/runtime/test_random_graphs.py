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


def test_every_operation_of_the_table_is_tried() -> None:
    tried = WATCHED.keys() | ELSEWHERE
    assert tried >= ROWS.keys() | JOINS | {name for name, _, _ in PAIRS}


def test_the_comparison_can_fail() -> None:
    assert not is_true(Kind.P, -1, torch.randn(7, 5))
    assert not is_true(Kind.P, 0, torch.randn(7, 5).softmax(1))
    assert not is_true(Kind.P, -3, torch.randn(7, 5).softmax(1))
