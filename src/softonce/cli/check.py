"""`softonce check`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from softonce.config.check import CheckConfig

if TYPE_CHECKING:
    from softonce.checker.findings import Finding, Style
    from softonce.checker.static import Checked


def check(config: CheckConfig = CheckConfig()) -> int:  # noqa: B008 - frozen
    """Find second softmaxes and other score mistakes in source code; no code is run.

    Reads [tool.softonce.check] of the nearest pyproject.toml. The exit status is 1 if an
    error was found; with --strict, also if a warning was.
    """
    from softonce.checker.findings import exit_status
    from softonce.verbs import check as run_check

    checked = run_check(config)
    checked.leave_to_the_collector()
    if config.write_baseline:
        _write_baseline(config, checked)
        return 0
    if config.fix or config.diff:
        checked = _repair(checked, write=not config.diff)
    _print(checked, config)
    return 0 if config.diff else exit_status(checked.findings, strict=config.strict)


def _write_baseline(config: CheckConfig, checked: Checked) -> None:
    from softonce.checker.static.baseline import write_baseline
    from softonce.checker.static.settings import settings_for

    _, baseline = settings_for(config, str(next(iter(config.paths), ".")))
    write_baseline(baseline, checked)


def _repair(checked: Checked, *, write: bool) -> Checked:
    """Make the edits, or print them as a patch; return what is left."""
    from pathlib import Path

    from softonce.checker.static import Checked
    from softonce.checker.static.fixes import repaired, unified_diff

    done, changed = repaired(checked.findings, checked.sources)
    _report_repairs(checked, done, write=write)
    for path, after in changed.items():
        if write:
            Path(path).write_bytes(after)
        else:
            print(unified_diff(path, checked.sources[path].raw, after), end="")  # noqa: T201 - the result
    left = tuple(f for f in checked.findings if f not in done)
    return Checked(left if write else (), checked.sources)


def _report_repairs(checked: Checked, done: set[Finding], *, write: bool) -> None:
    """Write to standard error what is repaired where, and how much is not."""
    from collections import Counter

    by_file = Counter((f.edits[0].path, f.code) for f in done)
    verb = "repaired" if write else "would repair"
    for (path, code), number in sorted(by_file.items()):
        print(f"{verb} {number} {code} in {path}", file=sys.stderr)  # noqa: T201 - beside the result
    left = len(checked.findings) - len(done)
    if left:
        said = "finding has" if left == 1 else "findings have"
        print(f"{left} {said} no safe repair", file=sys.stderr)  # noqa: T201 - beside the result


def _style() -> Style:
    """Return colours and carets for a terminal, plain text for files and pipes (no-color.org)."""
    from softonce.checker.findings import Style

    is_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    return Style(colours=is_terminal and not os.environ.get("NO_COLOR"), carets=is_terminal)


def _text(checked: Checked, config: CheckConfig) -> str:
    """Return the findings as text; without any, what was read."""
    from softonce.checker.findings import to_text

    if checked.findings:
        return to_text(checked.findings, checked.read_line, _style())
    number = len(checked.sources)
    if number:
        return f"no findings in {number} file{'s' if number > 1 else ''}"
    named = ", ".join(str(path) for path in config.paths) or "."
    return f"no Python files found in {named}: nothing was checked"


def _print(checked: Checked, config: CheckConfig) -> None:
    from softonce import __version__
    from softonce.checker import findings, sarif

    if config.diff:
        return
    text = {
        "text": lambda: _text(checked, config),
        "json": lambda: findings.to_json(checked.findings),
        "sarif": lambda: sarif.to_sarif(checked.findings, __version__, checked.read_line),
        "github": lambda: findings.to_github(checked.findings, checked.read_line),
    }[config.format]()
    if text and (checked.findings or config.format != "text" or not config.quiet):
        print(text)  # noqa: T201 - the result
