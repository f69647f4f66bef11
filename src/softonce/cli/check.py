"""`softonce check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softonce.config.check import CheckConfig

if TYPE_CHECKING:
    from softonce.checker.static import Checked


def check(config: CheckConfig = CheckConfig()) -> int:  # noqa: B008 - frozen
    """Find second softmaxes and other score mistakes in source code; no code is run.

    Reads [tool.softonce.check] of the nearest pyproject.toml. The exit status is 1 if an
    error was found; with --strict, also if a warning was.
    """
    from softonce.checker.findings import exit_status
    from softonce.verbs import check as run_check

    checked = run_check(config)
    checked.leave_to_the_system()
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
    for path, after in changed.items():
        if write:
            Path(path).write_bytes(after)
        else:
            print(unified_diff(path, checked.sources[path].raw, after), end="")  # noqa: T201 - the result
    left = tuple(f for f in checked.findings if f not in done)
    return Checked(left if write else (), checked.sources)


def _print(checked: Checked, config: CheckConfig) -> None:
    from softonce import __version__
    from softonce.checker import findings

    if config.diff:
        return
    text = {
        "text": lambda: findings.to_text(checked.findings, checked.read_line),
        "json": lambda: findings.to_json(checked.findings),
        "sarif": lambda: findings.to_sarif(checked.findings, __version__),
        "github": lambda: findings.to_github(checked.findings),
    }[config.format]()
    if text and (checked.findings or config.format != "text" or not config.quiet):
        print(text)  # noqa: T201 - the result
