"""Pictures as bytes, and the folders of a split as a scan."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from softonce.data.samples import list_samples
from softonce.data.scan import Scan, scan
from softonce.data.sources import open_source
from softonce.data.sources.source import WHOLE
from softonce.preprocessing import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

SMALL = Preprocessing(size=16)
LARGE = Preprocessing(size=72, resize=80)  # above what is kept in memory


def noise(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return Image.frombytes(mode, (width, height), pixels.tobytes())


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds hardly a byte of it."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" * 64)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


BROKEN = {
    "empty": (b"", r"empty \(0 bytes\)"),
    "text": (b"no picture at all", "no known image format"),
    "EPS": (encoded(noise(8, 8), "EPS"), "EPS is not decoded, since that starts a program"),
    "truncated JPEG": (encoded(noise(64, 48), "JPEG")[:-700], "truncated"),
    "truncated PNG": (encoded(noise(64, 48))[:-3000], "truncated"),
    "bomb": (png_header(10_000, 9_000), "10000 x 9000 pixels, more than 89,478,485"),
    "large bomb": (png_header(60_000, 60_000), "more than 89,478,485 pixels, which"),
    "strip": (encoded(Image.new("RGB", (1, 257))), "strip more than 256 times"),
}


def squares(found: Scan) -> npt.NDArray[np.uint8]:
    """Return the pixels of all small pictures of a split, (N, channels, size, size)."""
    assert found.pixels is not None
    return found.pixels[np.arange(len(found))]


def scanned(
    data: Path | str, preprocessing: Preprocessing = SMALL, *, split: str = WHOLE, **options: Any
) -> Scan:
    samples = list_samples(open_source(data), split)
    return scan(samples, preprocessing, **{"max_bad_fraction": 0.01} | options)
