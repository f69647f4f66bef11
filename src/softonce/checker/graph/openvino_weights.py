"""The small constants of an OpenVINO model: axes, bounds and numbers, read from its `.bin`."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_ENTRIES = 16
"""A constant is read only if it can be a list of axes or of a shape."""
_LETTERS = {
    "i64": "q", "i32": "i", "i16": "h", "i8": "b", "u64": "Q", "u32": "I", "u16": "H", "u8": "B",
    "f64": "d", "f32": "f", "f16": "e", "boolean": "?",
}  # fmt: skip


def read_constants(
    path: Path, layers: Mapping[str, Mapping[str, str]]
) -> dict[str, tuple[float, ...]]:
    """Return the entries of the small constants among the layers; large ones are not opened.

    Args:
        path: the weights; without such a file nothing is known.
        layers: the attributes of each constant, by its number.
    """
    found: dict[str, tuple[float, ...]] = {}
    if not path.is_file():
        return found
    with path.open("rb") as file:
        for number, attributes in layers.items():
            letter = _LETTERS.get(attributes.get("element_type", ""))
            size, offset = (int(attributes.get(name, 0)) for name in ("size", "offset"))
            width = struct.calcsize(f"<{letter}") if letter else 1
            if letter is None or not 0 < size <= MAX_ENTRIES * width or size % width or offset < 0:
                continue
            file.seek(offset)
            entries = file.read(size)
            if len(entries) == size:
                unpacked = struct.unpack(f"<{size // width}{letter}", entries)
                found[number] = tuple(map(float, unpacked))
    return found
