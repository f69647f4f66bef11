"""`[tool.softonce.check]` of pyproject.toml, below the command line's own options."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from softonce.checker.catalog import RULES
from softonce.checker.static.check import Settings
from softonce.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAMES = ("select", "ignore", "exclude", "softmax-addresses", "notes", "strict", "baseline")


class Options(Protocol):
    """What the command line gives."""

    @property
    def select(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def ignore(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def exclude(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def notes(self) -> bool: ...  # noqa: D102
    @property
    def baseline(self) -> Path | None: ...  # noqa: D102


def settings_for(options: Options, start: str) -> tuple[Settings, Path | None]:
    """Return the settings for a run, and the baseline file.

    Args:
        options: the command line's; what is empty there is taken from the file.
        start: the first path to check; the file is looked for there and above.

    Raises:
        ConfigError: if the file holds a name or a code that is unknown.
    """
    table, folder = read_table(Path(start))
    baseline = options.baseline
    if baseline is None and "baseline" in table:
        baseline = folder / str(table["baseline"])
    settings = Settings(
        select=_codes(options.select or table.get("select", ())),
        ignore=_codes(options.ignore or table.get("ignore", ())),
        exclude=tuple(options.exclude or table.get("exclude", ())),
        softmax_addresses=tuple(table.get("softmax-addresses", ())),
        notes=options.notes or bool(table.get("notes", False)),
    )
    return settings, baseline


def read_table(start: Path) -> tuple[dict[str, Any], Path]:
    """Return the table of the nearest pyproject.toml, and that file's folder."""
    folder = start.absolute()
    for parent in (folder, *folder.parents):
        path = parent / "pyproject.toml"
        if path.is_file():
            return _table(path), parent
    return {}, folder


def _table(path: Path) -> dict[str, Any]:
    try:
        tool = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"expected TOML in {path}, found: {error}") from error
    table: dict[str, Any] = tool.get("softonce", {}).get("check", {})
    for name in table:
        if name not in _NAMES:
            raise ConfigError(f"{path}: {UnknownNameError.of('option', name, _NAMES)}")
    return table


def _codes(given: Iterable[str]) -> tuple[str, ...]:
    """Return the codes in capitals; each must be the beginning of one."""
    codes = tuple(part.upper() for text in given for part in text.split(",") if part)
    for code in codes:
        if not any(known.startswith(code) for known in RULES):
            raise ConfigError(str(UnknownNameError.of("rule", code, RULES)))
    return codes
