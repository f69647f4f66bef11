"""Figures of matplotlib that the report and notebooks share; the global state is left alone."""

from __future__ import annotations

import io
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from softonce.errors import MissingExtraError

try:
    from matplotlib import style
    from matplotlib.figure import Figure
except ImportError as error:
    raise MissingExtraError.of("matplotlib", "train") from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

    from softonce.metrics import ReliabilityBin

DASHES = (0, (4, 3))
_CAPTION_LETTERS = 26  # in a line above a picture of two inches
_MAX_CELL_NUMBERS = 15
"""Up to so many classes the cells of a confusion matrix have room for their numbers."""
_MAX_TICKS = 40
"""More class names would overlap."""


@dataclass(frozen=True)
class Palette:
    """The colours of a figure, as matplotlib takes them."""

    ink: str
    muted: str
    first: str
    second: str
    paper: str


NOTEBOOK = Palette("#1c1b19", "#6f6b64", first="#1f5b8f", second="#b4531d", paper="white")


class Chart(Figure):
    """A figure that a notebook shows, whether or not pyplot has been imported."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=120)
        return file.getvalue()


def style_of(palette: Palette) -> dict[str, Any]:
    """Return matplotlib's settings for these colours."""
    return {
        "font.size": 9.0,
        "text.color": palette.ink,
        "axes.labelcolor": palette.ink,
        "axes.edgecolor": palette.muted,
        "axes.facecolor": "none",
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9.0,
        "axes.titlelocation": "left",
        "figure.facecolor": palette.paper,
        "figure.constrained_layout.use": True,
        "legend.frameon": False,
        "legend.fontsize": 8.0,
        "lines.linewidth": 1.3,
        "lines.markersize": 2.5,
        "xtick.color": palette.muted,
        "ytick.color": palette.muted,
        "xtick.labelcolor": palette.ink,
        "ytick.labelcolor": palette.ink,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
    }


@contextmanager
def _use_style(palette: Palette) -> Iterator[None]:
    with style.context(["default", style_of(palette)]):
        yield


def plot_reliability(bins: Sequence[ReliabilityBin], *, title: str) -> Figure:
    """Return a reliability diagram as a figure of its own."""
    with _use_style(NOTEBOOK):
        figure = Chart(figsize=(3.6, 3.4))
        draw_reliability(figure.subplots(), bins, title=title, palette=NOTEBOOK)
    return figure


def draw_reliability(
    axes: Axes, bins: Sequence[ReliabilityBin], *, title: str, palette: Palette
) -> None:
    """Draw accuracy over confidence, the gap between them, and how many images each bin holds.

    Args:
        axes: to draw on.
        bins: the bins of `Figures.reliability`.
        title: what stands above.
        palette: `first` is accuracy, `second` the gap.
    """
    filled = [bin_ for bin_ in bins if bin_["count"]]
    middles = [(bin_["low"] + bin_["high"]) / 2 for bin_ in filled]
    accuracy, confidence, counts = (
        np.array([bin_[key] for bin_ in filled], dtype=float)
        for key in ("accuracy", "confidence", "count")
    )
    width, first, second = 0.9 / len(bins), palette.first, palette.second
    axes.plot([0, 1], [0, 1], color=palette.muted, linewidth=0.8, linestyle=DASHES)
    axes.bar(middles, np.minimum(accuracy, confidence), width, color=first, alpha=0.3)
    axes.bar(middles, confidence - accuracy, width, accuracy, color=second, alpha=0.5, label="gap")
    axes.errorbar(middles, accuracy, xerr=width / 2, fmt="none", color=first, label="accuracy")
    axes.bar(middles, 0.12 * counts / counts.max(), width, -0.17, color=palette.muted, alpha=0.6)
    axes.axhline(0, color=palette.muted, linewidth=0.6)
    axes.set(xlim=(0, 1), ylim=(-0.17, 1.02), xlabel="confidence", title=title)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.spines.bottom.set_visible(False)
    axes.figure.legend(loc="outside lower center", ncols=2, reverse=True)


def plot_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Return a confusion matrix: a row a class of the data, a column a predicted class.

    A cell's colour is its share of the row; up to 15 classes it has its count, too.

    Args:
        confusion: the counts of `Figures.confusion`.
        classes: the class names, in index order.
    """
    counts = np.array(confusion)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(12.0, 2.2 + 0.36 * len(classes))
    with _use_style(NOTEBOOK):
        figure = Chart(figsize=(side, side))
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set(xlabel="predicted", ylabel="target")
        every = -(-len(classes) // _MAX_TICKS)
        places = range(0, len(classes), every)
        names = [textwrap.shorten(classes[place], 24, placeholder="...") for place in places]
        axes.set_xticks(places, names, rotation=90)
        axes.set_yticks(places, names)
        if len(classes) <= _MAX_CELL_NUMBERS:
            for (row, column), count in np.ndenumerate(counts):
                colour = "white" if shares[row, column] > 0.5 else NOTEBOOK.ink
                axes.text(column, row, str(count), ha="center", va="center", color=colour)
    return figure


def plot_pictures(pictures: Sequence[tuple[bytes, str]], *, columns: int) -> Figure:
    """Return pictures with a caption above each; one that is not there is a blank with its caption.

    Args:
        pictures: the bytes of image files, and captions.
        columns: pictures side by side.
    """
    from PIL import Image

    columns = max(1, min(columns, len(pictures)))
    rows = max(1, -(-len(pictures) // columns))
    with _use_style(NOTEBOOK):
        figure = Chart(figsize=(2 * columns, 2.2 * rows))
        grid = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes in grid:
            axes.set_axis_off()
        for axes, (data, caption) in zip(grid, pictures, strict=False):
            if data:
                image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
                axes.imshow(image, interpolation="nearest")
            lines = textwrap.wrap(caption, _CAPTION_LETTERS)[:3]
            axes.set_title("\n".join(lines), loc="center", parse_math=False)
    return figure
