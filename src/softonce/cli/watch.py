"""`softonce watch`."""

from __future__ import annotations

import sys

from softonce.config.watch import WatchConfig
from softonce.errors import ArgumentError


def watch(config: WatchConfig) -> int:
    """Run a script as Python would, and report at its end which loss is given the wrong kind.

    Everything after the script's name is the script's own. The report goes to standard error, at
    the end and at Ctrl-C; the exit status is the script's.
    """
    if not config.script.is_file():
        raise ArgumentError(f"expected a script at {config.script}, found none: check the path")
    from softonce.checker.findings import to_json
    from softonce.checker.runtime.script import run_script
    from softonce.checker.runtime.session import watch as watched

    session = watched(steps=config.steps, every=config.every, report=False)
    status = run_script(str(config.script), config.arguments, session)
    sys.stdout.flush()
    text = to_json(session.findings) if config.json else session.summary()
    print(text, file=sys.stderr)  # noqa: T201 - the report
    return status


def set_apart(tokens: list[str]) -> list[str]:
    """Put `--` before the script's name, so that what follows it is left to the script.

    Example:
        >>> set_apart(["watch", "--steps", "5", "train.py", "--steps", "9"])
        ['watch', '--steps', '5', '--', 'train.py', '--steps', '9']
    """
    place = 1
    while place < len(tokens) and tokens[place].startswith("-") and tokens[place] != "--":
        place += 2 if tokens[place] in ("--steps", "--every") else 1
    if place >= len(tokens) or tokens[place] == "--":
        return tokens
    return [*tokens[:place], "--", *tokens[place:]]
