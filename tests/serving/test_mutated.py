"""Images that somebody broke, and files that never were images: each is refused in clear words."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections import Counter

import pytest
from PIL import Image
from serving.service_beside import FakeEngine, noise, raw, running

from softonce.serving.decoding import FORMATS

SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", noise(0))
    return file.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A PNG that says it is huge and is small: a decompression bomb."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def truncated(draw: random.Random, data: bytes) -> bytes:
    """Cut off where at least the last part of the pixels is missing."""
    return data[: draw.randrange(len(data) * 3 // 4)]


def flipped(draw: random.Random, data: bytes) -> bytes:
    """Some bits of the head are turned, where a decoder looks first, and some anywhere."""
    broken = bytearray(data)
    for _ in range(draw.randint(1, 30)):
        broken[draw.randrange(len(broken))] ^= 1 << draw.randrange(8)
    for _ in range(draw.randint(1, 4)):
        broken[draw.randrange(min(64, len(broken)))] ^= 1 << draw.randrange(8)
    return bytes(broken)


def bomb(draw: random.Random, data: bytes) -> bytes:
    return png_of(draw.randint(30_000, 2**31 - 1), draw.randint(30_000, 2**31 - 1))


def strip(draw: random.Random, data: bytes) -> bytes:
    return png_of(draw.randint(1, 4), draw.randint(5_000, 1_000_000))


def no_image(draw: random.Random, data: bytes) -> bytes:
    return draw.choice(
        [SVG, zipped(), b"%PDF-1.7\n", b"GIF89a", b"text", b"\0" * 100, draw.randbytes(200)]
    )


MUTATIONS = (truncated, flipped, bomb, strip, no_image)


def refused(count: int) -> Counter[str]:
    """Send mutated images, and count those that could not be read any more by their mutation."""
    Image.init()
    forms = [form for form in FORMATS if form in Image.SAVE]
    outcomes: Counter[str] = Counter()
    with running(FakeEngine()) as client:
        for seed in range(count):
            draw = random.Random(seed)
            mutation = MUTATIONS[seed % len(MUTATIONS)]
            data = mutation(draw, noise(seed, form=draw.choice(forms))) or b"x"
            answer = raw(client, data)
            if answer.status_code == 200:  # what a decoder reads all the same, as a few wrong bits
                outcomes[f"{mutation.__name__}, read"] += 1
                continue
            assert 400 <= answer.status_code < 500, (seed, answer.text)
            body = answer.json()
            assert body["status"] == answer.status_code
            assert body["detail"].startswith("expected ")
            assert "\n" not in body["detail"]
            outcomes[f"{mutation.__name__}, refused"] += 1
        assert raw(client, noise(0)).status_code == 200
    return outcomes


def check(outcomes: Counter[str], count: int) -> None:
    share = count // len(MUTATIONS)
    for name in ("bomb", "strip", "no_image"):
        assert outcomes[f"{name}, refused"] == share
    # GIF, TIFF and PPM may end early and be read by Pillow; a flipped bit may change a pixel alone.
    assert outcomes["truncated, refused"] >= share * 0.8
    assert outcomes["flipped, refused"] >= share * 0.3


def test_mutated_images_are_refused_in_clear_words() -> None:
    check(refused(100), 100)


@pytest.mark.slow
def test_two_thousand_mutated_images_are_refused_in_clear_words() -> None:
    check(refused(2000), 2000)
