"""On programs put together at random, what the static half claims of a value is true of it."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from kind_witnesses import holds

from softonce.checker.kinds import Kind
from softonce.checker.static.interpreter import Interpreter
from softonce.checker.static.lattice import as_scores
from softonce.checker.static.project import Project
from softonce.checker.static.reporter import Reporter
from softonce.checker.static.sources import Source

HEAD = """\
import torch
import torch.nn as nn
import torch.nn.functional as F


def softened(x, dim=1):
    return F.softmax(x, dim=dim)


class Head(nn.Module):
    def __init__(self, last=None):
        super().__init__()
        self.linear = nn.Linear(5, 5, dtype=torch.float64)
        self.last = last

    def forward(self, x):
        x = self.linear(x)
        return x if self.last is None else self.last(x)


x = torch.randn(7, 5, dtype=torch.float64)
y = x
"""
# Each keeps a (7, 5) tensor a (7, 5) tensor.
EXPRESSIONS = (
    "F.softmax({a}, dim=1)", "{a}.softmax(-1)", "softened({a})", "softened({a}, dim=0)",
    "F.log_softmax({a}, dim=1)", "{a}.log_softmax(dim=0)", "torch.sigmoid({a})", "{a}.sigmoid()",
    "F.logsigmoid({a})", "F.relu({a})", "torch.tanh({a})", "F.leaky_relu({a})", "F.gelu({a})",
    "Head()({a})", "Head(nn.Softmax(dim=1))({a})", "nn.Sequential(nn.ReLU(), nn.Sigmoid())({a})",
    "{a}.log()", "{a}.exp()", "1 - {a}", "{a} * 2.5", "{a} / 2", "{a} + 1e-9", "{a} + 3", "-{a}",
    "{a}.detach()", "{a}.clone().contiguous()", "{a}.reshape(35).view(7, 5)", "{a}.flip(1)",
    "{a}.unsqueeze(0).squeeze(0)", "{a}.t().contiguous().t()", "{a}[:, [0, 1, 2, 3, 4]]",
    "{a}[torch.arange(7)]", "torch.cat([{a}[:3], {a}[3:]], dim=0)",
    "torch.cat([{a}[:, :2], {a}[:, 2:]], 1)", "torch.stack([{a}, {a}]).mean(0)",
    "{a}.mean(dim=1, keepdim=True).expand(7, 5)", "{a}.max(dim=1, keepdim=True)[0].expand(7, 5)",
    "{a} - {a}.logsumexp(1, keepdim=True)", "{a} + {b}", "{a} * {b}", "{a} - {b}",
    "torch.where({a} > 0, {a}, {b})", "torch.maximum({a}, {b})", "({a} > 0.5).double()",
    "{a}.round()", "{a}.clamp(1e-9, 1)", "F.one_hot({a}.argmax(1), 5).double()",
    "{a} if flag else {b}", "({a}, {b})[1]", "{{'p': {a}, 'q': {b}}}['q']",
    "F.avg_pool1d({a}, 3, 1, 1)", "F.dropout({a}, 0.5, training=True)", "{a}.square()",
)  # fmt: skip
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
    project = Project([source := Source("program.py", text, raw=text.encode())])
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
