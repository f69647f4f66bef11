"""On programs put together at random, what the static half claims of a value is true of it."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from kind_witnesses import holds
from program_forms import EXPRESSIONS, HEAD

from softonce.checker.kinds import Kind
from softonce.checker.static.interpreter import Interpreter
from softonce.checker.static.lattice import as_scores
from softonce.checker.static.project import Project
from softonce.checker.static.reporter import Reporter
from softonce.checker.static.sources import Source

STATEMENTS = (
    "{t} = {e}",
    "if flag:\n    {t} = {e}",
    "if flag:\n    {t} = {e}\nelse:\n    {t} = {b}",
    "for _ in range(2):\n    {t} = {e}",
    "try:\n    {t} = {e}\nexcept ValueError:\n    {t} = {b}",
)
NAMES = st.sampled_from(["x", "y"])


@st.composite
def programs(draw: st.DrawFn) -> str:
    lines = [HEAD]
    for _ in range(draw(st.integers(1, 7))):
        expression = draw(st.sampled_from(EXPRESSIONS)).format(a=draw(NAMES), b=draw(NAMES))
        form = draw(st.sampled_from(STATEMENTS))
        lines.append(form.format(t=draw(NAMES), e=expression, b=draw(NAMES)))
    return "\n".join(lines) + "\n"


def claimed(text: str) -> Kind:
    """Return what the static half says that `x` is at the end."""
    project = Project([source := Source("program.py", text)])
    run = Interpreter(project, Reporter())
    module = project.module(source.path)
    run.start(module)
    return as_scores(module.scope["x"]).kind


def value_of(text: str, flag: bool) -> torch.Tensor:
    scope = {"flag": flag}
    with torch.no_grad():
        exec(compile(text, "program.py", "exec"), scope)
    return scope["x"]


def is_true(kind: Kind, value: torch.Tensor) -> bool:
    return Kind.OTHER in kind or any(holds(bit, value, dim) for bit in kind for dim in (0, 1))


def check_claim(text: str) -> None:
    kind = claimed(text)
    for flag in (True, False):
        torch.manual_seed(0)
        value = value_of(text, flag)
        assume(bool(value.isfinite().all()))
        assert is_true(kind, value), (kind, text.removeprefix(HEAD))


CALM = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}


@settings(max_examples=250, **CALM)
@given(programs())
def test_what_is_claimed_of_a_value_is_true(text: str) -> None:
    check_claim(text)


@pytest.mark.slow
@settings(max_examples=5_000, **CALM)
@given(programs())
def test_what_is_claimed_of_5000_values_is_true(text: str) -> None:
    check_claim(text)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("x = F.softmax(x, dim=1)", Kind.P),
        ("x = Head(nn.Softmax(dim=1))(x)", Kind.P),
        ("if flag:\n    x = F.softmax(x, 1)\nelse:\n    x = Head()(x)", Kind.P | Kind.LOGITS),
        ("x = F.softmax(x, dim=1).log()", Kind.LOGP),
    ],
)
def test_claims_are_made(line: str, kind: Kind) -> None:
    assert claimed(f"{HEAD}\n{line}\n") == kind


def test_the_comparison_can_fail() -> None:
    assert not is_true(Kind.P, torch.randn(7, 5))
