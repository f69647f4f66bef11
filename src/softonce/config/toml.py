"""TOML in and out, with the same names and the same conversions as the command line."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cyclopts import App, CycloptsError
from cyclopts.config import Dict

from softonce.config.fields import refuse_fractions
from softonce.config.keywords import by_position, config_of
from softonce.errors import ArgumentError, ConfigError, UnknownNameError
from softonce.files import as_utf8, is_utf8
from softonce.run_folder import RunFolder

if TYPE_CHECKING:
    from cyclopts import ArgumentCollection

Config = TypeVar("Config")


def read_toml(path: Path, config_class: type) -> dict[str, Any]:
    """Read the file's names and values; a name that is no option is refused with the nearest ones.

    Raises:
        ConfigError: if the file is missing, is not TOML, or holds an unknown name.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"expected a TOML file at {path}, found: {error.strerror or error}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"expected TOML in {path}, found: {error}") from error
    known = [field.name for field in dataclasses.fields(config_class)]
    for name in values:
        if name not in known:
            raise ConfigError(f"{path}: {UnknownNameError.of('option', name, known)}")
    return values


def from_toml(path: Path, config_class: type[Config]) -> Config:
    """Read a configuration from a TOML file.

    Raises:
        ConfigError: as `read_toml`, and if a value is of the wrong type or out of its range.
    """
    app = App(config=[toml_source(path, config_class), refuse_fractions])
    app.default(config_class)
    try:
        command, bound, _ = app.parse_args([], exit_on_error=False, print_error=False)
        return cast("Config", command(*bound.args, **bound.kwargs))
    except CycloptsError as error:
        raise ConfigError(f"{path}: {error}") from error


def settle(kind: type[Config], *args: Any, **options: Any) -> Config:
    """Return the configuration of a call; `config`, a TOML file, gives what the call does not.

    Raises:
        ArgumentError: as `config_of`, and if a configuration names a file that was not read: which
            of its own values were asked for is not known.
        ConfigError: as `from_toml`.
    """
    given = config_of(kind, *args, **options)
    path: Path | None = given.config  # type: ignore[attr-defined] # its verb has this option
    if path is None:
        return given
    if args and isinstance(args[0], kind):
        raise ArgumentError(
            f"expected a {kind.__name__} or config, found both: read {path} with "
            "softonce.config.toml.from_toml"
        )
    own = by_position(kind, args) | {k: v for k, v in options.items() if k != "config"}
    return config_of(kind, from_toml(path, kind), **own)


def to_toml(config: Any) -> str:
    """Return the configuration as TOML; an option without a value is left out.

    Raises:
        ConfigError: if a path is not UTF-8, which no TOML file can hold.

    Example:
        >>> from softonce.config import PredictConfig
        >>> print(to_toml(PredictConfig("model.safetensors", ("a.jpg",))).splitlines()[0])
        artefact = "model.safetensors"
    """
    import tomli_w

    values = {name: _plain(value) for name, value in vars(config).items() if value is not None}
    return tomli_w.dumps(values)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str) and not is_utf8(value):
        raise ConfigError(
            f"expected a path in UTF-8, which TOML can hold, found {as_utf8(value)}: rename it, or "
            "make a link to it"
        )
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def toml_source(path: Path, config_class: type, *, without: tuple[str, ...] = ()) -> Dict:
    """Return the file as a source of values for cyclopts, below the command line's own."""
    values = read_toml(path, config_class)
    values = {name: value for name, value in values.items() if name not in without}
    return Dict(values, source=str(path), use_commands_as_keys=False)


def merge_toml(config_class: type, arguments: ArgumentCollection, app: App) -> None:
    """Fill options in from `--config FILE`, or from the run folder of `--resume RUN`.

    Of a run folder all but the epochs: those that are asked for beside `--resume` extend the run.
    """
    for flag in ("--config", "--resume"):
        argument = arguments.get(flag, None)
        if argument is not None and argument.tokens:
            path = Path(argument.tokens[0].value)
            if flag == "--config":
                source = toml_source(path, config_class)
                argument.tokens.clear()  # a configuration that still names a file has not read it
            else:
                folder = RunFolder(path)
                folder.check_exists()
                source = toml_source(folder.config, config_class, without=("epochs",))
            source(app, (), arguments)
