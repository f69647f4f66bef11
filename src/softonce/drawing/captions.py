"""Pictures with words beneath, one by one and as a sheet of many."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from softonce.drawing.fonts import fit_text

if TYPE_CHECKING:
    from collections.abc import Sequence

PAPER, INK, MUTED = "#ffffff", "#1c1b19", "#6f6b64"
_GAP = 10
"""Pixels between pictures."""


def resize_to_show(image: Image.Image, *, least: int, most: int) -> Image.Image:
    """Return a picture whose long side is about `least` pixels at least, and `most` at most.

    Tiny pictures are enlarged by whole numbers and without smoothing, so that each pixel is seen.

    Example:
        >>> [resize_to_show(Image.new("L", size), least=64, most=128).size
        ...  for size in ((16, 8), (100, 50), (4000, 3000))]
        [(64, 32), (100, 50), (128, 96)]
    """
    long = max(image.size)
    if long > most:
        width, height = (max(1, round(side * most / long)) for side in image.size)
        return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    times = math.ceil(least / long)
    if times == 1:
        return image
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def with_caption(
    image: Image.Image, lines: Sequence[str], *, width: int = 0, font_size: int = 15
) -> Image.Image:
    """Return a picture with lines of text beneath it; the first is dark, the others are grey.

    Args:
        image: in any mode, as it is to be seen.
        lines: of text; one that is wider than the picture is cut short.
        width: of the result in pixels, if that is more than the picture's.
        font_size: in pixels.

    Returns:
        An RGB picture; the image stands in the middle of its upper part, unchanged.

    Example:
        >>> with_caption(Image.new("RGB", (120, 90)), ["bees 99.3 %"]).width
        120
    """
    width, pad, step = max(width, image.width), font_size // 3, round(1.35 * font_size)
    sheet = Image.new("RGB", (width, image.height + 2 * pad + step * len(lines)), PAPER)
    sheet.paste(image.convert("RGB"), ((width - image.width) // 2, 0))
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        text, font = fit_text(line, width - 2 * pad, font_size)
        at = (pad, image.height + pad + number * step)
        draw.text(at, text, fill=MUTED if number else INK, font=font)
    return sheet


def contact_sheet(
    pictures: Sequence[Image.Image], captions: Sequence[Sequence[str]], *, columns: int = 4
) -> Image.Image:
    """Return pictures of one size in rows, each with its lines of text beneath.

    Example:
        >>> contact_sheet([Image.new("L", (64, 64))] * 3, [["ants"], ["bees"], ["bees"]]).mode
        'RGB'
    """
    num_lines = max(len(lines) for lines in captions)
    padded = [[*lines, *[""] * (num_lines - len(lines))] for lines in captions]
    cells = [with_caption(*pair) for pair in zip(pictures, padded, strict=True)]
    columns = min(columns, len(cells))
    rows = math.ceil(len(cells) / columns)
    width, height = cells[0].width + _GAP, cells[0].height + _GAP
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), PAPER)
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        sheet.paste(cell, (_GAP + column * width, _GAP + row * height))
    return sheet
