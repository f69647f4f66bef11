"""Bytes to pixels: what cannot be read, orientation, colour modes, and fitting to a square."""

from __future__ import annotations

import io
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from data.pictures import BROKEN, encoded, noise
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision_beside import torchvision_or_skip

from softonce.data.images import decode, fit_image, open_image, random_box, to_mode, to_pixels
from softonce.data.loader import normalize
from softonce.errors import ImageError
from softonce.preprocessing import Preprocessing

if TYPE_CHECKING:
    from softonce.preprocessing import Fit, Interpolation, Mode

WHITE, MIDDLE, RED = (255, 255, 255), (128, 128, 128), (200, 0, 0)
SIZES = [(500, 375), (33, 47), (256, 256), (300, 256), (224, 640), (1, 5)]


@pytest.mark.parametrize(("data", "reason"), BROKEN.values(), ids=BROKEN)
def test_broken_bytes_are_an_image_error_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode(open_image(data), "RGB")


def test_decoding_in_threads_leaves_the_warning_filters_alone() -> None:
    before, data = list(warnings.filters), encoded(noise(200, 200), "JPEG")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: decode(open_image(data), "RGB"), range(200)))
    assert warnings.filters == before


def test_warnings_of_pillow_stop_nothing() -> None:
    exif = b"Exif\0\0" + b"II*\0\x08\0\0\0\xff\x00"  # promises more entries than there are
    with pytest.warns(UserWarning, match="(?i)corrupt exif"):
        Image.open(io.BytesIO(encoded(noise(8, 8), "JPEG", exif=exif))).getexif()
    assert decode(open_image(encoded(noise(8, 8), "JPEG", exif=exif)), "RGB").size == (8, 8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_pictures_are_turned_upright(orientation: int, kind: str) -> None:
    upright = Image.new("L", (24, 16))
    upright.paste(255, (0, 0, 12, 8))  # the upper left quarter is white
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode(open_image(encoded(stored(upright, orientation), kind, exif=exif)), "L")
    assert image.size == (24, 16)
    assert np.abs(np.asarray(image).astype(int) - np.asarray(upright)).max() <= 8


def stored(upright: Image.Image, orientation: int) -> Image.Image:
    """Return how a camera stores it: the undoing of each orientation, by the EXIF standard."""
    methods = Image.Transpose
    undo = {
        2: methods.FLIP_LEFT_RIGHT,
        3: methods.ROTATE_180,
        4: methods.FLIP_TOP_BOTTOM,
        5: methods.TRANSPOSE,
        6: methods.ROTATE_90,
        7: methods.TRANSVERSE,
        8: methods.ROTATE_270,
    }
    return upright.transpose(undo[orientation]) if orientation in undo else upright


def grey_16(value: int, dtype: str = "<u2") -> Image.Image:
    return Image.fromarray(np.full((4, 4), value, np.dtype(dtype)))


def palette(*, transparent: bool) -> bytes:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, *RED])
    return encoded(image, **({"transparency": b"\xff\x00"} if transparent else {}))


@pytest.mark.parametrize(
    ("data", "rgb"),
    [
        (palette(transparent=False), RED),
        (palette(transparent=True), WHITE),
        (encoded(Image.new("L", (4, 4), 128)), MIDDLE),
        (encoded(Image.new("LA", (4, 4), (0, 127))), MIDDLE),
        (encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 0))), WHITE),
        (encoded(Image.new("RGBA", (4, 4), (*RED, 255))), RED),
        (encoded(Image.new("RGB", (4, 4), RED), transparency=RED), WHITE),
        (encoded(Image.new("1", (4, 4), 1)), WHITE),
        (encoded(grey_16(128 * 257)), MIDDLE),
        (encoded(grey_16(65535), "TIFF"), WHITE),
        (encoded(grey_16(128 * 257, ">u2"), "TIFF"), MIDDLE),
        (encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 127)), "JPEG"), MIDDLE),
    ],
    ids=[
        "P",
        "P-alpha",
        "L",
        "LA",
        "RGBA-clear",
        "RGBA",
        "RGB-key",
        "1",
        "I;16",
        "I;16-TIFF",
        "I;16B",
        "CMYK",
    ],
)
def test_every_mode_becomes_the_colours_that_are_seen(data: bytes, rgb: tuple[int, ...]) -> None:
    found = np.asarray(decode(open_image(data), "RGB"))
    assert found.shape[2] == 3
    assert np.abs(found.astype(int) - rgb).max() <= 1
    luma = round(0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2])
    assert np.abs(np.asarray(decode(open_image(data), "L")).astype(int) - luma).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "L", 1], ids=str)
@pytest.mark.parametrize("kind", ["F", "I"])
def test_pixels_whose_range_nobody_knows_are_refused(kind: str, mode: Mode) -> None:
    opened = open_image(encoded(Image.new(kind, (4, 4), 1), "TIFF"))
    with pytest.raises(ImageError, match="^pixels of 32 bits, or with a sign: save them as 8 or"):
        decode(opened, mode)


