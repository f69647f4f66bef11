"""Which epoch is kept: the one that is best on val, by what `--select-by` names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from softonce.config.train import SelectBy
    from softonce.metrics import Figures

FIELDS: dict[SelectBy, str] = {
    "top1": "top1",
    "nll": "nll",
    "macro_f1": "macro_f1",
    "balanced": "balanced_accuracy",
}
"""What each choice is called among the figures."""

LABELS: dict[SelectBy, str] = {
    "top1": "top-1",
    "nll": "NLL",
    "macro_f1": "macro-F1",
    "balanced": "balanced accuracy",
}
"""What a message calls it."""


def values_of(found: Figures) -> dict[str, float]:
    """Return the figures that an epoch can be chosen by."""
    return {name: getattr(found, name) for name in FIELDS.values()}


def is_better(values: Mapping[str, float], best: Mapping[str, float], by: SelectBy) -> bool:
    """Return whether an epoch is better than the best one; of equal ones NLL decides.

    Example:
        >>> one, two = {"top1": 0.9, "nll": 0.5}, {"top1": 0.9, "nll": 0.4}
        >>> is_better(two, one, "top1"), is_better(one, two, "top1")
        (True, False)
    """

    def rank(values: Mapping[str, float]) -> tuple[float, float]:
        value = values[FIELDS[by]]
        return (-value if by == "nll" else value), -values["nll"]

    return not best or rank(values) > rank(best)
