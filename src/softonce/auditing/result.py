"""What an audit found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from softonce.console.tables import format_table
from softonce.metrics.table import figure_rows
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from softonce.auditing.answers import Answers
    from softonce.auditing.findings import Finding
    from softonce.auditing.labelled import Labelled
    from softonce.auditing.recognition import Recognition
    from softonce.metrics import Figures
    from softonce.metrics.table import FigureRow

_FIGURES = ("top1", "top5", "nll", "brier", "ece", "adaptive_ece")
_TEXT_WIDTH = 120


@dataclass(frozen=True, repr=False)
class Audit:
    """What an audit found; printed, it is the table of `softonce audit`.

    Args:
        target: what was audited.
        answers: its numbers.
        recognition: what they mean.
        findings: with their evidence, the faults first.
        labelled: what labels say, if there are any.
    """

    target: str
    answers: Answers
    recognition: Recognition
    findings: tuple[Finding, ...]
    labelled: Labelled | None = None

    @property
    def faults(self) -> list[Finding]:
        """The findings by which the numbers do not mean what they are read as."""
        return [finding for finding in self.findings if finding.level == "fault"]

    @property
    def temperature(self) -> float:
        """The temperature that a repair divides by; 1 without labels that show one."""
        return 1.0 if self.labelled is None else self.labelled.temperature

    @property
    def title(self) -> str:
        """What was audited, in one line."""
        num, classes = len(self.answers), len(self.answers.classes)
        labels = "without labels" if self.answers.target is None else "with labels"
        return (
            f"{self.target}: {format_count(num, 'answer')} over {format_count(classes, 'class')}, "
            f"{labels}"
        )

    @property
    def verdict(self) -> str:
        """Whether there is a fault, in one line."""
        if not self.faults:
            return "no fault"
        return f"{format_count(len(self.faults), 'fault')}: " + "; ".join(
            finding.says for finding in self.faults
        )

    def table(self) -> Table:
        """Return the findings, and beneath them the figures if there are labels."""
        table = Table(title=self.title, box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column()
        for finding in self.findings:
            table.add_row(finding.level, _escape(f"{finding.says} ({finding.sure})"))
            table.add_row("", f"[dim]{_escape(finding.evidence)}[/dim]")
            if finding.fix:
                table.add_row("", f"[dim]to do: {_escape(finding.fix)}[/dim]")
        table.caption = self.verdict
        return table

    def figures_table(self) -> Table | None:
        """Return the figures as served and as repaired; None without labels."""
        if self.labelled is None:
            return None
        served, repaired = self.labelled.served, self.labelled.repaired
        table = Table(box=None, pad_edge=False)
        for name in (
            "",
            "served",
            "95 % interval",
            *(("repaired", "95 % interval") if repaired else ()),
        ):
            table.add_column(name, justify="right" if name else "left")
        rows = {row.label: row for row in figure_rows(served, served, 1.0)}
        after = (
            {} if repaired is None else {r.label: r for r in figure_rows(repaired, repaired, 1.0)}
        )
        for label in _LABELS:
            if label in rows:
                cells = [rows[label].value, rows[label].interval]
                cells += [after[label].value, after[label].interval] if label in after else []
                table.add_row(label, *cells)
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return the record that `softonce audit --json` prints."""
        scale, softmaxes = self.recognition.scale, self.recognition.softmaxes
        record: dict[str, Any] = {
            "target": self.target,
            "n": len(self.answers),
            "classes": list(self.answers.classes),
            "fault": bool(self.faults),
            "kind": scale.kind,
            "factor": scale.factor,
            "precision": scale.precision.name,
            "top_k": scale.top_k,
            "softmaxes": _count(self.recognition),
            "inner": "sigmoid" if softmaxes.verdict == "sigmoids" else None,
            "temperature": self.temperature,
            "findings": [finding.to_dict() for finding in self.findings],
        }
        if self.labelled is not None:
            record["served"] = _figures(self.labelled.served)
            repaired = self.labelled.repaired
            record["repaired"] = None if repaired is None else _figures(repaired)
        return record

    def write(self, path: str | Path) -> None:
        """Write the answers of a file repaired: further softmaxes undone, and the temperature.

        The file has the format, the columns and the order of the one that was audited.

        Args:
            path: the file; its suffix is that of the audited one.

        Raises:
            ArgumentError: if no file was audited, or there is nothing that can be repaired.
            StorageError: if the file cannot be written.
        """
        from softonce.auditing.repair import write_repaired

        write_repaired(self, path)

    def __repr__(self) -> str:
        figures = self.figures_table()
        parts = [format_table(self.table(), width=_TEXT_WIDTH)]
        if figures is not None:
            parts.append(format_table(figures, width=_TEXT_WIDTH))
        return "\n".join(parts)


_LABELS = ("top-1", "top-5", "NLL (nats)", "Brier", "ECE", "adaptive ECE")


def _rows(found: Figures) -> dict[str, FigureRow]:
    return {row.label: row for row in figure_rows(found, found, 1.0)}


def sort_findings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings with the faults first, then the warnings."""
    order = ("fault", "warning", "note")
    return tuple(sorted(findings, key=lambda finding: order.index(finding.level)))


def _count(found: Recognition) -> int | None:
    """Return how many softmaxes there were; None if that cannot be told or there was none."""
    verdict, extra = found.softmaxes.verdict, found.softmaxes.extra
    return {"once": 1, "more": 1 + extra, "either": 1 + extra, "sigmoids": 1}.get(verdict)


def _figures(found: Figures) -> dict[str, Any]:
    values = {name: getattr(found, name) for name in _FIGURES}
    kept = {name: list(bounds) for name, bounds in found.intervals.items() if name in values}
    return {**values, "intervals": kept}


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
