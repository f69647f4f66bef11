"""Temperature scaling against a bounded scalar minimiser and against what it is for."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from softonce import metrics
from softonce.calibrate import MAX_TEMPERATURE, MIN_TEMPERATURE, calibrate, fit_temperature
from softonce.calibrate import temperature as temperature_module
from softonce.calibrate.temperature import likely_temperatures
from softonce.errors import ArgumentError


def nll(logits: Tensor, target: Tensor, temperature: float) -> float:
    return F.cross_entropy(logits.double() / temperature, target).item()


def sampled(seed: int, *, n: int, num_classes: int, scale: float) -> tuple[Tensor, Tensor]:
    """Logits, and targets drawn from their own softmax: calibrated at temperature 1."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, num_classes, generator=generator, dtype=torch.float64) * scale
    target = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    return logits, target


problems = st.builds(
    sampled,
    seed=st.integers(0, 10_000),
    n=st.integers(1, 60),
    num_classes=st.integers(1, 7),
    scale=st.floats(0.1, 8.0),
)


@settings(max_examples=80, deadline=None)
@given(problem=problems, factor=st.floats(0.2, 5.0))
def test_fit_is_no_worse_than_a_reference_minimiser_or_the_bounds(problem, factor: float) -> None:
    logits, target = problem[0] * factor, problem[1]
    fitted = nll(logits, target, fit_temperature(logits, target))
    inverses = (1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE)
    reference = minimize_scalar(lambda b: nll(logits, target, 1 / b), bounds=inverses)
    rivals = [reference.fun, *(nll(logits, target, 1 / b) for b in inverses)]
    assert fitted <= min(rivals) + 1e-9


@settings(max_examples=60, deadline=None)
@given(problem=problems)
def test_fit_is_never_worse_than_temperature_one(problem) -> None:
    logits, target = problem
    assert nll(logits, target, fit_temperature(logits, target)) <= nll(logits, target, 1.0) + 1e-12


@settings(max_examples=40, deadline=None)
@given(problem=problems, factor=st.floats(0.5, 2.0))
def test_scaling_the_logits_scales_the_temperature(problem, factor: float) -> None:
    logits, target = problem
    plain = fit_temperature(logits, target)
    scaled = fit_temperature(logits * factor, target)
    inside = 2 * MIN_TEMPERATURE < plain < MAX_TEMPERATURE / 2
    if inside and plain != 1.0 and scaled != 1.0:
        assert scaled == pytest.approx(plain * factor, rel=1e-6)


def test_fit_undoes_a_known_scale() -> None:
    logits, target = sampled(0, n=20_000, num_classes=5, scale=2.0)
    assert fit_temperature(logits * 3.0, target) == pytest.approx(3.0, rel=0.03)
    assert fit_temperature(logits / 4.0, target) == pytest.approx(0.25, rel=0.03)


def test_fit_lowers_the_calibration_error_of_an_overconfident_network() -> None:
    logits, target = sampled(1, n=5000, num_classes=10, scale=1.5)
    logits = logits * 2.5
    temperature = fit_temperature(logits, target)
    classes = [str(index) for index in range(10)]
    before, after = (
        metrics.figures(metrics.score_rows(logits, target, temperature=t), classes, num_resamples=0)
        for t in (1.0, temperature)
    )
    assert before.ece > 0.2
    assert after.ece < 0.03
    assert after.top1 == before.top1


def test_blocks_of_rows_sum_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = sampled(2, n=101, num_classes=3, scale=4.0)
    whole = fit_temperature(logits, target)
    monkeypatch.setattr(temperature_module, "_ELEMENTS_AT_ONCE", 21)
    assert fit_temperature(logits, target) == pytest.approx(whole, rel=1e-8)


def test_derivatives_are_those_of_autograd() -> None:
    logits, target = sampled(3, n=50, num_classes=4, scale=2.0)
    inverse = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    value = F.cross_entropy(logits * inverse, target, reduction="sum")
    (slope,) = torch.autograd.grad(value, inverse, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, inverse)
    expected = [value.item(), slope.item(), curvature.item()]
    assert list(temperature_module.derivatives(logits, target, 0.7)) == pytest.approx(
        expected, rel=1e-9
    )


def test_minimum_beyond_a_bound_returns_the_bound() -> None:
    right = torch.eye(3)
    assert fit_temperature(right, torch.tensor([0, 1, 2])) == MIN_TEMPERATURE
    assert fit_temperature(right * 9, torch.tensor([1, 2, 0])) == MAX_TEMPERATURE


def test_logits_that_no_temperature_changes_keep_temperature_one() -> None:
    assert fit_temperature(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])) == 1.0
    assert fit_temperature(torch.ones(2, 1), torch.tensor([0, 0])) == 1.0


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_extreme_logits_give_a_finite_temperature_within_the_bounds(scale: float) -> None:
    logits, target = sampled(4, n=100, num_classes=4, scale=1.0)
    temperature = fit_temperature((logits * scale).float(), target)
    assert MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE


