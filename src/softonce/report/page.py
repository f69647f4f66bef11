"""The report's content, and the page that it is written to."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2

from softonce.files import write_text
from softonce.floors import double_softmax_floor
from softonce.report import charts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from softonce.metrics import ClassFigures, Figures

MAX_MATRIX_CLASSES = 40
NUM_WEAKEST = 20
MAX_LIST = 200
MAX_CLASS_ROWS = 1000


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A sample that was confidently predicted as another class.

    Args:
        path: of the image.
        target: class index that it has.
        pred: class index that was predicted.
        prob: probability of `pred`.
        thumbnail: the image, small, as the bytes of a PNG file; empty where there is none.
    """

    path: str
    target: int
    pred: int
    prob: float
    thumbnail: bytes

    @property
    def source(self) -> str:
        """The thumbnail as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.thumbnail).decode("ascii")


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that one page says.

    Args:
        title: the page's heading.
        classes: the class names, in index order.
        headline: short facts under the title, such as model, data and best epoch.
        figures: of the final split, with the temperature.
        temperature: that the probabilities were computed with.
        split: name of the final split.
        uncalibrated: the figures of the same split at a temperature of 1.
        history: rows of `metrics.jsonl`.
        mistakes: the worst ones first.
        bad_files: records with `path` and `reason`.
        leaks: pairs of paths of the same image in two splits.
        notes: sentences that the reader should know.
        config_toml: the resolved configuration.
        versions: of the packages.
        speed: facts with their units.
    """

    title: str
    classes: Sequence[str]
    headline: dict[str, Any]
    figures: Figures
    temperature: float
    split: str
    uncalibrated: Figures | None = None
    history: Sequence[dict[str, Any]] = ()
    mistakes: Sequence[Mistake] = ()
    bad_files: Sequence[dict[str, str]] = ()
    leaks: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    config_toml: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    speed: dict[str, str] = field(default_factory=dict)


def write_report(report: Report, path: Path) -> None:
    """Write the report as one HTML page, whole or not at all.

    Everything lies inside the page: it asks for nothing, runs nothing, and follows the reader's
    light or dark setting. All text is escaped.

    Args:
        report: what the page says.
        path: of the page, usually `report.html` in the run's folder; replaced where it exists.

    Raises:
        StorageError: where the page cannot be written.
    """
    template = resources.files("softonce").joinpath("templates", "report.html.j2")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"percent": _percent, "decimal": _decimal}
    page = environment.from_string(template.read_text(encoding="utf-8")).render(_context(report))
    # A file name that is no UTF-8 holds lone surrogates: they are shown as escapes.
    write_text(path, page.encode("utf-8", "backslashreplace").decode("utf-8"))


def _context(report: Report) -> dict[str, Any]:
    num_classes = len(report.classes)
    floor = double_softmax_floor(num_classes)
    is_small = num_classes <= MAX_MATRIX_CLASSES
    return {
        "report": report,
        "figures": report.figures,
        "classes": report.classes,
        "guessing": math.log(num_classes),
        "floor": floor,
        "curves": _curves(report.history, floor),
        "diagrams": _diagrams(report),
        "matrix": _cells(report.figures.confusion) if is_small else [],
        "per_class": report.figures.per_class if is_small else _weakest(report.figures.per_class),
        "num_shown": num_classes if is_small else NUM_WEAKEST,
        "max_list": MAX_LIST,
    }


def _curves(history: Sequence[dict[str, Any]], floor: float) -> list[str]:
    drawn = (
        charts.curve(history, "loss", label="loss (nats)", floor=floor),
        charts.curve(history, "top1", label="top-1 accuracy"),
        charts.curve(history, "lr", label="learning rate"),
    )
    return [svg for svg in drawn if svg]


def _diagrams(report: Report) -> list[str]:
    after = f"temperature {report.temperature:.3g}, ECE {_decimal(report.figures.ece)}"
    drawn = [charts.reliability(report.figures.reliability, name="after", title=after)]
    if report.uncalibrated is not None:
        before = f"temperature 1, ECE {_decimal(report.uncalibrated.ece)}"
        bins = report.uncalibrated.reliability
        drawn.insert(0, charts.reliability(bins, name="before", title=before))
    return drawn


def _cells(confusion: Sequence[Sequence[int]]) -> list[list[tuple[int, float, float]]]:
    """Count, fraction of its row, and depth of colour, which lets small fractions be seen."""
    shares = [[(count, count / (sum(row) or 1)) for count in row] for row in confusion]
    return [[(count, share, math.sqrt(share)) for count, share in row] for row in shares]


def _weakest(per_class: Sequence[ClassFigures]) -> list[ClassFigures]:
    """Return the classes with the lowest F1, the lowest first; those that never occur last."""
    ranked = sorted(per_class, key=lambda row: math.inf if row["f1"] is None else row["f1"])
    return ranked[:MAX_CLASS_ROWS]


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def _decimal(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
