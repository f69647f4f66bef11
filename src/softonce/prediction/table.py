"""Predictions as a table: what a terminal and a notebook print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from rich.table import Table
from rich.text import Text

from softonce.console.plain import escape_control

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from softonce.inference import Candidate

Emit: TypeAlias = Literal["probs", "logits"]

_NUM_COLUMNS = 4
"""Without the decision, which most classifiers do not make."""


def build_table(
    rows: Iterable[tuple[str, Sequence[Candidate], str | None, str | None]], *, emit: Emit
) -> Table:
    """Return a table with a row a picture: the first class, its number, and the next ones.

    Args:
        rows: name, ranked classes, error, and decision of each.
        emit: whether the numbers are probabilities or logits.
    """
    table = Table(box=None, pad_edge=False)
    table.add_column("path", overflow="fold")
    for name in ("class", value_name(emit), "next"):
        table.add_column(name)
    for path, top, error, decision in rows:
        if decision is not None and len(table.columns) == _NUM_COLUMNS:
            table.add_column("decision")
        if error is not None:
            table.add_row(_text(path), _text(error, "red"), "", "")
            continue
        first, *others = top
        rest = ", ".join(f"{entry['class']} {number(entry, emit)}" for entry in others)
        cells = (_text(path), _text(first["class"]), number(first, emit), _text(rest))
        table.add_row(*cells, *(() if decision is None else (_text(decision),)))
    return table


def _text(text: str, style: str = "") -> Text:
    """Return a cell in one line: a name with a line break would look like two rows."""
    return Text(escape_control(text), style)


def describe_decision(
    abstain: bool | None, held: Sequence[str] | None, unlike: bool | None
) -> str | None:
    """Return what a classifier decides of an answer, in words; None if it has no rules.

    Example:
        >>> describe_decision(True, ["ants", "bees"], True), describe_decision(None, None, None)
        ('abstains; set: ants, bees; unlike training images', None)
    """
    parts = [] if abstain is None else ["abstains" if abstain else "answers"]
    if held is not None:
        parts.append(f"set: {', '.join(held) or 'none'}")
    if unlike:
        parts.append("unlike training images")
    return "; ".join(parts) or None


def value_name(emit: Emit) -> Literal["prob", "logit"]:
    """Return the key of what is shown in a candidate."""
    return "prob" if emit == "probs" else "logit"


def number(candidate: Candidate, emit: Emit) -> str:
    """Return the probability in percent, or the logit, as text."""
    value = candidate[value_name(emit)]
    return f"{value:.2%}" if emit == "probs" else f"{value:.4f}"