def test_half_precision_logits_are_summed_in_float64() -> None:
    logits, target = sampled(5, n=4000, num_classes=3, scale=3.0)
    half = logits.half()
    assert fit_temperature(half, target) == fit_temperature(half.double(), target)


def test_logits_that_require_a_gradient_are_accepted() -> None:
    logits, target = sampled(6, n=20, num_classes=3, scale=2.0)
    assert fit_temperature(logits.requires_grad_(), target) > 0


def test_no_sample_is_refused() -> None:
    with pytest.raises(ArgumentError, match="expected at least one sample to fit"):
        fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))


def test_a_row_that_is_not_finite_is_named() -> None:
    logits = torch.zeros(5, 3)
    logits[3, 1] = math.nan
    with pytest.raises(ArgumentError, match="found nan in row 3"):
        fit_temperature(logits, torch.zeros(5, dtype=torch.long))


def test_a_target_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ArgumentError, match="found 3 in row 1 of target"):
        fit_temperature(torch.zeros(2, 3), torch.tensor([0, 3]))


# whether it is kept


def kept_in(draws: int, factor: float, *, n: int, scale: float) -> list[tuple[float, float]]:
    """Return the kept temperature of each draw, and what it adds to the NLL of 5,000 others."""
    others, truth = sampled(99, n=5000, num_classes=4, scale=scale)
    found = []
    for seed in range(draws):
        logits, target = sampled(seed, n=n, num_classes=4, scale=scale)
        kept = calibrate(logits * factor, target).temperature
        found.append((kept, nll(others * factor, truth, kept) - nll(others * factor, truth, 1.0)))
    return found


@pytest.mark.parametrize("n", [20, 100])
def test_a_calibrated_network_keeps_its_probabilities(n: int) -> None:
    changed = [kept for kept, _ in kept_in(60, 1.0, n=n, scale=3.0) if kept != 1.0]
    assert len(changed) <= 1


@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_a_temperature_that_is_kept_helps_other_samples(factor: float) -> None:
    found = kept_in(40, factor, n=200, scale=3.0)
    assert sum(kept != 1.0 for kept, _ in found) >= 38
    assert all(added < -0.02 for kept, added in found if kept != 1.0)
    assert all((kept > 1) == (factor > 1) for kept, _ in found if kept != 1.0)


def test_of_many_samples_the_fitted_temperature_is_kept() -> None:
    logits, target = sampled(7, n=20_000, num_classes=4, scale=3.0)
    found = calibrate(logits * 2, target)
    assert 0.96 * found.fitted < found.temperature < found.fitted
    assert found.interval[0] < 2 < found.interval[1]
    low, high = found.gain_interval
    expected = nll(logits * 2, target, 1.0) - nll(logits * 2, target, 2.0)
    assert low < expected < high
    assert (found.reason, found.is_known) == ("", True)


@pytest.mark.parametrize("excess", [1.353, 3.9395])
def test_the_interval_ends_where_the_likelihood_has_fallen_as_far(excess: float) -> None:
    logits, target = sampled(8, n=60, num_classes=3, scale=2.0)
    fitted = fit_temperature(logits, target)
    least = 60 * nll(logits, target, fitted)
    for end in likely_temperatures(logits, target, fitted, excess=excess):
        assert 60 * nll(logits, target, end) - least == pytest.approx(excess, rel=1e-6)


def test_an_interval_without_an_end_reaches_the_bound() -> None:
    right, target = torch.eye(3, dtype=torch.float64), torch.tensor([0, 1, 2])
    assert likely_temperatures(right, target, 1.0, excess=50.0) == (
        MIN_TEMPERATURE,
        MAX_TEMPERATURE,
    )


def with_mistakes(wrong: int, n: int) -> tuple[Tensor, Tensor]:
    logits, target = torch.eye(2).repeat(n, 1)[:n] * 9, torch.arange(n) % 2
    return logits, torch.where(torch.arange(n) < wrong, 1 - target, target)


@pytest.mark.parametrize(
    ("wrong", "n", "reason"),
    [
        (0, 12, "0 of 12 images are wrong, and it takes 5"),
        (1, 12, "1 of 12 images is wrong, and it takes 5"),
        (4, 200, "4 of 200 images are wrong"),
        (11, 12, "1 of 12 images is right, and it takes 5"),
        (0, 1, "0 of 1 image is wrong"),
    ],
)
def test_what_is_said_of_too_few_mistakes_is_true(wrong: int, n: int, reason: str) -> None:
    found = calibrate(*with_mistakes(wrong, n))
    assert found.temperature == 1.0
    assert found.reason.startswith(reason)
    assert not found.is_known


def test_samples_that_do_not_contradict_1_say_so() -> None:
    logits, target = sampled(9, n=80, num_classes=4, scale=2.0)
    found = calibrate(logits, target)
    assert (found.temperature, found.is_known) == (1.0, True)
    assert "holds 1" in found.reason


def test_logits_without_any_information_are_left_alone() -> None:
    assert calibrate(torch.zeros(40, 3), torch.arange(40) % 3).temperature == 1.0
