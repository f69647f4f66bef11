"""Known findings of an old code base: remembered by their text, so that lines may move."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from softonce.checker.static.check import Checked
from softonce.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from softonce.checker.findings import Finding

Known = Counter[tuple[str, str, str]]
DEFAULT_NAME = "softonce-baseline.json"


def _identity(finding: Finding, checked: Checked) -> tuple[str, str, str]:
    text = checked.read_line(finding.place).strip()
    return (finding.code, Path(finding.place.path).as_posix(), text)


def write_baseline(path: Path | None, checked: Checked) -> None:
    """Write what was found now, one entry a finding."""
    target = path or Path(DEFAULT_NAME)
    entries = [list(_identity(finding, checked)) for finding in checked.findings]
    try:
        target.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"expected to write {target}, found: {error.strerror}") from error


def known_findings(path: Path) -> Known:
    """Read a baseline file; one that is missing holds nothing.

    Raises:
        ConfigError: if the file is no baseline.
    """
    if not path.exists():
        return Counter()
    try:
        return Counter((str(c), str(p), str(t)) for c, p, t in json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"expected a baseline of softonce check in {path}: {error}") from error


def without_known(checked: Checked, known: Known) -> Checked:
    """Return the findings that the baseline does not hold; each entry excuses one finding."""
    left, fresh = Counter(known), []
    for finding in checked.findings:
        identity = _identity(finding, checked)
        if left[identity] > 0:
            left[identity] -= 1
        else:
            fresh.append(finding)
    return Checked(tuple(fresh), checked.sources)