def test_sixteen_bits_are_scaled_to_the_nearest_of_eight() -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    found = np.asarray(decode(open_image(encoded(Image.fromarray(levels))), "L"))
    assert (found == np.rint(levels * (255 / 65535))).all()


def test_a_picture_of_the_mode_is_passed_on_as_it_is() -> None:
    image = noise(5, 4)
    assert to_mode(image, "RGB") is image
    assert to_pixels(image).shape == (3, 4, 5)
    assert to_pixels(image.convert("L")).shape == (1, 4, 5)


# fitting


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", SIZES)
def test_preprocessing_equals_torchvision(
    size: tuple[int, int], interpolation: Interpolation, mode: Mode
) -> None:
    transforms = torchvision_or_skip().transforms
    image, channels = noise(*size, mode=mode), len(mode)
    ours = Preprocessing(
        size=224,
        resize=256,
        interpolation=interpolation,
        mode=mode,
        mean=(0.485, 0.456, 0.406)[:channels],
        std=(0.229, 0.224, 0.225)[:channels],
    )
    theirs = transforms.Compose(
        [
            transforms.Resize(256, transforms.InterpolationMode(interpolation), antialias=True),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(ours.mean, ours.std),
        ]
    )
    pixels = torch.from_numpy(to_pixels(fit_image(image, ours)).copy())
    assert (normalize(pixels[None], ours)[0] - theirs(image)).abs().max() == 0


@pytest.mark.parametrize(
    ("fit", "size"), [(f, s) for f in ("crop", "pad", "squash") for s in SIZES]
)
def test_every_fit_gives_the_square(fit: Fit, size: tuple[int, int]) -> None:
    assert fit_image(noise(*size), Preprocessing(size=24, resize=30, fit=fit)).size == (24, 24)


@pytest.mark.parametrize("size", [(4, 1000), (1000, 4)])
def test_a_strip_that_would_fill_the_memory_once_it_fits_is_refused(size: tuple[int, int]) -> None:
    strip, wanted = Image.new("L", size), {"mode": "L", "mean": (0.5,), "std": (0.5,)}
    with pytest.raises(ImageError, match="with a short side of 8192 it would have 16,777,216,000"):
        fit_image(strip, Preprocessing(size=16, resize=2**13, **wanted))
    fitted = fit_image(strip, Preprocessing(size=16, resize=500, **wanted))
    assert fitted.size == (16, 16)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_a_damaged_head_is_told_from_what_is_no_picture(form: str) -> None:
    damaged = encoded(noise(9, 9), form)[:16]
    with pytest.raises(
        ImageError, match=f"a damaged {form}: its head|[Tt]runcated|end of file|decoder object"
    ):
        decode(open_image(damaged), "RGB")


def test_a_wrong_checksum_in_the_head_of_a_png_is_damage() -> None:
    data = bytearray(encoded(noise(9, 9)))
    data[30] ^= 1  # of the CRC of IHDR
    with pytest.raises(ImageError, match="a damaged PNG: its head cannot be read"):
        open_image(bytes(data))


@pytest.mark.parametrize("upright", [True, False])
def test_pad_keeps_the_whole_picture_on_the_mean_colour(upright: bool) -> None:
    image = noise(8, 16) if upright else noise(16, 8)
    box = (4, 0, 12, 16) if upright else (0, 4, 16, 12)
    expected = Image.new("RGB", (16, 16), (51, 102, 153))
    expected.paste(image, box)
    assert fit_image(image, Preprocessing(size=16, fit="pad", mean=(0.2, 0.4, 0.6))) == expected


def test_squash_is_one_resize_and_crop_cuts_the_middle_out() -> None:
    image = noise(20, 10)
    squashed = fit_image(image, Preprocessing(size=10, fit="squash"))
    assert squashed == image.resize((10, 10), Image.Resampling.BILINEAR)
    assert fit_image(image, Preprocessing(size=10)) == image.crop((5, 0, 15, 10))


# boxes


@given(
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    draws=st.tuples(*[st.floats(0, 1, exclude_max=True)] * 4),
    low=st.floats(0.01, 1),
    ratio=st.floats(0.05, 1),
)
def test_a_random_box_stays_inside_and_has_the_area(
    width: int, height: int, draws: tuple[float, ...], low: float, ratio: float
) -> None:
    left, top, right, bottom = random_box(
        width, height, np.array(draws), scale=(low, 1.0), ratio=(ratio, 1 / ratio)
    )
    assert 0 <= left < right <= width + 1e-9 * width
    assert 0 <= top < bottom <= height + 1e-9 * height
    area = width * height * (low + (1 - low) * draws[0])
    assert (right - left) * (bottom - top) == pytest.approx(area, rel=1e-6)
