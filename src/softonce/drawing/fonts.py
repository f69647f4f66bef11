"""A font that has the letters of a text, in whatever script it is written."""

from __future__ import annotations

from functools import cache
from importlib import util
from pathlib import Path

from PIL import ImageFont

from softonce.console import LOG

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_ANY_SIZE = 16
"""Whether a font has the letters does not depend on its size."""
_NO_CHARACTER = "\U0010ffff"  # no font has it: it is drawn as every missing letter is
_ELLIPSIS = "..."


def fit_text(text: str, width: int, size: int) -> tuple[str, Font]:
    """Shorten a text to a width, and choose a font that has its letters.

    Args:
        text: one line; letters that no font of this system has become question marks.
        width: in pixels.
        size: of the font, in pixels.

    Returns:
        The text, whose end is three dots if it was cut, and the font to draw it with.

    Example:
        >>> fit_text("a very long name of a class", 80, 12)[0][-3:]
        '...'
    """
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    path = _font_with(frozenset(text) - {" "})
    font = _load(path, size)
    text = "".join(letter if letter == " " or _has(path, letter) else "?" for letter in text)
    if font.getlength(text) <= width:
        return text, font
    while text and font.getlength(text + _ELLIPSIS) > width:
        text = text[:-1]
    return text + _ELLIPSIS, font


@cache
def _font_with(letters: frozenset[str]) -> str | None:
    """Return the first font that has all letters; if none has, the usual one, which is told."""
    usual = _usual_font()
    if all(_has(usual, letter) for letter in letters):
        return usual
    for path in _system_fonts():
        if all(_has(path, letter) for letter in letters):
            return path
    missing = "".join(sorted(letter for letter in letters if not _has(usual, letter)))
    LOG.warning(
        "no font of this system has the letters %s: they are drawn as question marks; "
        "install one that has them, such as Noto Sans",
        missing,
    )
    return usual


@cache
def _usual_font() -> str | None:
    """Return the DejaVu Sans of matplotlib; Pillow's own font, None, has the letters of English."""
    spec = util.find_spec("matplotlib")
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        path = Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.exists():
            return str(path)
    return None


@cache
def _system_fonts() -> list[str]:
    """List the fonts of the system, upright ones without serifs first: they read best."""
    if util.find_spec("matplotlib") is None:
        return []
    from matplotlib.font_manager import findSystemFonts

    return sorted(findSystemFonts(), key=lambda path: (*_plainness(Path(path).stem.lower()), path))


def _plainness(name: str) -> tuple[bool, bool]:
    slanted = any(word in name for word in ("bold", "italic", "oblique", "black", "thin", "light"))
    return slanted, "serif" in name or "mono" in name


@cache
def _load(path: str | None, size: int) -> Font:
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)


@cache
def _has(path: str | None, letter: str) -> bool:
    try:
        font = _load(path, _ANY_SIZE)
        return bytes(font.getmask(letter)) != bytes(font.getmask(_NO_CHARACTER))
    except OSError:  # of pictures of one size, as fonts of emoji are
        return False
