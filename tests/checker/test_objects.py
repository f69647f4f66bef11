"""What is known of a class of the project by its text: its losses, and what its methods assign."""

from __future__ import annotations

import ast

import pytest

from softonce.checker.static.bodies import parse_heads
from softonce.checker.static.objects import Class, Module
from softonce.checker.static.sources import Source


def class_of(text: str, *, whole: bool) -> Class:
    tree = ast.parse(text) if whole else parse_heads(text, ast.parse)
    assert tree is not None
    module = Module("a.py", Source("a.py", text), tree)
    return Class("A", module, next(module.classes()), [])


def method(*lines: str) -> str:
    body = "".join(f"        {line}\n" for line in (*lines, "a = 1", "b = 2", "c = 3"))
    return f"class A:\n    def method(self, other, x):\n{body}"


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    "line",
    [
        "self.net = x",
        "self.net: int = x",
        "self.net += x",
        "self.net, self.head = x",
        "self.head, self.net = x",
        "other.head = self.net = x",
        "for self.net in x: pass",
        "with x as self.net: pass",
    ],
)
def test_a_method_fills_in_what_it_assigns_to_its_own_object(line: str, whole: bool) -> None:
    assert class_of(method(line), whole=whole).own_stores("net")


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    "line",
    ["other.net = x", "x = self.net", "self.net.head = x", "self.network = x", "self.net(x)"],
)
def test_what_it_assigns_to_another_is_not_its_own(line: str, whole: bool) -> None:
    assert not class_of(method(line), whole=whole).own_stores("net")


@pytest.mark.parametrize(
    "call", ["self.criterion(x, y)", "nll_loss(x, y)", "CrossEntropyLoss()(x)"]
)
def test_a_network_inherits_methods_that_call_a_loss(call: str) -> None:
    assert class_of(method(f"loss = {call}"), whole=False).loss_methods()


@pytest.mark.parametrize(
    "call", ["stopping_criteria(ids, x)", "self._stop_criterion(x)", "self.is_valid_criteria(x)"]
)
def test_a_criterion_to_stop_by_is_no_loss(call: str) -> None:
    assert not class_of(method(f"done = {call}"), whole=False).loss_methods()
