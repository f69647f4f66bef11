"""Templates become pages: self-contained, escaped, whole or not written at all."""

from __future__ import annotations

import base64
from functools import cache
from typing import TYPE_CHECKING, Any

import jinja2

from softonce.files import write_text
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_page(path: Path, template: str, context: Mapping[str, Any]) -> None:
    """Write a page; every text of the context is escaped.

    Args:
        path: of the page.
        template: its name among the package's templates.
        context: what it shows.

    Raises:
        StorageError: if the page cannot be written.
    """
    page = _environment().get_template(template).render(context)
    # A file name that is not UTF-8 holds lone surrogates: they are shown as escapes.
    write_text(path, page.encode("utf-8", "backslashreplace").decode("utf-8"))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("softonce", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "percent": _percent,
        "decimal": format_decimal,
        "counted": format_count,
        "data_uri": _data_uri,
    }
    return environment


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def format_decimal(value: float | None, digits: int = 4) -> str:
    """Return a number with so many decimals; a dash if there is none."""
    return "–" if value is None else f"{value:.{digits}f}"
