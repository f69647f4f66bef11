"""Figures against scikit-learn, slow references and properties."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)
from torch import Tensor

from softonce import inference
from softonce.errors import ArgumentError
from softonce.metrics import Figures, Rows, figures, one_vs_rest_auc, score_rows, summary
from softonce.metrics.intervals import mean_of_shares, wilson
from softonce.metrics.table import interval_notes

quick = settings(max_examples=60, deadline=None)


def names(num_classes: int) -> list[str]:
    return [f"class {index}" for index in range(num_classes)]


def problem(seed: int, n: int = 57, num_classes: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, num_classes, generator=generator, dtype=torch.float64) * 2
    return logits, torch.randint(num_classes, (n,), generator=generator)


def made_rows(confidence: list[float], correct: list[bool]) -> Rows:
    """Rows of which only confidence and correctness matter."""
    n = len(confidence)
    zeros = torch.zeros(n, dtype=torch.float64)
    return Rows(
        target=torch.zeros(n, dtype=torch.long),
        pred=torch.tensor([0 if hit else 1 for hit in correct]),
        in_top5=torch.ones(n, dtype=torch.bool),
        nll=zeros,
        brier=zeros,
        confidence=torch.tensor(confidence, dtype=torch.float64),
    )


def quick_figures(rows: Rows, num_classes: int = 2) -> Figures:
    return figures(rows, names(num_classes), num_resamples=0)


problems = st.builds(problem, st.integers(0, 10_000), st.integers(1, 40), st.integers(2, 9))
confidences = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


# rows


@quick
@given(case=problems)
def test_rows_are_the_textbook_scores_of_each_sample(case) -> None:
    logits, target = case
    rows = score_rows(logits, target, temperature=1.7)
    probs = inference.probs(logits, temperature=1.7).tolist()
    for i, (row, label) in enumerate(zip(probs, target.tolist(), strict=True)):
        ranked = sorted(range(len(row)), key=lambda index, row=row: -row[index])
        assert rows.pred[i] == ranked[0]
        assert rows.in_top5[i] == (label in ranked[:5])
        assert rows.nll[i] == pytest.approx(-math.log(row[label]))
        brier = sum((prob - (index == label)) ** 2 for index, prob in enumerate(row))
        assert rows.brier[i] == pytest.approx(brier)
        assert rows.confidence[i] == pytest.approx(max(row))


def test_nll_of_a_confident_mistake_is_finite_and_exact() -> None:
    assert score_rows(torch.tensor([[1e4, 0.0]]), torch.tensor([1])).nll.tolist() == [1e4]


def test_equal_logits_rank_by_the_lower_index() -> None:
    rows = score_rows(torch.zeros(7, 7), torch.arange(7))
    assert rows.pred.tolist() == [0] * 7
    assert rows.in_top5.tolist() == [True] * 5 + [False] * 2


def test_temperature_changes_neither_pred_nor_top5() -> None:
    logits, target = problem(0)
    plain, scaled = score_rows(logits, target), score_rows(logits, target, temperature=9.0)
    assert torch.equal(plain.pred, scaled.pred)
    assert torch.equal(plain.in_top5, scaled.in_top5)
    assert (scaled.confidence < plain.confidence).all()


def test_rows_are_float64_columns_on_the_cpu_for_half_precision_logits() -> None:
    logits, target = problem(1)
    rows = score_rows(logits.bfloat16(), target.to(torch.int32))
    assert rows.nll.dtype == rows.brier.dtype == rows.confidence.dtype == torch.float64
    assert rows.target.dtype == rows.pred.dtype == torch.int64
    assert rows.in_top5.dtype == torch.bool


@quick
@given(case=problems, parts=st.integers(1, 5))
def test_merged_rows_are_the_rows_of_the_whole(case, parts: int) -> None:
    logits, target = case
    whole = score_rows(logits, target)
    pieces = zip(logits.chunk(parts), target.chunk(parts), strict=True)
    merged = Rows.cat([score_rows(*piece) for piece in pieces])
    assert len(merged) == len(whole) == len(target)
    for field in dataclasses.fields(Rows):
        torch.testing.assert_close(getattr(merged, field.name), getattr(whole, field.name))


def test_merging_no_parts_is_refused() -> None:
    with pytest.raises(ArgumentError, match="rows of at least one part, found none"):
        Rows.cat([])


@pytest.mark.parametrize(
    "target", [torch.zeros(2), torch.zeros(3).long(), torch.zeros(2, 1).long(), torch.ones(2) > 0]
)
def test_a_target_of_another_shape_or_dtype_is_refused(target: Tensor) -> None:
    with pytest.raises(ArgumentError, match=r"integer class indices of shape \(2,\)"):
        score_rows(torch.zeros(2, 3), target)


@pytest.mark.parametrize("label", [-100, -1, 3])
def test_a_target_out_of_range_is_named(label: int) -> None:
    with pytest.raises(ArgumentError, match=f"from 0 to 2, found {label} in row 1"):
        score_rows(torch.zeros(2, 3), torch.tensor([0, label]))


def test_a_row_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ArgumentError, match="found nan in row 1"):
        score_rows(torch.tensor([[0.0, 1.0], [0.0, math.nan]]), torch.tensor([0, 0]))


# figures


@quick
@given(case=problems)
def test_means_are_those_of_scikit_learn(case) -> None:
    logits, target = case
    result = quick_figures(score_rows(logits, target), logits.shape[1])
    probs, every = inference.probs(logits).numpy(), np.arange(logits.shape[1])
    assert result.n == len(target)
    assert result.top1 == pytest.approx((probs.argmax(axis=1) == target.numpy()).mean())
    assert result.nll == pytest.approx(log_loss(target, probs, labels=every))
    one_hot = np.eye(logits.shape[1])[target.numpy()]
    assert result.brier == pytest.approx(((probs - one_hot) ** 2).sum(axis=1).mean())


@quick
@given(case=problems)
def test_per_class_figures_and_confusion_are_those_of_scikit_learn(case) -> None:
    logits, target = case
    num_classes = logits.shape[1]
    rows = score_rows(logits, target)
    result, every = quick_figures(rows, num_classes), range(num_classes)
    expected = precision_recall_fscore_support(
        rows.target, rows.pred, labels=every, zero_division=np.nan
    )
    for key, column in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        found = [math.nan if row[key] is None else row[key] for row in result.per_class]
        np.testing.assert_allclose(found, column, rtol=1e-12)
    assert result.confusion == confusion_matrix(rows.target, rows.pred, labels=every).tolist()
    assert [row["class"] for row in result.per_class] == names(num_classes)


def test_figures_of_absent_classes_are_none_and_not_zero() -> None:
    logits = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    result = quick_figures(score_rows(logits, torch.tensor([0, 1])), 3)
    never_predicted, absent = result.per_class[1], result.per_class[2]
    assert never_predicted["precision"] is None
    assert (never_predicted["recall"], never_predicted["f1"]) == (0.0, 0.0)
    assert absent["precision"] is absent["recall"] is absent["f1"] is None
    assert absent["support"] == 0


@quick
@given(case=problems)
def test_figures_over_classes_are_those_of_scikit_learn(case) -> None:
    logits, target = case
    rows = score_rows(logits, target)
    result = quick_figures(rows, logits.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are predicted and never occur
        balanced = balanced_accuracy_score(rows.target, rows.pred)
    assert result.balanced_accuracy == pytest.approx(balanced)
    assert result.macro_f1 == pytest.approx(f1_score(rows.target, rows.pred, average="macro"))


def areas(logits: Tensor, target: Tensor, temperature: float) -> list[float]:
    """scikit-learn's area of every class that has both samples and others."""
    scores = inference.log_probs(logits.double(), temperature=temperature).round(decimals=10)
    kinds = [index for index in range(logits.shape[1]) if 0 < (target == index).sum() < len(target)]
    return [roc_auc_score(target == index, scores[:, index]) for index in kinds]


