"""The second softmax address against float64 textbook formulas."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from softonce import inference
from softonce.errors import ArgumentError

quick = settings(max_examples=60, deadline=None)
temperatures = st.floats(0.05, 20.0)
seeds = st.integers(0, 10_000)


def random_logits(seed: int, *, scale: float = 5.0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.randint(1, 8, (2,), generator=generator).tolist()
    return (torch.randn(rows, columns, generator=generator) * scale).to(dtype)


def textbook_probs(logits: Tensor, temperature: float) -> Tensor:
    rows = []
    for row in logits.double().tolist():
        largest = max(row)
        terms = [math.exp((logit - largest) / temperature) for logit in row]
        rows.append([term / sum(terms) for term in terms])
    return torch.tensor(rows, dtype=torch.float64)


@quick
@given(seed=seeds, temperature=temperatures)
def test_probs_are_the_textbook_softmax_of_the_scaled_logits(seed: int, temperature: float) -> None:
    logits = random_logits(seed)
    expected = textbook_probs(logits, temperature)
    torch.testing.assert_close(
        inference.probs(logits, temperature=temperature).double(), expected, rtol=2e-5, atol=1e-7
    )
    torch.testing.assert_close(inference.probs(logits.double(), temperature=temperature), expected)


@quick
@given(seed=seeds, temperature=temperatures)
def test_log_probs_are_the_logarithm_of_probs(seed: int, temperature: float) -> None:
    logits = random_logits(seed, dtype=torch.float64)
    rows = inference.log_probs(logits, temperature=temperature)
    torch.testing.assert_close(rows.exp(), inference.probs(logits, temperature=temperature))
    torch.testing.assert_close(rows.logsumexp(dim=1), torch.zeros(len(rows), dtype=torch.float64))


@quick
@given(seed=seeds, shift=st.floats(-50, 50))
def test_adding_a_constant_to_a_row_changes_nothing(seed: int, shift: float) -> None:
    logits = random_logits(seed, dtype=torch.float64)
    torch.testing.assert_close(inference.probs(logits + shift), inference.probs(logits))


@quick
@given(seed=seeds, temperature=temperatures)
def test_temperature_never_changes_the_prediction(seed: int, temperature: float) -> None:
    logits = random_logits(seed)
    classes = [str(index) for index in range(logits.shape[1])]
    plain = inference.top_predictions(logits, classes)
    scaled = inference.top_predictions(logits, classes, temperature=temperature)
    assert [row["pred"] for row in scaled] == [row["pred"] for row in plain]
    assert [row["pred"] for row in plain] == logits.argmax(dim=1).tolist()


def test_log_probs_of_very_confident_rows_stay_exact() -> None:
    rows = inference.log_probs(torch.tensor([[1e4, 0.0, -1e4]]))
    assert rows.tolist() == [[0.0, -1e4, -2e4]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_normalised_in_float32(dtype: torch.dtype) -> None:
    logits = random_logits(3, dtype=dtype)
    rows = inference.probs(logits, temperature=0.7)
    assert rows.dtype == inference.log_probs(logits).dtype == torch.float32
    torch.testing.assert_close(
        rows, inference.probs(logits.float(), temperature=0.7), rtol=0, atol=0
    )


def test_half_precision_logits_do_not_overflow_when_they_are_divided() -> None:
    rows = inference.probs(torch.tensor([[60_000.0, 0.0]], dtype=torch.float16), temperature=0.05)
    assert rows.tolist() == [[1.0, 0.0]]


def test_gradient_of_log_probs_sums_to_zero_over_a_row() -> None:
    logits = random_logits(4, dtype=torch.float64).requires_grad_()
    inference.log_probs(logits, temperature=2.0)[:, 0].sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad.sum(dim=1), torch.zeros(len(logits)).double())


def test_no_rows_give_no_rows() -> None:
    assert inference.probs(torch.zeros(0, 3)).shape == (0, 3)
    assert inference.top_predictions(torch.zeros(0, 3), ["a", "b", "c"]) == []


def test_export_traces_one_softmax_and_no_check() -> None:
    class Door(torch.nn.Module):
        def forward(self, logits: Tensor) -> Tensor:
            return inference.probs(logits, temperature=1.5)

    program = torch.export.export(Door(), (torch.zeros(2, 3),))
    calls = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert sum("softmax" in call for call in calls) == 1
    assert not any("isfinite" in call for call in calls)


def test_top_predictions_are_records_of_plain_values() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, -1.0, 0.0]])
    records = inference.top_predictions(logits, ["고양이", "dog", "eel"], temperature=2.0, top_k=2)
    assert json.loads(json.dumps(records)) == records
    expected = inference.probs(logits, temperature=2.0)
    assert [row["class"] for row in records] == ["dog", "고양이"]
    assert [row["pred"] for row in records] == [1, 0]
    for row, row_probs, row_logits in zip(records, expected, logits, strict=True):
        assert len(row["top"]) == 2
        assert (row["pred"], row["prob"]) == (row["top"][0]["index"], row["top"][0]["prob"])
        for candidate in row["top"]:
            assert candidate["prob"] == pytest.approx(row_probs[candidate["index"]].item())
            assert candidate["logit"] == row_logits[candidate["index"]].item()


@quick
@given(seed=seeds, temperature=temperatures)
def test_an_array_and_a_tensor_of_the_same_logits_give_the_same_records(
    seed: int, temperature: float
) -> None:
    logits = random_logits(seed)
    classes = [str(index) for index in range(logits.shape[1])]
    records = inference.top_predictions(logits, classes, temperature=temperature)
    assert inference.top_predictions(logits.numpy(), classes, temperature=temperature) == records
    for record, row in zip(records, textbook_probs(logits, temperature), strict=True):
        assert record["prob"] == pytest.approx(row.max().item(), rel=1e-12)


def test_top_k_is_clipped_to_the_number_of_classes() -> None:
    (record,) = inference.top_predictions(torch.tensor([[1.0, 2.0]]), ["a", "b"], top_k=99)
    assert [candidate["class"] for candidate in record["top"]] == ["b", "a"]


def test_equal_logits_are_ranked_by_the_lower_index() -> None:
    logits = torch.zeros(1, 100)
    logits[0, [17, 40]] = 1.0
    (record,) = inference.top_predictions(logits, [str(index) for index in range(100)], top_k=4)
    assert [candidate["index"] for candidate in record["top"]] == [17, 40, 0, 1]


def test_classes_are_ranked_by_logit_where_their_probabilities_round_to_zero() -> None:
    (record,) = inference.top_predictions(torch.tensor([[0.0, -300.0, -200.0]]), ["a", "b", "c"])
    assert [candidate["index"] for candidate in record["top"]] == [0, 2, 1]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("call", [inference.probs, inference.log_probs])
def test_a_row_that_is_not_finite_is_named(call, bad: float) -> None:
    logits = torch.zeros(4, 3)
    logits[2, 1] = bad
    with pytest.raises(ArgumentError, match=r"in row 2 \(class 1; 1 of 4 rows"):
        call(logits)
    for either in (logits, logits.numpy()):
        with pytest.raises(ArgumentError, match=r"in row 2 \(class 1"):
            inference.top_predictions(either, ["a", "b", "c"])


def test_logits_that_overflow_after_the_temperature_are_named() -> None:
    with pytest.raises(ArgumentError, match="found inf in row 1"):
        inference.probs(torch.tensor([[0.0, 1.0], [1e38, 0.0]]), temperature=0.05)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_not_positive_and_finite_is_refused(temperature: float) -> None:
    with pytest.raises(ArgumentError, match="expected a positive, finite temperature"):
        inference.log_probs(torch.zeros(1, 2), temperature=temperature)


@pytest.mark.parametrize(
    "logits", [torch.zeros(3), torch.zeros(1, 2, 3), torch.zeros(2, 0), torch.zeros(2, 3).long()]
)
def test_logits_of_another_shape_or_dtype_are_refused(logits: Tensor) -> None:
    with pytest.raises(ArgumentError, match=r"expected floating-point logits of shape \(N, C\)"):
        inference.probs(logits)


def test_a_wrong_number_of_class_names_is_refused() -> None:
    with pytest.raises(ArgumentError, match="each of the 3 columns of logits, found 2 names"):
        inference.top_predictions(torch.zeros(1, 3), ["a", "b"])


def test_a_top_k_below_one_is_refused() -> None:
    with pytest.raises(ArgumentError, match="expected top_k >= 1, found 0"):
        inference.top_predictions(torch.zeros(1, 2), ["a", "b"], top_k=0)
