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
        edits: the repair, if it is safe.

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
    """Return 1 if an error is among the findings, or, if `strict`, a warning; else 0.

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


class Style(NamedTuple):
    """How a text is set: plain for files and pipes, with colours and carets in a terminal."""

    colours: bool = False
    carets: bool = False

    def strong(self, text: str) -> str:
        """Return the text in bold."""
        return f"\x1b[1m{text}\x1b[0m" if self.colours else text

    def severity(self, severity: str, text: str | None = None) -> str:
        """Return the text, by itself the severity's name, in the severity's colour."""
        said = severity if text is None else text
        return f"\x1b[{_COLOURS[severity]}m{said}\x1b[0m" if self.colours else said


_COLOURS = {"error": "1;31", "warning": "1;33", "note": "1;36"}
PLAIN = Style()


def to_text(findings: Sequence[Finding], read_line: ReadLine, style: Style = PLAIN) -> str:
    """Write each cause with its findings and source lines; `read_line(place)` gives a line's text.

    Example:
        >>> print(to_text([Finding("SO302", "redundant", Place("a.py", 1))], lambda place: "ce(x)"))
        a.py:1: note SO302 redundant [redundant-log-softmax]
            1 | ce(x)
        <BLANKLINE>
        1 note
    """
    blocks = []
    for group in grouped(findings):
        lines = [_headline(group[0], style)]
        lines += [_headline(f, style, again=group[0]) for f in group[1:]]
        lines += _excerpts(group, read_line, style)
        if group[0].severity is not Severity.NOTE:
            lines.append(f"    {style.strong('fix:')} {RULES[group[0].code].fix}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join([*blocks, counted(findings)])


def grouped(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Return the findings by what has to be changed: one cause with all of its losses.

    Example:
        >>> cause = Place("net.py", 3)
        >>> two = [Finding("SO101", "", Place("a.py", line), cause) for line in (1, 2)]
        >>> len(grouped(two))
        1
    """
    groups: dict[object, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(_cause(finding), []).append(finding)
    return list(groups.values())


def _cause(finding: Finding) -> object:
    """Return what findings of one cause share: the rule, how sure it is, and what made the kind."""
    if finding.made is None:
        return (finding.code, finding.place, finding.message)
    return (finding.code, finding.lowered, finding.made)


def _headline(finding: Finding, style: Style, *, again: Finding | None = None) -> str:
    rule, severity = RULES[finding.code], finding.severity.value
    said = finding.message if again is None else f"the same, from {again.made}"
    place, severity = style.strong(str(finding.place)), style.severity(severity)
    return f"{place}: {severity} {finding.code} {said} [{rule.name}]"


def _excerpts(group: Sequence[Finding], read_line: ReadLine, style: Style) -> list[str]:
    """Return the source lines of the way, each once, and each file's name where it changes."""
    ways = [(finding.made, *finding.path, finding.place) for finding in group]
    shown = {(p.path, p.cell, p.line): p for way in ways for p in way if p is not None and p.line}
    width = max((len(str(p.line)) for p in shown.values()), default=1)
    home = (group[0].place.path, group[0].place.cell)
    named = home if {key[:2] for key in shown} == {home} and not home[1] else ("", 0)
    losses = {(f.place.path, f.place.cell, f.place.line) for f in group}
    lines = []
    for key, place in shown.items():
        if (place.path, place.cell) != named:
            named = (place.path, place.cell)
            lines.append(f"    {place.path}{_cell(place, read_line)}")
        text = read_line(place).rstrip()
        lines.append(f"    {place.line:>{width}} | {text}")
        if style.carets and key in losses and text:
            caret = style.severity(group[0].severity.value, "^")
            lines.append(f"    {'':>{width}} | {_indent(text, place.column)}{caret}")
    return lines


def _cell(place: Place, read_line: ReadLine) -> str:
    """Return which cell it is: tools count cells in different ways, and its first line is one."""
    above = (read_line(place._replace(line=line)).strip() for line in range(1, place.line))
    first = next((text for text in above if text not in ("", "pass")), "")  # a magic is `pass`
    begins = f", which begins `{first}`" if first else ""
    return f", cell {place.cell}{begins}" if place.cell else ""


def _indent(text: str, column: int) -> str:
    """Return what leads to a column, which counts bytes; a tab stays a tab, as wide as above."""
    return "".join("\t" if character == "\t" else " " for character in _lead(text, column))


def _lead(text: str, column: int) -> str:
    return text.encode()[: column - 1].decode("utf-8", "ignore")


def character_of(place: Place, read_line: ReadLine) -> int:
    """Return the column of a place in characters, from 1: Python counts the bytes of UTF-8.

    Example:
        >>> character_of(Place("a.py", 1, 6), lambda _: "\u00e9 = f(x)")
        5
    """
    text = read_line(place)
    return len(_lead(text, place.column)) + 1 if text else place.column


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
        "fix": RULES[finding.code].fix,
        "cause": cause_id(finding),
    }


def cause_id(finding: Finding) -> str:
    """Return what findings of one cause have in common, as a short text that a file can keep.

    Example:
        >>> cause_id(Finding("SO101", "", Place("a.py", 7), Place("net.py", 3)))
        'SO101 net.py:3'
    """
    return f"{finding.code} {finding.made or finding.place}"


def to_json(findings: Sequence[Finding]) -> str:
    """Write one JSON array."""
    return json.dumps([to_dict(f) for f in findings], ensure_ascii=False, indent=1)


def no_line(_: Place) -> str:
    """Return no text: the source is not at hand."""
    return ""


def to_github(findings: Sequence[Finding], read_line: ReadLine = no_line) -> str:
    """Write GitHub's workflow commands, which show as annotations.

    Example:
        >>> print(to_github([Finding("SO302", "50% redundant", Place("a.py", 1))]))
        ::notice file=a.py,line=1,col=1,title=SO302 redundant-log-softmax::50%25 redundant
    """
    words = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
    return "\n".join(
        f"::{words[f.severity]} file={_property(f.place.path)},line={f.place.line},"
        f"col={character_of(f.place, read_line)},title={f.code} "
        f"{RULES[f.code].name}::{_data(told(f))}"
        for f in findings
    )


def told(finding: Finding) -> str:
    """Return the message for a form that knows no cells."""
    return f"{finding.place.spot}: {finding.message}" if finding.place.cell else finding.message


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
