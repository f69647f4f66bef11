"""Small pictures for tables and figures: some kilobytes each, whatever they were made of."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from softonce.data.images import decode_for_display, open_image
from softonce.data.storage import read_bytes
from softonce.drawing import resize_to_show

if TYPE_CHECKING:
    from softonce.data.bands import Picture

SIDE = 224
"""Pixels of the longer side."""
_LEAST_SIDE = 64
"""Smaller pictures are enlarged, so that they can be seen."""
_PNG_SIDE = 64
"""So small a picture is kept as it is: of a digit or an icon every pixel is looked at."""
_JPEG_QUALITY = 85
"""A thumbnail has some 10 kB; blocks cannot be seen."""


def thumbnail(picture: Picture, side: int = SIDE) -> bytes:
    """Return a picture whose long side has 64 to `side` pixels, as a PNG or JPEG file.

    Raises:
        ImageError: if the picture cannot be decoded.
    """
    opened = decode_for_display(picture)
    image = resize_to_show(opened, least=_LEAST_SIDE, most=side)
    file = io.BytesIO()
    if max(opened.size) <= _PNG_SIDE:
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()


def thumbnail_of_file(path: str, side: int = SIDE) -> bytes:
    """Return a small picture of a file.

    Raises:
        ImageError: if it cannot be read or decoded.
    """
    return thumbnail(open_image(read_bytes(path)), side)
