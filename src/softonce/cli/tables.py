"""What the verbs print: tables on standard output."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from softonce.console.plain import PlainConsole
from softonce.console.tables import set_apart
from softonce.plurals import format_count
from softonce.prediction.table import build_table, describe_decision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from softonce.adoption import Adopted
    from softonce.artefact import Metadata
    from softonce.auditing.result import Audit
    from softonce.decisions import Decisions
    from softonce.evaluation import Comparison, Evaluation
    from softonce.exporting.parity import Parity
    from softonce.models.listing import Row
    from softonce.prediction.predictor import Record
    from softonce.prediction.table import Emit

_MAX_CLASSES = 20
"""Class names that one line can hold; the number of the others follows."""
_PIPE_WIDTH = 120
"""Columns of a table that goes to a file or a pipe, which have no width."""
_NAMES_WIDTH = 160  # timm's longest names, and three numbers beside them
_ANY_WIDTH = 100_000  # a path in a pipe is never cut


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the figures of a split with their intervals, before and after the temperature."""
    _console().print(set_apart(evaluation.table()))


def print_audit(audit: Audit) -> None:
    """Print what an audit found, with the evidence, and the figures if there are labels."""
    console = _console()
    console.print(set_apart(audit.table()))
    if (figures := audit.figures_table()) is not None:
        console.print(figures)


def print_comparison(comparison: Comparison) -> None:
    """Print the figures of two classifiers, and their differences with intervals."""
    _console().print(set_apart(comparison.table()))


def print_decisions(decisions: Decisions, title: str) -> None:
    """Print the rules that a classifier decides by, and what they did on the images here."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.title = title
    for label, text in decisions.in_words().items():
        table.add_row(label, text)
    if not table.rows:
        table.add_row("no rules", "every answer is given")
    _console().print(set_apart(table))


def print_predictions(records: Iterable[Record], *, emit: Emit) -> None:
    """Print a row a path: the class, its number, and the next ones."""
    rows = (
        (
            record["path"] or "",
            record["top"],
            record["error"],
            describe_decision(record.get("abstain"), record.get("set"), record.get("unlike")),
        )
        for record in records
    )
    _console(pipe_width=_ANY_WIDTH).print(build_table(rows, emit=emit))


def print_parity(parity: Parity) -> None:
    """Print how an exported file compares with its artefact."""
    before, after = parity.images_per_second
    rows = {
        "largest probability difference, same pixels": f"{parity.same_pixels:.1e}",
        "largest probability difference, from files": f"{parity.largest:.1e}",
        "median probability difference, from files": f"{parity.median:.1e}",
        "same top-1 class": f"{parity.agreement:.2%}",
    }
    if parity.accuracy is not None:
        rows["accuracy: artefact, file"] = "{:.2%}, {:.2%}".format(*parity.accuracy)
    rows["images per second: artefact, file"] = f"{before:.0f}, {after:.0f}"
    table = Table(box=None, pad_edge=False, show_header=False)
    table.title, table.title_justify = f"compared on {format_count(parity.n, 'picture')}", "left"
    for label, text in rows.items():
        table.add_row(label, text)
    _console().print(table)


def print_adopted(adopted: Adopted) -> None:
    """Print what was found in a foreign model file, and how the new one compares with it."""
    agreement = adopted.agreement
    kind = "" if agreement.is_real else "made-up "
    compared = (
        f"on {agreement.n} {kind}pictures, answers differ by {agreement.probs:.1e} at most "
        "(temperature 1)"
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    for label, text in (adopted.notes | {"compared": compared}).items():
        table.add_row(Text(label), Text(text))
    _console().print(table)


def print_metadata(metadata: Metadata) -> None:
    """Print what an artefact says of itself."""
    table = Table(box=None, pad_edge=False, show_header=False)
    classes = ", ".join(metadata.classes[:_MAX_CLASSES])
    more = len(metadata.classes) - _MAX_CLASSES
    rows = {
        "architecture": metadata.arch,
        "arguments": _list(metadata.arch_args),
        "classes": f"{len(metadata.classes)}: {classes}"
        + (f" and {more} more" if more > 0 else ""),
        "preprocessing": _list(metadata.preprocessing.to_dict()),
        "output": metadata.output,
        "temperature": f"{metadata.temperature:.4f}",
        "training": _list({k: v for k, v in metadata.training.items() if k != "metrics"}),
        "metrics": _spell(metadata.training.get("metrics", {})).strip("()"),
    }
    for name, rule in metadata.decisions.to_dict().items():
        rows[name] = _list(rule)
    if metadata.packages:
        rows["packages"] = _list(metadata.packages)
    for label, text in rows.items():
        table.add_row(Text(label, style="bold"), Text(text))
    _console().print(table)


def print_networks(rows: Iterable[Row]) -> None:
    """Print the networks that can be trained."""
    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for title in ("parameters", "pixels", "top-1"):
        table.add_column(title, justify="right")
    for row in rows:
        top1 = "" if row.accuracy is None else f"{row.accuracy:.2f} %"
        numbers = ("" if n is None else f"{n:,}" for n in (row.num_params, row.size))
        table.add_row(row.name, *numbers, top1)
    _console(pipe_width=_NAMES_WIDTH).print(table)


def print_lesson(lesson: Mapping[str, Any]) -> None:
    """Print a row of logits through one softmax and through two."""
    row = "logits" if lesson["temperature"] == 1 else f"logits / {lesson['temperature']:g}"
    smoothing = lesson["label_smoothing"]
    option = f", label_smoothing={smoothing:g}" if smoothing else ""
    table = Table(box=None, pad_edge=False)
    gradients = ("gradient,\none softmax", "gradient,\ntwo softmaxes")
    for name in ("class", "logit", f"softmax({row})", f"log_softmax({row})", *gradients):
        table.add_column(name, justify="right", vertical="bottom")
    names = ("logits", "softmax", "log_softmax", "gradient", "gradient_of_softmax")
    for index, values in enumerate(zip(*(lesson[name] for name in names), strict=True)):
        is_target = index == lesson["target"]
        label = f"{index} (target)" if is_target else str(index)
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
        lines.add_row("", "its lower bound, ln(1 + (C-1)/e)", f"{lesson['floor']:.4f}")
    length, length_twice = (math.hypot(*lesson[name]) for name in names[-2:])
    if length:
        ratio = f"{length_twice / length:.4f}"
        lines.add_row("", "norm of its gradient, relative to one softmax", ratio)
    console = _console()
    console.print(table)
    console.print()
    console.print(lines)


def print_paths(paths: Mapping[str, Path]) -> None:
    """Print where things are, each on a line that can be copied."""
    for label, path in paths.items():
        _console().print(Text(f"{label}: {path}"), soft_wrap=True)


def _list(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_spell(value)}" for name, value in values.items())


def _spell(value: Any) -> str:
    if isinstance(value, dict):
        return f"({_list(value)})"
    if isinstance(value, list | tuple):
        return " ".join(map(_spell, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _console(*, pipe_width: int = _PIPE_WIDTH) -> PlainConsole:
    """Return standard output as it is now; a pipe has no width of its own."""
    console = PlainConsole(highlight=False)
    return console if console.is_terminal else PlainConsole(highlight=False, width=pipe_width)
