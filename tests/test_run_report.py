"""What the page of a run says of the run: what val has chosen, what was drawn from its rows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from softonce.report import run

SAME = ", and the figures are of the same images: expect somewhat worse ones of new images."


@pytest.mark.parametrize(
    ("split", "epochs", "temperature", "sentence"),
    [
        ("val", 9, 1.5, f"Val chose the epoch (4 of 9) and fitted the temperature (1.5){SAME}"),
        ("val", 9, 1.0, f"Val chose the epoch (4 of 9){SAME}"),
        ("val", 1, 0.8, f"Val fitted the temperature (0.8){SAME}"),
        ("val", 1, 1.0, ""),
        ("test", 9, 1.5, "(1.5); the figures are of test, which had no part in that."),
        ("test", 1, 1.0, ""),
    ],
)
def test_what_val_has_chosen_is_told_and_nothing_else(
    split: str, epochs: int, temperature: float, sentence: str
) -> None:
    evaluation = SimpleNamespace(split=split, temperature=temperature)
    metadata = SimpleNamespace(training={"best_epoch": 4, "epochs": epochs})
    told = run._selection(evaluation, metadata)  # type: ignore[arg-type] # all that it looks at
    assert sentence in told
    assert bool(sentence) == bool(told)
