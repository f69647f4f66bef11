"""`softonce watch`."""

from __future__ import annotations

from softonce.config.watch import WatchConfig


def watch(config: WatchConfig) -> int:
    """Run a script as Python would, and report which loss is given the wrong kind of scores.

    Everything after the script's name is the script's own. A finding is one line on standard error
    when it becomes certain, and in the report at the end, whichever end the script takes; child
    processes are watched too. The exit status is the script's.
    """
    from softonce.checker.watched_program import WatchOptions, watch_program

    options = WatchOptions(config.steps, config.every, config.fail, config.json)
    return watch_program(str(config.script), config.arguments, options, is_module=config.module)


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
