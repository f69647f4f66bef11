"""The charts of the report, as inline SVG whose colours and fonts are those of the page."""

from __future__ import annotations

import html
import io
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from softonce.plots import DASHES, Palette, draw_reliability, style_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
_SQUASHING = 3.0  # from here on all other points would share less than a third of the axis
_MAX_POINTS = 300
"""More points than pixels would only make the page larger."""
_OF = {"train": TRAIN, "val": VAL}
_PALETTE = Palette(INK, MUTED, first=VAL, second=TRAIN, paper="none")
_STYLE = style_of(_PALETTE) | {"svg.fonttype": "none", "svg.hashsalt": "softonce"}


@dataclass(frozen=True)
class Lines:
    """Columns of a run's history as lines over training.

    Args:
        points: of each split, (epoch or step, value); a split without finite values is left out.
        x_name: `epoch` if every epoch has one row of a split, else `step`.
    """

    points: Mapping[str, Sequence[tuple[int, float]]]
    x_name: str

    @classmethod
    def of(cls, history: Sequence[dict[str, Any]], columns: Mapping[str, str]) -> Lines:
        """Collect one column of each split.

        Args:
            history: rows of `metrics.jsonl`.
            columns: the column that each split is drawn by; rows without it are left out.
        """
        rows = [row for row in history if columns.get(row["split"]) in row]
        epochs = [(row["split"], row["epoch"]) for row in rows]
        x_name = "epoch" if len(epochs) == len(set(epochs)) else "step"
        points: dict[str, list[tuple[int, float]]] = {}
        for split, column in columns.items():
            found = [(row[x_name], row[column]) for row in rows if row["split"] == split]
            if finite := [point for point in found if math.isfinite(point[1])]:
                points[split] = finite
        return cls(points, x_name)

    def outlier(self) -> tuple[int, float] | None:
        """Return the largest point if it is the first of its line and would squash all others."""
        ranked = sorted((p for line in self.points.values() for p in line), key=lambda p: p[1])
        if len(ranked) < 2 or ranked[-1] not in [line[0] for line in self.points.values()]:
            return None
        return ranked[-1] if ranked[-1][1] > _SQUASHING * ranked[-2][1] > 0 else None

    def reaches(self, floor: float) -> bool:
        """Return whether a line comes near a value from above, so that it is worth marking."""
        values = [value for line in self.points.values() for _, value in line]
        # Within twice the floor a reader may wonder; below every value it would squash the lines.
        return bool(values) and min(values) / 2 <= floor <= max(values)


def curve(
    lines: Lines,
    *,
    name: str,
    label: str,
    floor: float | None = None,
    as_percent: bool = False,
    cuts_outlier: bool = False,
) -> str:
    """Draw lines over training.

    Args:
        lines: what to draw; a chart of none is no chart.
        name: of the chart, different for every chart of a page.
        label: what the vertical axis shows, and its unit.
        floor: a value to mark by a dashed line.
        as_percent: whether the values are fractions to write in percent.
        cuts_outlier: whether the axis ends below a first point that is far above all others.

    Returns:
        The chart, or nothing if there is no line.
    """
    if not lines.points:
        return ""

    def draw(axes: Axes) -> None:
        for split, points in lines.points.items():
            # Points of few epochs are marked: a single one would leave no line at all.
            marker = "o" if len(points) <= 40 else None
            axes.plot(*zip(*points, strict=True), color=_OF[split], marker=marker, label=split)
        # The unit stands above the axis: beside it, a browser's wider font would be cut off.
        axes.set(xlabel=lines.x_name, title=label)
        axes.locator_params(axis="x", integer=True)
        if cuts_outlier and (outlier := lines.outlier()) is not None:
            _clip_axis(axes, outlier, lines)
        if as_percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        if floor is not None:
            words = f"two softmaxes: {floor:.3f}"
            axes.axhline(floor, color=MUTED, linewidth=0.8, linestyle=DASHES, label=words)
        axes.figure.legend(loc="outside lower center", ncols=3, columnspacing=1.0)

    return _svg(draw, name=name, title=f"{label} over training", size=(3.2, 2.6))


def _clip_axis(axes: Axes, outlier: tuple[int, float], lines: Lines) -> None:
    """End the axis above the other points, and write the value that lies beyond.

    Before its statistics have settled, batch normalisation may cost val many nats in the first
    epoch, and a later rise of half a nat, which is overfitting, would not be seen beside it.
    """
    rest = [value for line in lines.points.values() for _, value in line if value != outlier[1]]
    low, top = min(rest), 1.25 * max(rest)
    axes.set_ylim(low - 0.05 * (top - low), top)
    axes.annotate(f" {outlier[1]:.3g} \N{UPWARDS ARROW}", (outlier[0], top), va="top")


def reliability(bins: Sequence[ReliabilityBin], *, name: str, title: str) -> str:
    """Draw a reliability diagram: accuracy over confidence.

    Args:
        bins: the bins of `Figures.reliability`.
        name: of the chart, different for every chart of a page.
        title: what stands above it.

    Returns:
        The chart.
    """

    def draw(axes: Axes) -> None:
        draw_reliability(axes, bins, title=title, palette=_PALETTE)

    return _svg(draw, name=name, title=f"Reliability diagram, {title}", size=(3.6, 3.4))


def coverage(points: Sequence[tuple[float, float]], *, name: str) -> str:
    """Draw accuracy against coverage: how many answers are right if only the surest are given.

    Args:
        points: (coverage, accuracy), by rising coverage.
        name: of the chart, different for every chart of a page.

    Returns:
        The chart.
    """
    # More points than pixels would only make the page larger; the last is the accuracy of all.
    shown = [*points[:: max(1, len(points) // _MAX_POINTS)], points[-1]]

    def draw(axes: Axes) -> None:
        axes.plot(*zip(*shown, strict=True), color=VAL)
        axes.set(xlabel="answers given, the surest first", title="accuracy of these", xlim=(0, 1))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0))

    return _svg(draw, name=name, title="Accuracy against coverage", size=(3.6, 3.4))


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
