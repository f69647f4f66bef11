"""A mistake in the command line as one line: what was expected, what was found, one right guess."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from cyclopts import CycloptsError, UnknownCommandError, UnknownOptionError

from softonce.config.other_names import OTHER_VERBS, other_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def describe_usage_error(error: CycloptsError, verb: str, verbs: Collection[str]) -> str:
    """Return the line for an error of the parser.

    Args:
        error: what the parser found.
        verb: the verb of the command line, empty if it has none.
        verbs: every verb, in the order in which they are listed.
    """
    command = f"softonce {verb}".rstrip()
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        found = _unknown_verb(error.unused_tokens[0], verbs)
    elif isinstance(error, UnknownOptionError):
        token = error.token
        place = "" if token.source == "cli" else f" in {token.source}"
        names = [name for argument in error.argument_collection for name in argument.names]
        flag = (token.keyword or token.value).split("=")[0]
        found = f"expected an option of {command}, found {flag}{place}{_option_hint(flag, names)}"
    else:
        found = " ".join(str(error).split()).rstrip(".")
    return f"{found}; see {command} --help"


def _unknown_verb(word: str, verbs: Collection[str]) -> str:
    guess = OTHER_VERBS.get(word) or _nearest(word, verbs)
    if guess is not None:
        return f"expected a command of softonce, found {word!r}: did you mean {guess}?"
    return f"expected a command of softonce ({', '.join(verbs)}), found {word!r}"


def _option_hint(flag: str, names: Iterable[str]) -> str:
    """Return the one right guess: the table of other scripts' names knows more than the spelling.

    Example:
        >>> _option_hint("--imgsz", ["--weights", "--size"])
        ': --imgsz is --size here'
        >>> _option_hint("--epoch", ["--epochs"]), _option_hint("--qqq", ["--epochs"])
        (': did you mean --epochs?', '')
    """
    hint = other_name(flag)
    if hint is not None:
        return f": {flag} is {hint} here"
    guess = _nearest(flag.replace("_", "-"), names)
    return "" if guess is None else f": did you mean {guess}?"


def _nearest(word: str, names: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(word, list(names), n=1)), None)
