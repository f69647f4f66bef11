"""The page of an audit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from softonce.report import charts
from softonce.report.rendering import write_page

if TYPE_CHECKING:
    from softonce.auditing import Audit


def write_audit_report(audit: Audit, path: str | Path) -> None:
    """Write an audit as one HTML page: the findings, the figures, the reliability diagrams.

    Args:
        audit: what was found.
        path: of the page; replaced if it exists.

    Raises:
        StorageError: if the page cannot be written.
    """
    context = {"audit": audit, "diagrams": _diagrams(audit), "repair": _describe_repair(audit)}
    write_page(Path(path), "audit.html.j2", context)


def _diagrams(audit: Audit) -> list[str]:
    if audit.labelled is None:
        return []
    pairs = {"served": audit.labelled.served, "repaired": audit.labelled.repaired}
    return [
        charts.reliability(found.reliability, name=name, title=f"{name}, ECE {found.ece:.4f}")
        for name, found in pairs.items()
        if found is not None
    ]


def _describe_repair(audit: Audit) -> str:
    parts = []
    extra = audit.recognition.softmaxes.extra
    if audit.recognition.is_undone:
        what = "the second softmax is" if extra == 1 else f"{extra} softmaxes are"
        parts.append(f"{what} undone")
    if audit.temperature != 1:
        parts.append(f"the logits are divided by a temperature of {audit.temperature:.3g}")
    return " and ".join(parts)