@quick
@given(case=problems, temperature=st.sampled_from([0.5, 1.0, 4.0]), rounded=st.booleans())
def test_auc_is_that_of_scikit_learn_ties_included(case, temperature: float, rounded: bool) -> None:
    logits, target = case
    logits = logits.round() if rounded else logits
    found = one_vs_rest_auc(logits, target, temperature=temperature)
    expected = areas(logits, target, temperature)
    if expected:
        assert found == pytest.approx(np.mean(expected), abs=1e-9)
    else:
        assert found is None


def test_the_same_scores_in_another_order_are_ties() -> None:
    rows = torch.tensor([0.1, 0.7, -3.3, 11.9, 5.2, 0.3])
    logits = torch.stack([torch.cat([rows.roll(shift), torch.ones(1)]) for shift in range(6)])
    target = torch.tensor([6, 6, 6, 0, 0, 0])
    others = areas(logits, target, 1.0)
    assert one_vs_rest_auc(logits, target) == pytest.approx(np.mean(others))
    assert others[-1] == 0.5


def test_auc_of_all_classes_is_the_unweighted_one_against_rest() -> None:
    logits, target = problem(7, n=200)
    expected = roc_auc_score(target, inference.probs(logits), multi_class="ovr", average="macro")
    assert one_vs_rest_auc(logits, target) == pytest.approx(expected)
    two, binary = logits[:, :2], target % 2
    assert one_vs_rest_auc(two, binary) == pytest.approx(
        roc_auc_score(binary, two[:, 1] - two[:, 0])
    )


