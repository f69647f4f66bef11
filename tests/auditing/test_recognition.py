"""What numbers mean is told from all answers together, and never said of honest ones."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from auditing.trained import Values, calibrated, sigmoid, softmax
from hypothesis import given
from hypothesis import strategies as st

from softonce.auditing.answers import Answers
from softonce.auditing.recognition import Recognition, recognize
from softonce.auditing.undoing import undo_softmax

COUNTS = (2, 3, 10, 43, 200)


def recognized(values: Values) -> Recognition:
    return recognize(Answers(values, tuple(map(str, range(values.shape[1]))), "here"))


def verdict(values: Values) -> tuple[str, int]:
    found = recognized(values).softmaxes
    return found.verdict, found.extra


@given(
    st.integers(2, 60), st.integers(1, 8), st.floats(0.01, 12), st.integers(0, 2**31)
)  # fmt: skip
def test_the_inverse_of_a_second_softmax_is_exact(c: int, n: int, scale: float, seed: int) -> None:
    q = softmax(scale * np.random.default_rng(seed).normal(size=(n, c)))
    assert np.abs(undo_softmax(softmax(q)) - q).max() < 1e-12


@given(st.integers(2, 40), st.integers(0, 2**31))
def test_whatever_is_undone_sums_to_one(num_classes: int, seed: int) -> None:
    p = softmax(9 * np.random.default_rng(seed).normal(size=(5, num_classes)))
    assert np.allclose(undo_softmax(p).sum(axis=1), 1, rtol=0, atol=1e-9)


def test_the_inverse_agrees_with_arithmetic_of_fifty_digits() -> None:
    mpmath.mp.dps = 50
    q = [mpmath.mpf(1) / 3, mpmath.mpf(2) / 3 - mpmath.mpf("1e-9"), mpmath.mpf("1e-9")]
    terms = [mpmath.e**value for value in q]
    p = np.array([[float(term / sum(terms)) for term in terms]])
    assert undo_softmax(p)[0] == pytest.approx([float(value) for value in q], abs=1e-15)


@pytest.mark.parametrize("num_classes", COUNTS)
@pytest.mark.parametrize("extra", [1, 2, 3])
def test_further_softmaxes_are_counted_and_undone(num_classes: int, extra: int) -> None:
    once = softmax(calibrated(num_classes)[0])
    answers = once
    for _ in range(extra):
        answers = softmax(answers)
    expected = ("either", 1) if (num_classes, extra) == (2, 1) else ("more", extra)
    assert verdict(answers) == expected
    assert np.abs(np.exp(recognized(answers).undone) - once).max() < 1e-6


@pytest.mark.parametrize("num_classes", COUNTS)
def test_a_second_softmax_is_found_in_float32(num_classes: int) -> None:
    once = softmax(calibrated(num_classes)[0]).astype(np.float32)
    answers = softmax(once).astype(np.float32).astype(np.float64)
    assert recognized(answers).softmaxes.extra == 1
    assert np.abs(np.exp(recognized(answers).undone) - once).max() < 1e-4


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_four_decimals_are_enough_for_few_classes(num_classes: int) -> None:
    once = softmax(calibrated(num_classes)[0])
    answers = np.round(softmax(once), 4)
    found = recognized(answers)
    assert found.scale.precision.name == "4 decimals"
    assert found.softmaxes.extra == 1
    assert np.abs(np.exp(found.undone) - once).max() < 2e-3
    assert np.median(np.abs(np.exp(found.undone) - once)) < 1e-3


def test_what_rounding_hides_is_not_told() -> None:
    once = softmax(calibrated(200)[0])
    found = recognized(np.round(softmax(once), 3))
    assert found.softmaxes.verdict == "open"
    assert "rounded" in found.softmaxes.reason
    assert not found.is_undone


@pytest.mark.parametrize("num_classes", COUNTS)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 5.0, 20.0, 60.0, 500.0])
def test_an_honest_network_has_no_second_softmax_at_any_temperature(
    num_classes: int, temperature: float
) -> None:
    answers = softmax(calibrated(num_classes)[0] / temperature)
    for values in (answers, answers.astype(np.float32).astype(np.float64), np.round(answers, 4)):
        found = recognized(values)
        assert found.softmaxes.verdict in ("once", "open") or found.scale.kind == "classes"


@given(st.integers(2, 12), st.integers(0, 2**31), st.floats(-6, 0), st.sampled_from("gncuh"))
def test_flat_networks_are_no_second_softmax_even_next_to_its_bound(
    num_classes: int, seed: int, near: float, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    n, one = 200, np.eye(num_classes)[rng.integers(num_classes, size=200)]
    noise = rng.normal(size=(n, num_classes))
    logits = {
        "g": noise + 3 * one,
        "n": one * (1 + 0.1 * rng.normal(size=(n, 1))) + 0.01 * noise,  # collapsed
        "c": (noise + 2 * one) / np.linalg.norm(noise + 2 * one, axis=1, keepdims=True),
        "u": rng.uniform(size=(n, num_classes)),
        "h": rng.standard_t(3, size=(n, num_classes)) + 4 * one,
    }[kind]
    above = (logits - logits.min(axis=1, keepdims=True)).sum(axis=1)
    # The temperature at which the last answer just keeps the bound, and hotter ones.
    found = verdict(softmax(logits / (above.max() * (1 + 10**near))))[0]
    assert found in ("once", "open")


def test_a_constant_answer_near_the_bound_is_no_crowd() -> None:
    stump = np.where(np.arange(300)[:, None] % 2 == [[0, 1]], 0.7305, 0.2695)
    assert verdict(stump)[0] == "open"


def test_an_unsure_network_behind_a_second_softmax_cannot_be_told() -> None:
    once = softmax(calibrated(3)[0] / 30)
    assert verdict(softmax(once))[0] == "open"


@pytest.mark.parametrize("num_classes", [3, 10, 43])
def test_a_softmax_of_sigmoids_is_told_from_a_second_softmax(num_classes: int) -> None:
    logits = calibrated(num_classes)[0] * 2 - 6
    assert verdict(softmax(sigmoid(logits))) == ("sigmoids", 1)
    assert not recognized(softmax(sigmoid(logits))).is_undone


def test_sigmoids_and_sigmoids_of_sigmoids_are_told_apart() -> None:
    logits = calibrated(5)[0]
    once = recognized(sigmoid(logits))
    assert once.scale.kind == "sigmoids"
    assert not once.is_undone
    assert np.abs(np.exp(once.undone) - softmax(logits)).max() < 1e-9
    twice = recognized(sigmoid(sigmoid(logits)))
    assert twice.softmaxes.verdict == "squashed"
    assert np.abs(np.exp(twice.undone) - softmax(logits)).max() < 1e-6


@pytest.mark.parametrize("num_classes", COUNTS)
def test_the_scale_is_told(num_classes: int) -> None:
    logits = calibrated(num_classes)[0]
    once = softmax(logits)
    logs = np.log(once)
    assert recognized(logits).scale.kind == "logits"
    assert recognized(once).scale.kind == "probabilities"
    assert recognized(100 * once).scale.factor == 100
    assert recognized(np.round(100 * once, 2)).scale.factor == 100
    assert recognized(logs).scale.kind == "log-probabilities"
    assert recognized(logs / np.log(10)).scale.unit == pytest.approx(np.log(10))
    assert recognized(logs / np.log(2)).scale.unit == pytest.approx(np.log(2))
    assert recognized(np.eye(num_classes)[once.argmax(1)]).scale.kind == "classes"
    for values in (logits, once, 100 * once, logs, logs / np.log(2)):
        assert np.abs(np.exp(recognized(values).undone) - once).max() < 1e-9


def test_a_second_softmax_in_percent_or_logarithms_is_found() -> None:
    once = softmax(calibrated(10)[0])
    twice = softmax(once)
    for values in (100 * twice, np.log(twice), np.log10(twice)):
        assert recognized(values).softmaxes.extra == 1
        assert np.abs(np.exp(recognized(values).undone) - once).max() < 1e-6


def test_a_softmax_over_the_answers_is_found() -> None:
    logits = calibrated(4, 64)[0]
    batches = [softmax(batch.T).T for batch in np.split(logits, 4)]
    assert recognized(np.concatenate(batches)).scale.axis == 0


def test_a_cut_to_the_first_five_is_found() -> None:
    once = softmax(calibrated(43)[0])
    rank = (-once).argsort(axis=1).argsort(axis=1)
    for missing in (0.0, np.nan):
        found = recognized(np.where(rank < 5, once, missing))
        assert found.scale.top_k == 5
        assert found.softmaxes.verdict == "once"
    twice = softmax(once)
    found = recognized(np.where(rank < 5, twice, np.nan))
    assert found.softmaxes.verdict == "open"
    assert found.scale.top_k == 5


@pytest.mark.parametrize("decimals", [2, 3, 4, 6])
def test_decimals_are_counted(decimals: int) -> None:
    found = recognized(np.round(softmax(calibrated(5)[0]), decimals))
    assert found.scale.kind == "probabilities"
    assert found.scale.precision.decimals == decimals


def test_half_precision_is_known() -> None:
    once = softmax(calibrated(5)[0])
    assert recognized(once.astype(np.float16).astype(float)).scale.precision.name == "float16"
    bits = once.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    assert recognized(bits.view(np.float32).astype(float)).scale.precision.name == "bfloat16"
