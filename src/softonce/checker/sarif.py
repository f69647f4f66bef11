"""Findings as SARIF 2.1.0, the format of code scanning services and of editors' viewers.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from softonce.checker.catalog import RULES
from softonce.checker.findings import Edit, Finding, Place, character_of, no_line, told
from softonce.checker.pages import page_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from softonce.checker.findings import ReadLine


def to_sarif(findings: Sequence[Finding], version: str, read_line: ReadLine = no_line) -> str:
    """Write SARIF 2.1.0: the loss line located, the kind's line related, the path as code flow.

    `read_line` gives the text by which a finding is recognised once lines have moved.
    """
    used = sorted({f.code for f in findings})
    driver = {"name": "softonce", "version": version, "rules": [*map(_rule, used)]}
    seen: Counter[str] = Counter()
    run = {
        "tool": {"driver": driver},
        "results": [_result(f, used.index(f.code), seen, read_line) for f in findings],
        "columnKind": "unicodeCodePoints",
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=1)


def _rule(code: str) -> dict[str, Any]:
    rule, guide = RULES[code], _guide()
    return {
        "id": code,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.why},
        "help": {"text": f"{rule.why}\n\nRepair: {rule.fix}", "markdown": page_of(rule)},
        "defaultConfiguration": {"level": rule.severity.value},
        **({"helpUri": guide} if guide else {}),
    }


@cache
def _guide() -> str:
    """Return the address of the guide to `softonce check`, if this package knows its own.

    A build on a forge writes the project's addresses into the metadata; another one has none.
    """
    try:
        named = metadata("softonce").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    addresses = dict(each.partition(", ")[::2] for each in named)
    documentation = addresses.get("Documentation", "")
    return f"{documentation.rstrip('/')}/guides/check.md" if documentation else ""


def _result(
    finding: Finding, index: int, seen: Counter[str], read_line: ReadLine
) -> dict[str, Any]:
    result: dict[str, Any] = {
        "partialFingerprints": {"softonce/v1": _fingerprint(finding, seen, read_line)},
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": finding.severity.value,
        "message": {"text": told(finding)},
        "locations": [_location(finding.place, read_line)],
    }
    if finding.edits:
        result["fixes"] = [_fix(finding)]
    if finding.made is not None:
        result["relatedLocations"] = [_location(finding.made, read_line, "the kind is made here")]
        flow = [finding.made, *finding.path, finding.place]
        steps = [{"location": _location(place, read_line)} for place in flow]
        result["codeFlows"] = [{"threadFlows": [{"locations": steps}]}]
    return result


def _fingerprint(finding: Finding, seen: Counter[str], read_line: ReadLine) -> str:
    """Return what stays the same once lines have moved; of equal findings the second is `:2`."""
    made = finding.made or finding.place
    parts = (finding.code, finding.place.path, read_line(finding.place), read_line(made))
    digest = hashlib.sha256("\0".join(part.strip() for part in parts).encode()).hexdigest()[:32]
    seen[digest] += 1
    return f"{digest}:{seen[digest]}"


def _fix(finding: Finding) -> dict[str, Any]:
    """Return the safe repair, each edit by the bytes that it replaces."""
    by_path: dict[str, list[Edit]] = {}
    for edit in finding.edits:
        by_path.setdefault(edit.path, []).append(edit)
    changes = [
        {
            "artifactLocation": {"uri": _uri(path)},
            "replacements": [
                {
                    "deletedRegion": {"byteOffset": e.start, "byteLength": e.stop - e.start},
                    "insertedContent": {"text": e.text},
                }
                for e in edits
            ],
        }
        for path, edits in by_path.items()
    ]
    return {"description": {"text": RULES[finding.code].fix}, "artifactChanges": changes}


def _location(place: Place, read_line: ReadLine, text: str | None = None) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(place.path)}}
    if place.line:
        column = character_of(place, read_line)
        physical["region"] = {"startLine": place.line, "startColumn": column}
    message = {"message": {"text": text}} if text else {}
    return {"physicalLocation": physical, **message}


def _uri(path: str) -> str:
    """Return a path as SARIF wants it: a reference of RFC 3986, in which a space is `%20`."""
    return quote(path.replace("\\", "/"))
