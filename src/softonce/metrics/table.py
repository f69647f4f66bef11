"""Figures as the rows of a table, for the terminal and for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table

from softonce.metrics.intervals import MIN_OF_EACH, rarer_kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from softonce.metrics.summary import Figures

_FIGURES = (
    ("top-1", "top1", "{:.2%}"),
    ("top-5", "top5", "{:.2%}"),
    ("balanced accuracy", "balanced_accuracy", "{:.2%}"),
    ("macro-F1", "macro_f1", "{:.2%}"),
    ("AUC", "auc", "{:.4f}"),
    ("NLL (nats)", "nll", "{:.4f}"),
    ("Brier", "brier", "{:.4f}"),
    ("ECE", "ece", "{:.2%}"),
    ("adaptive ECE", "adaptive_ece", "{:.2%}"),
)
_UNCHANGED = ("top1", "top5", "balanced_accuracy", "macro_f1")
"""What no temperature changes: the order of the logits stays."""


class FigureRow(NamedTuple):
    """One figure as text; what does not apply is empty."""

    label: str
    value: str
    interval: str
    uncalibrated: str


def figure_rows(found: Figures, plain: Figures, temperature: float) -> list[FigureRow]:
    """Return the figures as text.

    Args:
        found: computed with the temperature.
        plain: computed at temperature 1.
        temperature: at 1, the column of `plain` is empty and there is no row of it.
    """
    calibrated = temperature != 1.0
    rows = []
    for label, name, form in _FIGURES:
        if getattr(found, name) is None:
            continue
        low_high = found.intervals.get(name)
        interval = " to ".join(map(form.format, low_high)) if low_high else ""
        changes = calibrated and name not in _UNCHANGED
        before = form.format(getattr(plain, name)) if changes else ""
        rows.append(FigureRow(label, form.format(getattr(found, name)), interval, before))
    if calibrated:
        rows.append(FigureRow("temperature", f"{temperature:.3f}", "", ""))
    return rows


def interval_notes(found: Figures) -> list[str]:
    """Return what a reader has to know of the intervals, a sentence each."""
    notes = []
    if found.intervals and "nll" not in found.intervals:
        _, few = rarer_kind(found.num_right, found.n)
        notes.append(
            f"{few}: fewer than {MIN_OF_EACH} do not tell how far off macro-F1, NLL, Brier and ECE "
            "may be, so these have no interval."
        )
    low, high = found.intervals.get("ece", (0.0, 1.0))
    if not low <= found.ece <= high:
        notes.append(
            "Noise makes the ECE larger, never smaller: its interval is corrected for that, and "
            "ends below the value."
        )
    return notes


def column_names(temperature: float) -> tuple[str, ...]:
    """Return the headings of the rows' columns."""
    names = ("", "value", "95 % interval")
    return names if temperature == 1.0 else (*names, "at temperature 1")


def build_table(
    title: str, rows: list[FigureRow], temperature: float, notes: Sequence[str] = ()
) -> Table:
    """Return the rows as a table of the terminal, with the notes beneath."""
    table = Table(
        title=title,
        caption="\n".join(notes) or None,
        box=None,
        pad_edge=False,
    )
    first, *others = names = column_names(temperature)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row[: len(names)])
    return table
