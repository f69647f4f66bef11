"""The charts of the report, as inline SVG whose colours and fonts are those of the page."""

from __future__ import annotations

import html
import io
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from softonce.metrics import ReliabilityBin

# matplotlib draws with stand-ins; the page says what they look like, in light and in dark.
INK, MUTED, TRAIN, VAL = "#010101", "#020202", "#030303", "#040404"
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    TRAIN: "var(--second)",
    VAL: "var(--first)",
}
DASHES = (0, (4, 3))
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "softonce",
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.linewidth": 1.3,
    "lines.markersize": 2.5,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


def curve(
    history: Sequence[dict[str, Any]], key: str, *, label: str, floor: float | None = None
) -> str:
    """Draw one column of the history over training, train and val apart.

    Args:
        history: rows of `metrics.jsonl`.
        key: the column; rows without it are left out.
        label: what the vertical axis says.
        floor: a value to mark by a dashed line, drawn only where the curve comes near it.

    Returns:
        The chart, or nothing where no row has a finite value.
    """
    x_name = "epoch" if _one_row_an_epoch(history, key) else "step"
    lines = {
        split: [
            (row[x_name], row[key])
            for row in history
            if row["split"] == split and math.isfinite(row.get(key, math.nan))
        ]
        for split in ("train", "val")
    }
    if not any(lines.values()):
        return ""

    def draw(axes: Axes) -> None:
        for (split, points), colour in zip(lines.items(), (TRAIN, VAL), strict=True):
            marker = "o" if 0 < len(points) <= 40 else None
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, marker=marker, label=split)
        axes.set(xlabel=x_name, ylabel=label)
        axes.locator_params(axis="x", integer=True)
        values = [value for points in lines.values() for _, value in points]
        if floor is not None and min(values) / 2 <= floor <= max(values):
            words = f"floor of a doubled softmax: {floor:.3f}"
            axes.axhline(floor, color=MUTED, linewidth=0.8, linestyle=DASHES, label=words)
        # Not "best", which searches, and warns that it is slow where the points are many.
        axes.legend(loc="lower right" if values[-1] > values[0] else "upper right")

    return _svg(draw, name=key, title=f"{label} over training", size=(3.2, 2.5))


def reliability(bins: Sequence[ReliabilityBin], *, name: str, title: str) -> str:
    """Draw accuracy over confidence, the gap between them, and how many images each bin holds.

    Args:
        bins: the bins of `Figures.reliability`.
        name: of the chart, different for every chart of a page.
        title: what stands above it.

    Returns:
        The chart.
    """
    filled = [bin_ for bin_ in bins if bin_["count"]]
    middles = [(bin_["low"] + bin_["high"]) / 2 for bin_ in filled]
    accuracy, confidence, counts = (
        np.array([bin_[key] for bin_ in filled], dtype=float)
        for key in ("accuracy", "confidence", "count")
    )
    width = 0.9 / len(bins)

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=DASHES)
        axes.bar(middles, np.minimum(accuracy, confidence), width, color=VAL, alpha=0.3)
        axes.bar(
            middles, confidence - accuracy, width, accuracy, color=TRAIN, alpha=0.5, label="gap"
        )
        axes.errorbar(middles, accuracy, xerr=width / 2, fmt="none", color=VAL, label="accuracy")
        axes.bar(middles, 0.12 * counts / counts.max(), width, -0.17, color=MUTED, alpha=0.6)
        axes.axhline(0, color=MUTED, linewidth=0.6)
        axes.set(xlim=(0, 1), ylim=(-0.17, 1.02), xlabel="confidence", title=title)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
        axes.spines.bottom.set_visible(False)
        axes.figure.legend(loc="outside lower center", ncols=2, reverse=True)

    return _svg(draw, name=name, title=f"Reliability diagram, {title}", size=(3.6, 3.4))


def _one_row_an_epoch(history: Sequence[dict[str, Any]], key: str) -> bool:
    points = [(row["split"], row["epoch"]) for row in history if key in row]
    return len(points) == len(set(points))


def _svg(draw: Callable[[Axes], None], *, name: str, title: str, size: tuple[float, float]) -> str:
    """Draw on axes of their own; leave matplotlib's global state as it was."""
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=size)
        draw(figure.subplots())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return _inline(text.getvalue(), name=name, title=title)


def _inline(svg: str, *, name: str, title: str) -> str:
    """Make a stand-alone SVG part of a page: its own ids, the page's colours, a spoken title."""
    body = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    return body.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1)
