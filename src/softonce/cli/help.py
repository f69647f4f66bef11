"""How the help looks: examples first, short labels, no word broken in two at 80 columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cyclopts.help import DefaultFormatter
from cyclopts.help.specs import ColumnSpec, DescriptionRenderer, NameRenderer
from rich.text import Text

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry
    from rich.console import Console, ConsoleOptions

    from softonce.cli.commands import Command

_OBVIOUS = ("()", "False")  # of an option that is off unless it is given
_NAME_SHARE = 0.35  # of the width, unless one name needs more


def format_examples(command: Command) -> str:
    """Return the examples of a command as the lines that its help begins with."""
    width = max(len(example) for example, _ in command.examples)
    lines = [f"  {example:{width}}  # {effect}" for example, effect in command.examples]
    if max(map(len, lines)) > 80:
        lines = [f"  {example}\n      # {effect}" for example, effect in command.examples]
    return "\n".join(["Examples:", *lines])


def format_end(command: Command) -> str:
    """Return the last lines of the help of a command."""
    return "\n".join(filter(None, [command.note, f"Guide: {command.guide}"]))


def build_formatter() -> DefaultFormatter:
    """Return the formatter of the panels of options."""
    return DefaultFormatter(column_specs=_columns)


def _columns(
    console: Console,  # noqa: ARG001 - the signature of a builder
    options: ConsoleOptions,
    entries: list[HelpEntry],
) -> tuple[ColumnSpec, ...]:
    labels = " ".join(" ".join(_shorten(entry).display_labels) for entry in entries)
    longest = max(map(len, labels.split()), default=0) + len("  ")  # a name below another is set in
    width = max(math.ceil(options.max_width * _NAME_SHARE), longest)
    name, description = NameRenderer(max_width=width), DescriptionRenderer()
    return (
        ColumnSpec(
            renderer=lambda entry: name(_shorten(entry)),
            style="cyclopts.name",
            max_width=width,
        ),
        ColumnSpec(renderer=lambda entry: description(_shorten(entry)), overflow="fold"),
    )


def _shorten(entry: HelpEntry) -> HelpEntry:
    """Return the entry without --data beside DATA, and without --no-x of an x that is off."""
    if entry.positional_label:
        entry = entry.copy(positive_names=(), positive_shorts=(), negative_names=())
    text = getattr(entry.description, "primary_renderable", None)
    if isinstance(text, Text):  # a docstring of two lines has a line break and an indent
        entry = entry.copy(description=" ".join(text.plain.split()))
    if entry.default == "False":
        entry = entry.copy(negative_names=())
    return entry.copy(default=None) if entry.default in _OBVIOUS else entry