def test_auc_tells_probabilities_apart_that_round_to_zero() -> None:
    logits = torch.tensor([[900.0, 0.0], [800.0, 0.0], [700.0, 0.0]])
    assert one_vs_rest_auc(logits, torch.tensor([0, 0, 1])) == pytest.approx(0.75)


def test_auc_of_very_many_classes_is_not_computed() -> None:
    assert one_vs_rest_auc(torch.zeros(2, 1001), torch.tensor([0, 1])) is None


@quick
@given(case=problems)
def test_confused_pairs_are_the_largest_cells_off_the_diagonal(case) -> None:
    logits, target = case
    result = quick_figures(score_rows(logits, target), logits.shape[1])
    cells = [
        (-count, row, column)
        for row, counts in enumerate(result.confusion)
        for column, count in enumerate(counts)
        if row != column and count
    ]
    found = [(-pair["count"], pair["target"], pair["pred"]) for pair in result.confused_pairs]
    assert found == sorted(cells)[: summary.NUM_CONFUSED_PAIRS]


def test_very_many_classes_have_pairs_but_no_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "MAX_CONFUSION_CLASSES", 6)
    logits, target = problem(2)
    result = quick_figures(score_rows(logits, target), 7)
    assert result.confusion == []
    assert result.confused_pairs[0]["count"] > 0


@quick
@given(case=problems, seed=st.integers(0, 100))
def test_order_of_samples_changes_no_figure(case, seed: int) -> None:
    logits, target = case
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(seed))
    num_classes = logits.shape[1]
    plain = quick_figures(score_rows(logits, target), num_classes)
    mixed = quick_figures(score_rows(logits[order], target[order]), num_classes)
    assert (plain.top5 is None) == (num_classes <= 5)
    names_ = ("top1", "balanced_accuracy", "macro_f1", "nll", "brier", "ece", "adaptive_ece")
    for name in names_ if plain.top5 is None else (*names_, "top5"):
        assert getattr(mixed, name) == pytest.approx(getattr(plain, name), abs=1e-12)
    assert mixed.confusion == plain.confusion


def test_figures_are_ready_for_json() -> None:
    result = figures(score_rows(*problem(3)), names(7), num_resamples=5)
    assert json.loads(json.dumps(dataclasses.asdict(result)))["n"] == 57


def test_no_sample_is_refused() -> None:
    rows = score_rows(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))
    with pytest.raises(ArgumentError, match="expected at least one evaluated sample"):
        figures(rows, names(2))


def test_a_class_without_a_name_is_refused() -> None:
    rows = score_rows(torch.zeros(1, 3), torch.tensor([2]))
    with pytest.raises(ArgumentError, match="found 2 names and class index 2"):
        figures(rows, names(2))


# calibration


