"""`softonce explain --logits`: both routes to one loss, and what a second softmax makes of it."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softonce.cli.app import main
from softonce.cli.explain import lesson_of
from softonce.config.explain import ExplainConfig

rows = st.lists(st.floats(-30, 30), min_size=2, max_size=6).map(tuple)


def textbook(logits: list[float], target: int, smoothing: float) -> float:
    """Return the cross-entropy by the formula alone."""
    log_sum = math.log(math.fsum(map(math.exp, logits)))
    share = [smoothing / len(logits) + (1 - smoothing) * (c == target) for c in range(len(logits))]
    return math.fsum(q * (log_sum - z) for q, z in zip(share, logits, strict=True))


@settings(max_examples=40, deadline=None)
@given(rows, st.floats(0.25, 4), st.floats(0, 1))
def test_both_routes_and_the_mistake_are_the_textbook_s(row, temperature, smoothing):
    lesson = lesson_of(
        ExplainConfig(logits=row, target=1, temperature=temperature, label_smoothing=smoothing)
    )
    scaled = [z / temperature for z in row]
    total = math.fsum(map(math.exp, scaled))
    probs = [math.exp(z) / total for z in scaled]
    assert lesson["softmax"] == pytest.approx(probs, abs=1e-12)
    assert lesson["cross_entropy"] == pytest.approx(textbook(scaled, 1, smoothing), abs=1e-9)
    assert lesson["nll_loss"] == pytest.approx(lesson["cross_entropy"], abs=1e-9)
    assert lesson["cross_entropy_of_softmax"] == pytest.approx(
        textbook(probs, 1, smoothing), abs=1e-9
    )
    if lesson["floor"] is not None:
        assert lesson["cross_entropy_of_softmax"] >= lesson["floor"] - 1e-12


def test_the_gradients_are_those_of_the_formulas():
    lesson = lesson_of(ExplainConfig(logits=(2.0, 0.5, -1.0), target=0, temperature=2.0))
    p = lesson["softmax"]
    onehot = (1.0, 0.0, 0.0)
    once = [(a - b) / 2 for a, b in zip(p, onehot, strict=True)]
    assert lesson["gradient"] == pytest.approx(once)
    total = sum(map(math.exp, p))
    outer = [math.exp(a) / total - b for a, b in zip(p, onehot, strict=True)]
    inner = sum(a * b for a, b in zip(p, outer, strict=True))
    twice = [a * (b - inner) / 2 for a, b in zip(p, outer, strict=True)]
    assert lesson["gradient_of_softmax"] == pytest.approx(twice)


def test_a_pipe_gets_the_same_numbers_as_json(capsys):
    words = ["explain", "--logits", "-1,0.5,2", "--target", "2"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    lesson = json.loads(capsys.readouterr().out)
    assert "\x1b" not in text
    shown = set(re.findall(r"-?\d+\.\d{4}", text))
    for name in ("softmax", "log_softmax", "gradient", "gradient_of_softmax"):
        assert {f"{value:.4f}" for value in lesson[name]} <= shown
    for name in ("nll_loss", "cross_entropy", "cross_entropy_of_softmax", "floor"):
        assert f"{lesson[name]:.4f}" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--logits 1,2 --target 2", "expected --target of 0 to 1, found 2"),
        ("--logits 1,two", "expected numbers in --logits, found '1 two'"),
        ("--logits 1", "expected two or more finite numbers in --logits"),
        ("--logits 1,nan", "expected two or more finite numbers in --logits"),
        ("--logits 1,2 --temperature 0", "expected --temperature above 0"),
        ("--logits 1,2 --label-smoothing 2", "expected --label-smoothing of 0 to 1"),
        ("--logits 1 2", "separate logits by commas"),
        ("--json", "expected --logits beside --json"),
    ],
)
def test_a_row_that_is_none_is_refused_in_one_line(words, message, capsys):
    assert main(["explain", *words.split()]) == 2
    error = capsys.readouterr().err
    assert message in " ".join(error.split())
    assert "Traceback" not in error
