"""What is reported, how it is printed, and the exit status."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from softonce.checker.catalog import RULES
from softonce.checker.rule import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    ReadLine = Callable[["Place"], str]

STATUS_CLEAN, STATUS_FINDINGS = 0, 1


class Place(NamedTuple):
    """A line of a source file, or a node of a model file; lines and columns count from 1.

    In a notebook `cell` counts the cells of code, from 1, and the line is one of the cell's.
    """

    path: str
    line: int = 0
    column: int = 1
    cell: int = 0

    @property
    def spot(self) -> str:
        """Where it is in its file, in words."""
        return f"cell {self.cell}, line {self.line}" if self.cell else f"line {self.line}"

    def __str__(self) -> str:
        """Write it as compilers do."""
        cell = f":cell {self.cell}" if self.cell else ""
        return f"{self.path}{cell}:{self.line}" if self.line else self.path


class Edit(NamedTuple):
    """A safe repair: the bytes [start, stop) of the file become `text`."""

    path: str
    start: int
    stop: int
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule.

    Attributes:
        code: the rule.
        message: one sentence or two, complete without the source.
        place: where it goes wrong: the line of the loss, of the threshold, of the node.
        made: where the kind comes from, if that is another line.
        lowered: one level below the rule's severity: it happens on one branch only, or the values
            only look like it.
        path: places that the value went through, from `made` to `place`.
        witness: how it is known: source, tag, grad_fn, value or graph.
        edits: the repair, where it is safe.

    Example:
        >>> finding = Finding("SO101", "softmaxed twice", Place("train.py", 7), Place("net.py", 3))
        >>> finding.severity.value, str(finding.place)
        ('error', 'train.py:7')
    """

    code: str
    message: str
    place: Place
    made: Place | None = None
    lowered: bool = False
    path: tuple[Place, ...] = ()
    witness: str = "source"
    edits: tuple[Edit, ...] = field(default=(), compare=False)

    @property
    def severity(self) -> Severity:
        """The rule's, or one level lower."""
        own = RULES[self.code].severity
        return own.lower if self.lowered else own

    @property
    def sort_key(self) -> tuple[str, int, int, str]:
        """Order by place, then by code."""
        return (self.place.path, self.place.line, self.place.column, self.code)


def exit_status(findings: Iterable[Finding], *, strict: bool = False) -> int:
    """Return 1 where an error is among the findings, or, if `strict`, a warning; else 0.

    Example:
        >>> exit_status([Finding("SO302", "redundant", Place("a.py", 1))])
        0
    """
    bad = {Severity.ERROR, Severity.WARNING} if strict else {Severity.ERROR}
    return STATUS_FINDINGS if any(f.severity in bad for f in findings) else STATUS_CLEAN


def counted(findings: Sequence[Finding]) -> str:
    """Say how many there are of each severity.

    Example:
        >>> counted([Finding("SO101", "", Place("a.py", 1))])
        '1 error'
    """
    parts = []
    for severity in Severity:
        number = sum(f.severity is severity for f in findings)
        if number:
            parts.append(f"{number} {severity.value}{'s' if number > 1 else ''}")
    return ", ".join(parts) or "no findings"


def to_text(findings: Sequence[Finding], read_line: ReadLine) -> str:
    """Write each finding with its source lines; `read_line(place)` gives a line's text.

    Example:
        >>> print(to_text([Finding("SO302", "redundant", Place("a.py", 1))], lambda place: "ce(x)"))
        a.py:1: note SO302 redundant [redundant-log-softmax]
            1 | ce(x)
        <BLANKLINE>
        1 note
    """
    blocks = []
    for f in findings:
        rule = RULES[f.code]
        lines = [f"{f.place}: {f.severity.value} {f.code} {f.message} [{rule.name}]"]
        lines += _excerpts(f, read_line)
        if f.severity is not Severity.NOTE:
            lines.append(f"    fix: {rule.fix}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join([*blocks, counted(findings)])


def _excerpts(finding: Finding, read_line: ReadLine) -> list[str]:
    """Return the source lines of the way, each once, and each file's name where it changes."""
    way = (finding.made, *finding.path, finding.place)
    shown = {(p.path, p.cell, p.line): p for p in way if p is not None and p.line}
    width = max((len(str(p.line)) for p in shown.values()), default=1)
    home = (finding.place.path, finding.place.cell)
    named = home if {key[:2] for key in shown} == {home} else ("", 0)
    lines = []
    for place in shown.values():
        if (place.path, place.cell) != named:
            named = (place.path, place.cell)
            lines.append(f"    {place.path}" + (f", cell {place.cell}" if place.cell else ""))
        lines.append(f"    {place.line:>{width}} | {read_line(place).rstrip()}")
    return lines


def to_dict(finding: Finding) -> dict[str, Any]:
    """Return the finding as JSON holds it.

    Example:
        >>> to_dict(Finding("SO302", "redundant", Place("a.py", 1)))["severity"]
        'note'
    """
    return {
        "code": finding.code,
        "name": RULES[finding.code].name,
        "severity": finding.severity.value,
        "message": finding.message,
        "place": finding.place._asdict(),
        "made": finding.made and finding.made._asdict(),
        "path": [place._asdict() for place in finding.path],
        "witness": finding.witness,
        "fixable": bool(finding.edits),
    }


def to_json(findings: Sequence[Finding]) -> str:
    """Write one JSON array."""
    return json.dumps([to_dict(f) for f in findings], ensure_ascii=False, indent=1)


def to_github(findings: Sequence[Finding]) -> str:
    """Write GitHub's workflow commands, which show as annotations.

    Example:
        >>> print(to_github([Finding("SO302", "50% redundant", Place("a.py", 1))]))
        ::notice file=a.py,line=1,col=1,title=SO302 redundant-log-softmax::50%25 redundant
    """
    words = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
    return "\n".join(
        f"::{words[f.severity]} file={_property(f.place.path)},line={f.place.line},"
        f"col={f.place.column},title={f.code} {RULES[f.code].name}::{_data(_told(f))}"
        for f in findings
    )


def _told(finding: Finding) -> str:
    """Return the message for a form that knows no cells."""
    return f"{finding.place.spot}: {finding.message}" if finding.place.cell else finding.message


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def to_sarif(findings: Sequence[Finding], version: str) -> str:
    """Write SARIF 2.1.0: the loss line located, the kind's line related, the path as code flow."""
    used = sorted({f.code for f in findings})
    run = {
        "tool": {
            "driver": {"name": "softonce", "version": version, "rules": [*map(_sarif_rule, used)]}
        },
        "results": [_sarif_result(f, used.index(f.code)) for f in findings],
        "columnKind": "unicodeCodePoints",
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=1)


def _sarif_rule(code: str) -> dict[str, Any]:
    rule = RULES[code]
    return {
        "id": code,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": rule.severity.value},
    }


def _sarif_result(finding: Finding, index: int) -> dict[str, Any]:
    result = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": finding.severity.value,
        "message": {"text": _told(finding)},
        "locations": [_sarif_location(finding.place)],
    }
    if finding.made is not None:
        result["relatedLocations"] = [_sarif_location(finding.made, "the kind is made here")]
        flow = [finding.made, *finding.path, finding.place]
        steps = [{"location": _sarif_location(place)} for place in flow]
        result["codeFlows"] = [{"threadFlows": [{"locations": steps}]}]
    return result


def _sarif_location(place: Place, text: str | None = None) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": place.path.replace("\\", "/")}}
    if place.line:
        physical["region"] = {"startLine": place.line, "startColumn": place.column}
    message = {"message": {"text": text}} if text else {}
    return {"physicalLocation": physical, **message}