def slow_ece(confidence: list[float], correct: list[bool]) -> float:
    total = 0.0
    for index in range(15):
        low, high = index / 15, (index + 1) / 15
        pairs = zip(confidence, correct, strict=True)
        inside = [hit - conf for conf, hit in pairs if low < conf <= high or conf == low == 0]
        total += abs(sum(inside))
    return total / len(confidence)


@quick
@given(samples=confidences)
def test_ece_is_that_of_a_slow_reference(samples) -> None:
    confidence, correct = map(list, zip(*samples, strict=True))
    result = quick_figures(made_rows(confidence, correct))
    assert result.ece == pytest.approx(slow_ece(confidence, correct), abs=1e-12)


@quick
@given(samples=confidences)
def test_reliability_bins_add_up_to_ece_and_to_all_samples(samples) -> None:
    confidence, correct = map(list, zip(*samples, strict=True))
    result = quick_figures(made_rows(confidence, correct))
    bins = [bin_ for bin_ in result.reliability if bin_["count"]]
    assert sum(bin_["count"] for bin_ in bins) == result.n
    gaps = (bin_["count"] * abs(bin_["accuracy"] - bin_["confidence"]) for bin_ in bins)
    assert sum(gaps) / result.n == pytest.approx(result.ece, abs=1e-12)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    edges = [index / 15 for index in range(1, 16)]
    result = quick_figures(made_rows([0.0, *edges], [True] * 16))
    assert [bin_["count"] for bin_ in result.reliability] == [2] + [1] * 14
    above = [math.nextafter(edge, 1) for edge in edges[:-1]]
    result = quick_figures(made_rows(above, [True] * 14))
    assert [bin_["count"] for bin_ in result.reliability] == [0] + [1] * 14


def test_empty_bins_have_no_means() -> None:
    empty = quick_figures(made_rows([1.0], [True])).reliability[3]
    assert (empty["count"], empty["confidence"], empty["accuracy"]) == (0, None, None)
    assert (empty["low"], empty["high"]) == (3 / 15, 4 / 15)


@quick
@given(seed=st.integers(0, 1000), n=st.integers(1, 80))
def test_adaptive_ece_is_that_of_a_slow_reference_where_confidences_differ(seed, n) -> None:
    random = np.random.default_rng(seed)
    confidence, correct = random.permutation(n) / n, random.random(n) < 0.5
    samples = sorted(zip(confidence, correct, strict=True))
    masses = [[] for _ in range(15)]
    for rank, (conf, hit) in enumerate(samples):
        masses[rank * 15 // n].append(hit - conf)
    result = quick_figures(made_rows(confidence.tolist(), correct.tolist()))
    expected = sum(abs(sum(mass)) for mass in masses) / n
    assert result.adaptive_ece == pytest.approx(expected, abs=1e-12)


def test_equal_confidences_do_not_raise_the_adaptive_error() -> None:
    result = quick_figures(made_rows([0.75] * 100, [True] * 75 + [False] * 25))
    assert result.adaptive_ece == pytest.approx(0, abs=1e-12)


def test_calibrated_samples_have_a_small_calibration_error() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.2, 1, 40_000)
    correct = random.random(40_000) < confidence
    result = quick_figures(made_rows(confidence.tolist(), correct.tolist()))
    assert result.ece < 0.01
    assert result.adaptive_ece < 0.01


def test_a_network_that_is_always_wrong_and_sure_has_the_largest_error() -> None:
    result = quick_figures(made_rows([1.0] * 9, [False] * 9))
    assert result.ece == result.adaptive_ece == 1.0


# intervals


def test_intervals_depend_on_the_seed_alone() -> None:
    rows = score_rows(*problem(4, n=200))
    one, same, other = (
        figures(rows, names(7), seed=seed, num_resamples=50).intervals for seed in (1, 1, 2)
    )
    assert one == same != other
    of_shares = {"top1", "top5", "balanced_accuracy"}
    assert set(one) == of_shares | {"macro_f1", "nll", "brier", "ece"}


