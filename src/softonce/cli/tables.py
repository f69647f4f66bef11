"""What the verbs print: tables on standard output."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from softonce.artefact import Metadata
    from softonce.evaluation import Evaluation
    from softonce.exporting.parity import Parity
    from softonce.prediction.predictor import Record

_MAX_CLASSES = 20
_PIPE_WIDTH = 120
_ANY_WIDTH = 100_000  # a path in a pipe is never cut

_FIGURES = (
    ("top-1", "top1", "{:.2%}"),
    ("top-5", "top5", "{:.2%}"),
    ("NLL (nats)", "nll", "{:.4f}"),
    ("Brier", "brier", "{:.4f}"),
    ("ECE", "ece", "{:.2%}"),
    ("adaptive ECE", "adaptive_ece", "{:.2%}"),
)


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the figures of a split with their intervals, before and after the temperature."""
    found, plain = evaluation.figures, evaluation.uncalibrated
    calibrated = evaluation.temperature != 1.0
    title = (
        f"{format_count(found.n, 'image')} of {evaluation.split}, "
        f"{format_count(len(evaluation.classes), 'class')}"
    )
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    if calibrated:
        table.add_column("at temperature 1", justify="right")
    for label, name, form in _FIGURES:
        if name == "top5" and not found.can_miss_top5:
            continue
        row = [label, form.format(getattr(found, name)), _interval(found.intervals, name, form)]
        if calibrated:
            changes = name not in ("top1", "top5")
            row.append(form.format(getattr(plain, name)) if changes else "")
        table.add_row(*row)
    if calibrated:
        table.add_row("temperature", f"{evaluation.temperature:.3f}", "", "")
    _console().print(table)


def print_predictions(records: Iterable[Record], *, emit: str) -> None:
    """Print a row a path: the class, its number, and the next ones."""
    value: Literal["prob", "logit"] = "prob" if emit == "probs" else "logit"
    table = Table(box=None, pad_edge=False)
    table.add_column("path", overflow="fold")
    for name in ("class", value, "next"):
        table.add_column(name)
    for record in records:
        if record["error"] is not None:
            table.add_row(Text(record["path"] or ""), Text(record["error"], style="red"), "", "")
            continue
        first, *others = record["top"]
        rest = ", ".join(f"{entry['class']} {_number(entry[value], emit)}" for entry in others)
        table.add_row(
            Text(record["path"] or ""),
            Text(first["class"]),
            _number(first[value], emit),
            Text(rest),
        )
    _console(pipe_width=_ANY_WIDTH).print(table)


def print_parity(parity: Parity) -> None:
    """Print how an exported file compares with its artefact."""
    before, after = parity.images_per_second
    rows = {
        "largest difference of a probability, given the same pixels": f"{parity.same_pixels:.1e}",
        "from the pictures themselves: largest": f"{parity.largest:.1e}",
        "from the pictures themselves: median": f"{parity.median:.1e}",
        "the same first class": f"{parity.agreement:.2%}",
    }
    if parity.accuracy is not None:
        rows["accuracy, artefact and file"] = "{:.2%}, {:.2%}".format(*parity.accuracy)
    rows["images a second, artefact and file"] = f"{before:.0f}, {after:.0f}"
    table = Table(box=None, pad_edge=False, show_header=False)
    table.title, table.title_justify = f"compared on {format_count(parity.n, 'picture')}", "left"
    for label, text in rows.items():
        table.add_row(label, text)
    _console().print(table)


def print_metadata(metadata: Metadata) -> None:
    """Print what an artefact says of itself."""
    table = Table(box=None, pad_edge=False, show_header=False)
    classes = ", ".join(metadata.classes[:_MAX_CLASSES])
    more = len(metadata.classes) - _MAX_CLASSES
    rows = {
        "architecture": metadata.arch,
        "arguments": _listed(metadata.arch_args),
        "classes": f"{len(metadata.classes)}: {classes}"
        + (f" and {more} more" if more > 0 else ""),
        "preprocessing": _listed(metadata.preprocessing.to_dict()),
        "output": metadata.output,
        "temperature": f"{metadata.temperature:.4f}",
        "training": _listed({k: v for k, v in metadata.training.items() if k != "metrics"}),
        "metrics": _listed(metadata.training.get("metrics", {})),
    }
    for label, text in rows.items():
        table.add_row(Text(label, style="bold"), Text(text))
    _console().print(table)


def print_lesson(lesson: Mapping[str, Any]) -> None:
    """Print a row of logits through one softmax and through two."""
    row = "logits" if lesson["temperature"] == 1 else f"logits / {lesson['temperature']:g}"
    smoothing = lesson["label_smoothing"]
    option = f", label_smoothing={smoothing:g}" if smoothing else ""
    table = Table(box=None, pad_edge=False)
    for name in ("class", "logit", f"softmax({row})", "log_softmax", "gradient", "gradient, twice"):
        table.add_column(name, justify="right")
    names = ("logits", "softmax", "log_softmax", "gradient", "gradient_of_softmax")
    for index, values in enumerate(zip(*(lesson[name] for name in names), strict=True)):
        is_target = index == lesson["target"]
        label = f"target {index}" if is_target else str(index)
        cells = (f"{value:.4f}" for value in values)
        table.add_row(label, *cells, style="bold" if is_target else None)
    lines = Table(box=None, pad_edge=False, show_header=False)
    route = f"nll_loss(log_softmax({row}), target)"
    if smoothing:
        route = f"{1 - smoothing:g} {route} + {smoothing:g} mean(-log_softmax({row}))"
    lines.add_row("one softmax", route, f"{lesson['nll_loss']:.4f}")
    lines.add_row("", f"cross_entropy({row}, target{option})", f"{lesson['cross_entropy']:.4f}")
    twice = f"{lesson['cross_entropy_of_softmax']:.4f}"
    lines.add_row("two softmaxes", f"cross_entropy(softmax({row}), target{option})", twice)
    if lesson["floor"] is not None:
        lines.add_row("", "which is never below ln(1 + (C-1)/e)", f"{lesson['floor']:.4f}")
    length, length_twice = (math.hypot(*lesson[name]) for name in names[-2:])
    if length:
        ratio = f"{length_twice / length:.4f}"
        lines.add_row("", "length of its gradient, where the right one's is 1", ratio)
    console = _console()
    console.print(table)
    console.print()
    console.print(lines)


def print_paths(paths: Mapping[str, Path]) -> None:
    """Print where things are, each on a line that can be copied."""
    for label, path in paths.items():
        _console().print(Text(f"{label}: {path}"), soft_wrap=True)


def _interval(intervals: Mapping[str, tuple[float, float]], name: str, form: str) -> str:
    if name not in intervals:
        return ""
    low, high = intervals[name]
    return f"{form.format(low)} to {form.format(high)}"


def _number(value: float, emit: str) -> str:
    return f"{value:.2%}" if emit == "probs" else f"{value:.4f}"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )


def _console(*, pipe_width: int = _PIPE_WIDTH) -> Console:
    """Return standard output as it is now; a pipe has no width of its own."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=pipe_width)
