"""Base64 as people send it: plain, of a browser's data URL, in lines, URL-safe, unpadded."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote

_URL_SAFE = str.maketrans("-_", "+/")
_OTHER = re.compile(r"[^A-Za-z0-9+/]")
_MAX_HEAD = 200


def decode_base64(text: str) -> bytes:
    r"""Return the bytes of base64, whatever habits its writer has.

    Args:
        text: base64 of RFC 4648 in either alphabet, with white space anywhere, and padding or none;
            a data URL of RFC 2397 may stand around it.

    Raises:
        ValueError: if it is something else; the message is one line that says where it is wrong.

    Example:
        >>> [decode_base64(text) for text in ("aGk_", "aGk/\n", "data:image/png;base64,aGk%2F")]
        [b'hi?', b'hi?', b'hi?']
    """
    if text[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not comma or not head[-_MAX_HEAD:].lower().endswith(";base64"):
            raise ValueError("a data URL that is not of base64: it begins data:image/png;base64,")
        text = unquote(text) if "%" in text else text
    text = "".join(text.split()).translate(_URL_SAFE).rstrip("=")
    if (wrong := _OTHER.search(text)) is not None:
        raise ValueError(f"the character {wrong[0]!a}, which base64 does not have")
    if len(text) % 4 == 1:
        raise ValueError(f"{len(text):,} characters, which no bytes make: one or more are missing")
    return base64.b64decode(text + "=" * (-len(text) % 4))