def test_interval_of_a_mean_is_that_of_the_normal_approximation() -> None:
    rows = score_rows(*problem(5, n=2000))
    result = figures(rows, names(7))
    for name, column in (("top1", rows.pred == rows.target), ("nll", rows.nll)):
        half = 1.96 * column.double().std().item() / math.sqrt(2000)
        low, high = result.intervals[name]
        assert (high - low) / 2 == pytest.approx(half, rel=0.1)
        assert low < getattr(result, name) < high


def test_interval_of_a_calibrated_networks_ece_is_not_shifted_up_by_noise() -> None:
    random = np.random.default_rng(3)
    confidence = random.uniform(0.2, 1, 2000)
    correct = random.random(2000) < confidence
    rows = made_rows(confidence.tolist(), correct.tolist())
    result = figures(rows, names(2), num_resamples=200)
    low, high = result.intervals["ece"]
    assert 0 <= low < high
    assert low < result.ece / 2  # percentiles of the resamples would lie above the figure


@pytest.mark.parametrize("hit", [True, False])
@pytest.mark.parametrize("n", [1, 2, 10, 300])
def test_no_interval_is_a_point_if_all_are_right_or_all_are_wrong(n: int, hit: bool) -> None:
    result = figures(made_rows([0.9] * n, [hit] * n), names(2), num_resamples=20)
    assert set(result.intervals) == {"top1", "balanced_accuracy"}
    for low, high in result.intervals.values():
        assert (low, high) == pytest.approx(exact_wilson(n * hit, n), abs=1e-9)
        assert high - low > 1 / (n + 2)


def exact_wilson(hits: int, n: int) -> tuple[float, float]:
    found = binomtest(hits, n).proportion_ci(method="wilson")
    return found.low, found.high


@pytest.mark.parametrize("n", [1, 3, 10, 40, 1000])
def test_intervals_of_accuracies_are_those_of_scipy(n: int) -> None:
    for hits in {0, 1, n // 3, n - 1, n}:
        assert wilson(hits, n) == pytest.approx(exact_wilson(hits, n), abs=1e-12)


def test_the_mean_of_shares_is_covered_by_its_interval() -> None:
    random = np.random.default_rng(0)
    shares, counts = np.array([0.99, 0.7, 0.9]), np.array([60, 8, 25])
    drawn = random.binomial(counts, shares, size=(2000, 3))
    bounds = (mean_of_shares(hits, counts) for hits in drawn)
    covered = np.mean([low <= shares.mean() <= high for low, high in bounds])
    assert 0.93 < covered < 0.99
    assert mean_of_shares([7], [9]) == pytest.approx(wilson(7, 9))


def few_mistakes(wrong: int, n: int = 40) -> Figures:
    return figures(made_rows([0.9] * n, [i >= wrong for i in range(n)]), names(2))


def test_losses_have_an_interval_only_with_five_images_of_either_kind() -> None:
    of_losses = {"macro_f1", "nll", "brier", "ece"}
    for wrong, there in ((0, False), (4, False), (5, True), (35, True), (36, False), (40, False)):
        assert (of_losses <= set(few_mistakes(wrong).intervals)) == there


@pytest.mark.parametrize(
    ("wrong", "start"),
    [(0, "0 of 40 images are wrong: fewer than 5"), (1, "1 of 40 images is wrong"),
     (38, "2 of 40 images are right"), (20, "")],
)  # fmt: skip
def test_a_note_says_why_an_interval_is_missing(wrong: int, start: str) -> None:
    notes = [note for note in interval_notes(few_mistakes(wrong)) if "no interval" in note]
    assert bool(notes) == bool(start)
    assert all(note.startswith(start) for note in notes)


def test_a_note_says_why_an_interval_does_not_hold_its_value() -> None:
    found = few_mistakes(20)
    beside = dataclasses.replace(found, ece=0.0394, intervals={"ece": (0.0, 0.0322), "nll": (0, 1)})
    assert "ends below the value" in interval_notes(beside)[0]
    inside = dataclasses.replace(beside, ece=0.03)
    assert interval_notes(inside) == []


def test_no_resamples_give_no_intervals() -> None:
    assert quick_figures(made_rows([1.0], [True])).intervals == {}
