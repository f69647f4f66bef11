"""The verbs of the command line that have no room of their own to be a function of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from softonce.checker.static import Checked, check_paths
from softonce.checker.static.baseline import known_findings, without_known
from softonce.checker.static.settings import settings_for
from softonce.config import ServeConfig
from softonce.config.check import CheckConfig
from softonce.config.keywords import config_of
from softonce.config.toml import settle
from softonce.console import visible_notes
from softonce.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path


def check(config: CheckConfig | str | Path = ".", *paths: str | Path, **options: Any) -> Checked:
    """Check how scores flow through source code; nothing is run, and torch is not needed.

    Args:
        config: the options of `softonce check`, or the first file or folder.
        paths: further files and folders, checked together with it as one project.
        options: fields of `CheckConfig` by name; those that repair or print have no effect.

    Returns:
        `findings` (`code`, `severity`, `message`, `place`), and the files that were read.

    Raises:
        ConfigError: if a path does not exist, a rule is unknown, or an option cannot be used.

    Example:
        >>> check("no_such.py")
        Traceback (most recent call last):
        softonce.errors.ConfigError: expected a file or a folder at no_such.py, found nothing: ...
    """
    settled = config_of(CheckConfig, config, *paths, **options)
    for path in settled.paths:
        if not path.exists():
            raise ConfigError(
                f"expected a file or a folder at {path}, found nothing: check the path"
            )
    given = [str(path) for path in settled.paths] or ["."]
    settings, baseline = settings_for(settled, given[0])
    checked = check_paths(given, settings)
    if baseline is None or settled.write_baseline:
        return checked
    return without_known(checked, known_findings(baseline))


def serve(config: ServeConfig | str | Path, **options: Any) -> int:
    """Answer images over HTTP until Ctrl-C or SIGTERM; what was taken before is answered.

    Args:
        config: the options of `softonce serve`, or the classifier.
        options: fields of `ServeConfig` by name.

    Returns:
        The number of the signal that stopped it.

    Raises:
        ArtefactError: if the classifier cannot be used.
        ConfigError: if an option cannot be used or the port is taken.
        MissingExtraError: if the packages of the service are not installed.

    Example:
        >>> serve("no.onnx", port=9000)
        Traceback (most recent call last):
        softonce.errors.ArtefactError: expected a model file at no.onnx, found nothing: ...
    """
    settled = settle(ServeConfig, config, **options)
    try:
        from softonce.serving.catalog import catalog_of
        from softonce.serving.server import serve as run
        from softonce.serving.server import within_container
    except ImportError as error:
        raise MissingExtraError.of(error.name or str(error), "serve") from error
    from softonce.engines import open_as_asked

    with visible_notes(quiet=settled.quiet):
        settled = within_container(settled)
        files = catalog_of(settled.words)
        return run({name: open_as_asked(path, settled) for name, path in files.items()}, settled)
