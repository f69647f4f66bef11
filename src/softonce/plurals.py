"""Counted nouns: one image, two images."""

from __future__ import annotations

_WITH_ES = ("s", "x", "z", "ch", "sh")


def format_count(number: int, noun: str) -> str:
    """Return the number and its noun, in the plural unless the number is one.

    Args:
        number: how many there are; its thousands are set apart.
        noun: in the singular, of a kind that takes `s` or `es`.

    Example:
        >>> [format_count(1, "image"), format_count(0, "class"), format_count(1200, "file")]
        ['1 image', '0 classes', '1,200 files']
        >>> format_count(2, "epoch")
        '2 epochs'
    """
    is_hard = noun.endswith("epoch")  # its ch is a k
    ending = "" if number == 1 else "es" if noun.endswith(_WITH_ES) and not is_hard else "s"
    return f"{number:,} {noun}{ending}"
