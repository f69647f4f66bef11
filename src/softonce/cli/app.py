"""The command line as a whole: verbs, exit status, errors in one line."""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError, Group, Parameter

from softonce import __version__
from softonce.cli.commands import COMMANDS, FIND, USE
from softonce.cli.help import build_formatter, format_end, format_examples
from softonce.cli.usage import describe_usage_error
from softonce.console import command_line_notes, print_error, visible_notes
from softonce.errors import MissingExtraError, SoftonceError
from softonce.formats import FORMATS

if TYPE_CHECKING:
    from cyclopts import ArgumentCollection

USAGE_ERROR = 2
INTERRUPTED = 130
EXTRAS = {"sklearn": "demo"} | {name: form.extra for form in FORMATS for name in form.packages}
"""The extra that installs a package, if it is not train."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
STANDARD_INPUT = "/dev/stdin"  # for a lone hyphen, which the parser would take for an option


def build_app() -> App:
    """Return the application; a command's own module is imported when it is called."""
    general = Group("Options", sort_key=9)
    app = App(
        name="softonce",
        help="Image classifiers whose softmax happens exactly once.",
        usage="softonce COMMAND [OPTIONS]",
        help_epilogue="softonce COMMAND --help begins with two examples.",
        help_format="plaintext",
        help_formatter=build_formatter(),
        default_parameter=Parameter(negative_iterable=()),
        version=__version__,
        config=[_merge_toml, _refuse_fractions],
    )
    for flag in ("--help", "--version"):
        app[flag].group = general
    app.register_install_completion_command(
        group=general, help="Install tab completion for bash, zsh or fish."
    )
    groups = {title: Group(title, sort_key=n) for n, title in enumerate((USE, FIND))}
    for place, (name, command) in enumerate(COMMANDS.items()):
        app.command(
            f"softonce.cli.{name}:{name}",
            name=name,
            help=command.purpose,
            group=groups[command.group],
            sort_key=place,
            usage=f"softonce {name} {command.usage}",
            help_prologue=format_examples(command),
            help_epilogue=format_end(command),
        )
    return app


def main(tokens: list[str] | None = None) -> int:
    """Run the command line and return the exit status.

    0 all well; 1 an error-level finding, or an image that could not be predicted; 2 usage or input
    error, in one line; 130 after Ctrl-C.
    """
    tokens = sys.argv[1:] if tokens is None else tokens
    is_quiet = "--quiet" in tokens or "-q" in tokens
    is_watched = tokens[:1] == ["watch"]  # what it runs is somebody else's program
    output = visible_notes() if is_watched else command_line_notes(quiet=is_quiet)
    if isinstance(sys.stdout, io.TextIOWrapper) and not is_watched:
        # A file's name, or a class in somebody's record, may hold what no encoding has.
        sys.stdout.reconfigure(errors="backslashreplace")
    with output:
        try:
            return _run_verb(_normalize(tokens))
        except SoftonceError as error:
            return _fail(str(error))
        except CycloptsError as error:
            verb = next((token for token in tokens if token in COMMANDS), "")
            return _fail(describe_usage_error(error, verb, COMMANDS))
        except ImportError as error:
            return _fail(str(MissingExtraError.of(error.name or str(error), _extra_of(error.name))))
        except BrokenPipeError:  # the reader has left, as `head` does: what it wanted it has
            _drop_output()
            return 0
        except OSError as error:
            return _fail(_unwritable_output(error))
        except KeyboardInterrupt:
            return INTERRUPTED


def _normalize(tokens: list[str]) -> list[str]:
    """Return the command line as the parser takes it."""
    if tokens[:1] == ["watch"]:
        from softonce.cli.watch import set_apart

        tokens = set_apart(tokens)
    if tokens[:1] == ["version"]:
        return ["--version"]
    if tokens[:1] == ["help"]:
        return [*tokens[1:], "--help"]
    # What follows the script that is watched is the script's own.
    own = tokens.index("--") + 2 if tokens[:1] == ["watch"] and "--" in tokens else len(tokens)
    return [STANDARD_INPUT if word == "-" else word for word in tokens[:own]] + tokens[own:]


def _run_verb(tokens: list[str]) -> int:
    status = build_app()(
        tokens, exit_on_error=False, print_error=False, result_action="return_value"
    )
    sys.stdout.flush()  # a full disk is found out here, not when the interpreter has ended
    return int(status or 0)


def _unwritable_output(error: OSError) -> str:
    """Return the line for a full disk under standard output; any other error is a bug of ours."""
    if error.errno not in _FULL or error.filename is not None:
        raise error
    _drop_output()
    return (
        f"expected to write to standard output, found: {error.strerror}; "
        "free some space or send the output elsewhere"
    )


def _drop_output() -> None:
    """Let what is still in the buffer go nowhere when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run() -> None:
    """Be the console script."""
    if "watch" not in sys.argv[1:2]:  # what it runs is somebody else's program
        # Read by torch before it first takes memory: large tensors lie in huge pages then, which
        # makes a training step on a CPU 6 to 8 % faster.
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    status = main()
    if "check" in sys.argv[1:2]:
        gc.freeze()  # the trees are never freed, which is a fifth of the time of a check
    sys.exit(status)


def _merge_toml(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Let `--config`, and `--resume` of `train`, fill options in."""
    if commands in (("train",), ("serve",)):
        from softonce.config import ServeConfig, TrainConfig
        from softonce.config.toml import merge_toml

        merge_toml(TrainConfig if commands == ("train",) else ServeConfig, arguments, app)


def _refuse_fractions(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse 2.5 epochs; what is needed for it is imported when a verb is called."""
    if commands:
        from softonce.config.fields import refuse_fractions

        refuse_fractions(app, commands, arguments)


def _extra_of(package: str | None) -> str:
    return EXTRAS.get((package or "").split(".")[0], "train")


def _fail(message: str) -> int:
    print_error(message)
    return USAGE_ERROR
