"""The bearer token, if the service has one.

It comes from the environment or a file, never from the command line: that can be read by every
user of the machine while the service runs, and stays in the shell's history.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

from softonce.errors import ConfigError
from softonce.plurals import format_count
from softonce.serving.problems import ProblemError

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "SOFTONCE_TOKEN"
_MIN_LENGTH = 8


def read_token(path: Path | None) -> str | None:
    """Return the token of the file, else that of the environment, else none.

    Raises:
        ConfigError: if the file cannot be read, or the token is too short or no plain text.
    """
    if path is None:
        token, source = os.environ.get(VARIABLE), VARIABLE
        if token is None:
            return None
    else:
        source = str(path)
        try:
            token = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"expected a token in {path}, found: {error}") from error
    token = token.strip()
    if len(token) < _MIN_LENGTH or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"expected a token of at least {_MIN_LENGTH} ASCII characters without spaces in "
            f"{source}, found {format_count(len(token), 'character')}: "
            "make one with: openssl rand -hex 24"
        )
    return token


def check_token(found: str | None, token: str) -> None:
    """Compare what a request brings with the token, in a time that tells nothing about it.

    Raises:
        ProblemError: 401 if it is missing or another one.
    """
    if found is None or not hmac.compare_digest(found.encode("utf-8", "replace"), token.encode()):
        was = "no such header" if found is None else "another token"
        raise ProblemError(
            401,
            f"expected the header Authorization: Bearer TOKEN, found {was}",
            headers={"WWW-Authenticate": "Bearer"},
        )
