"""Text that somebody else wrote, as a terminal may show it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.console import Console
from rich.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType

_OBEYED = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_NO_TEXT = r"\ud800-\udfff"
"""What Python makes of the bytes of a file's name that are no UTF-8."""
_CONTROL = re.compile(f"[{_OBEYED}{_NO_TEXT}]")
_CONTROL_BUT_LINES = re.compile(f"(?!\n)[{_OBEYED}{_NO_TEXT}]")


def escape_control(text: str) -> str:
    r"""Return a text with every control character, and every byte of no text, as its escape.

    Example:
        >>> print(escape_control("GET /\x1b[2J\n"), escape_control("caf\udce9"))
        GET /\x1b[2J\x0a caf\xe9
    """
    return _CONTROL.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    is_byte = 0xDC80 <= code <= 0xDCFF
    return (
        f"\\x{code - 0xDC00 if is_byte else code:02x}" if code < 256 or is_byte else f"\\u{code:x}"
    )


class PlainConsole(Console):
    """A console that shows control characters in names of files and classes, and obeys none."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Return what is printed; the escapes of our own colours are made of it later."""
        for text, style, control in super().render(renderable, options):
            shown = text if control else _CONTROL_BUT_LINES.sub(_escape, text)
            yield Segment(shown, style, control)
