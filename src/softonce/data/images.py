"""Bytes to pixels: decoding, orientation, colour modes, fitting to a square, random crops.

A served picture is decoded here too, without torch: only training imports it, for its crops.
"""

from __future__ import annotations

import importlib
import io
import math
import threading
import warnings
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from softonce.data.bands import (
    ARRAY_MAGIC,
    Bands,
    Picture,
    as_grey,
    open_array,
    refuse_wide,
    split_bands,
    with_count,
)
from softonce.errors import ImageError
from softonce.preprocessing import MAX_PIXELS, num_channels

if TYPE_CHECKING:
    import numpy.typing as npt

    from softonce.preprocessing import ColourMode, Interpolation, Mode, Preprocessing

MAX_ASPECT = 256
"""Longer strips are refused: made a square's height, a small file would fill the memory."""
STARTS_PROGRAMS = ("EPS",)
"""What Pillow decodes by another program; for EPS that is Ghostscript."""

MAX_BYTES = 256 * 2**20
"""Files above this are not read as pictures."""

_MARKS = (
    (4, b"ftyphei", "HEIC: pip install 'softonce[formats]' lets it be read"),
    (4, b"ftypmif1", "HEIF: pip install 'softonce[formats]' lets it be read"),
    (4, b"ftyphevc", "HEIC: pip install 'softonce[formats]' lets it be read"),
    (0, b"\xff\x0a", "JPEG XL: pip install 'softonce[formats]' lets it be read"),
    (4, b"JXL ", "JPEG XL: pip install 'softonce[formats]' lets it be read"),
    (128, b"DICM", "DICOM: save it as PNG"),
    (0, b"%PDF", "PDF: save its pages as PNG"),
)
"""Where the bytes of a format that is not read begin, what they are, and what to do about it."""

_COMMON = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000")
"""Formats that their first bytes tell from every other file."""

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_ORIENTATION = 0x0112
"""The tag of EXIF that says how the camera was held."""


class _NoWarnings:
    """Silences warnings while any thread is inside.

    All threads share the list of filters that `warnings.catch_warnings` puts back: if two
    overlapped, the process would stay silent for good.
    """

    def __init__(self) -> None:
        self._lock, self._num_inside = threading.Lock(), 0
        self._filters = warnings.catch_warnings(action="ignore")

    def __enter__(self) -> None:
        with self._lock:
            if self._num_inside == 0:
                self._filters = warnings.catch_warnings(action="ignore")
                self._filters.__enter__()
            self._num_inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._num_inside -= 1
            if self._num_inside == 0:
                self._filters.__exit__(None, None, None)


_no_warnings = _NoWarnings()


def open_image(
    data: bytes, *, formats: tuple[str, ...] | None = None, max_pixels: int = MAX_PIXELS
) -> Picture:
    """Open a picture without decoding it; a NumPy array is one, too.

    Args:
        data: the bytes of its file.
        formats: Pillow's formats to accept; None accepts all of them, and arrays.
        max_pixels: more than these are refused.

    Raises:
        ImageError: if the bytes are no picture, or one with too many pixels.
    """
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    if max_pixels > (Image.MAX_IMAGE_PIXELS or max_pixels):
        Image.MAX_IMAGE_PIXELS = max_pixels  # Pillow has one limit for the whole process
    try:
        with _no_warnings:
            image = _open(data, formats)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(_name_format(data)) from None
    except Image.DecompressionBombError:  # from twice Pillow's limit on it does not tell the size
        raise ImageError(
            f"more than {max_pixels:,} pixels, which are allowed: --max-pixels raises the limit"
        ) from None
    except Exception as error:
        raise ImageError(_reason(error)) from error
    return check_size(image, max_pixels)


def _open(data: bytes, formats: tuple[str, ...] | None) -> Picture:
    if formats is not None:
        return Image.open(io.BytesIO(data), formats=formats)
    if data.startswith(ARRAY_MAGIC):
        return open_array(data)
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        register_plugins()
        return Image.open(io.BytesIO(data))


def _name_format(data: bytes) -> str:
    """Return what a file is that no decoder reads: of a kind that is not read, or damaged."""
    named = (text for start, mark, text in _MARKS if data.startswith(mark, start))
    return next(named, None) or next(
        (f"a damaged {form}: its head cannot be read" for form in _COMMON if _begins(data, form)),
        "no known image format",
    )


def _begins(data: bytes, form: str) -> bool:
    """Return whether Pillow's decoder of a format takes it to begin as its files do."""
    accepts = Image.OPEN[form][1] if form in Image.OPEN else None
    return accepts is not None and accepts(data[:16]) is True


@cache
def register_plugins() -> None:
    """Let Pillow read HEIC and JPEG XL, if the packages of the extra `formats` are there."""
    with suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    with suppress(ImportError):
        importlib.import_module("pillow_jxl")


def check_size(image: Picture, max_pixels: int = MAX_PIXELS) -> Picture:
    """Return an opened picture if it may be decoded.

    Raises:
        ImageError: if that would start a program, or fill the memory.
    """
    if image.format in STARTS_PROGRAMS:
        raise ImageError(
            f"{image.format} is not decoded, since that starts a program; save it as PNG"
        )
    if not image.width or not image.height:
        raise ImageError(f"{image.width} x {image.height} pixels")
    if image.width * image.height > max_pixels:
        raise ImageError(
            f"{image.width} x {image.height} pixels, more than {max_pixels:,} allowed: "
            "--max-pixels raises the limit"
        )
    if max(image.size) > MAX_ASPECT * min(image.size):
        raise ImageError(
            f"{image.width} x {image.height} pixels: a strip more than {MAX_ASPECT} times as long "
            "as wide"
        )
    return image


def decode(image: Picture, mode: Mode) -> Picture:
    """Decode an opened picture, turn it upright and convert it to `mode`.

    Where `mode` is a number, the picture has so many channels, and they stay as they are stored.

    Raises:
        ImageError: if the bytes end early or are damaged, or the channels are not so many.
    """
    if isinstance(image, Bands):
        bands = with_count(image, num_channels(mode))
        return bands if isinstance(mode, int) else Image.merge(mode, bands.channels)
    try:
        with _no_warnings:
            if isinstance(mode, int):
                return with_count(split_bands(image), mode)
            refuse_wide(image)
            image.load()
            if image.getexif().get(_ORIENTATION, 1) != 1:
                image = ImageOps.exif_transpose(image)
            return to_mode(image, mode)
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(_reason(error)) from error


def decode_for_display(image: Picture) -> Image.Image:
    """Decode an opened picture for the eye: of channels that are no colours, the first in grey.

    Raises:
        ImageError: if the bytes end early or are damaged.
    """
    if isinstance(image, Bands):
        return image.channels[0].convert("RGB")
    decoded = decode(image, "RGB")
    assert isinstance(decoded, Image.Image)  # noqa: S101 - as of every picture in colour
    return decoded


def to_mode(image: Image.Image, mode: ColourMode) -> Image.Image:
    """Convert to RGB or L: transparency over white, 16 bits scaled to 8, palettes looked up."""
    if image.mode == mode and not image.has_transparency_data:
        return image
    if image.mode.startswith("I;16") or image.mode == "I":
        image = as_grey(np.asarray(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert(mode)


def fit_image(image: Picture, preprocessing: Preprocessing) -> Picture:
    """Make the square that the network sees: `crop`, `pad` or `squash`.

    With `crop` it equals torchvision's `Resize(resize, antialias=True)` and `CenterCrop(size)`.

    Raises:
        ImageError: if a long strip would fill the memory once its short side is as long as asked.
    """
    if isinstance(image, Bands):
        return image.each(lambda number, band: _fit(band, preprocessing.channel(number)))
    return _fit(image, preprocessing)


def _fit(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    size, resample = preprocessing.size, FILTERS[preprocessing.interpolation]
    if preprocessing.fit == "squash":
        return image.resize((size, size), resample)
    if preprocessing.fit == "pad":
        return _pad(image, preprocessing)
    image = _resize_short(image, preprocessing)
    left = round((image.width - size) / 2.0)
    top = round((image.height - size) / 2.0)
    return image.crop((left, top, left + size, top + size))


def resize_short(image: Picture, preprocessing: Preprocessing) -> Picture:
    """Resize a picture so that its short side is `preprocessing.resize`.

    Raises:
        ImageError: as `fit_image`.
    """
    if isinstance(image, Bands):
        return image.each(lambda _, band: _resize_short(band, preprocessing))
    return _resize_short(image, preprocessing)


def _resize_short(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    (width, height), short = image.size, preprocessing.resize
    if min(width, height) == short:
        return image
    larger = int(short * max(width, height) / min(width, height))
    if short * larger > MAX_PIXELS:  # of a strip, a file of 100 bytes could fill the memory
        raise ImageError(
            f"{width} x {height} pixels: with a short side of {short} it would have "
            f"{short * larger:,}, more than {MAX_PIXELS:,}"
        )
    shape = (short, larger) if width <= height else (larger, short)
    return image.resize(shape, FILTERS[preprocessing.interpolation])


def _pad(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Resize the long side to `size` and centre the picture on the mean colour."""
    size = preprocessing.size
    inner = [max(1, round(side * size / max(image.size))) for side in image.size]
    image = image.resize(inner, FILTERS[preprocessing.interpolation])
    colour = tuple(round(255 * value) for value in preprocessing.mean)
    canvas = Image.new(image.mode, (size, size), colour if len(colour) > 1 else colour[0])
    canvas.paste(image, ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return canvas


def random_box(
    width: int,
    height: int,
    draws: npt.NDArray[np.float64],
    *,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[float, float, float, float]:
    """Choose a box by area and aspect ratio, from four uniform draws.

    The aspect ratio is clipped to what fits, instead of being drawn again until it does.

    Returns:
        (left, top, right, bottom) in pixels.

    Source:
        Szegedy et al. 2015 (arXiv 1409.4842), section 6.
    """
    area = width * height * (scale[0] + (scale[1] - scale[0]) * draws[0])
    low, high = area / height**2, width**2 / area
    log_ratio = math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * draws[1]
    aspect = min(max(math.exp(log_ratio), low), high)
    box_width = min(math.sqrt(area * aspect), width)
    box_height = min(math.sqrt(area / aspect), height)
    left = (width - box_width) * draws[2]
    top = (height - box_height) * draws[3]
    return left, top, left + box_width, top + box_height


def whole_pixels(
    box: tuple[float, float, float, float], width: int, height: int
) -> tuple[int, int, int, int]:
    """Round (left, top, right, bottom) to pixels of a picture, one at least each way."""
    left, top = min(round(box[0]), width - 1), min(round(box[1]), height - 1)
    return left, top, max(round(box[2]), left + 1), max(round(box[3]), top + 1)


def resize_square(
    picture: npt.NDArray[np.uint8], size: int, interpolation: Interpolation
) -> npt.NDArray[np.uint8]:
    """Resize a picture to a square, in one call of torch.

    On uint8 pixels with the channels last it needs a third of the time of Pillow's, from which no
    pixel differs by more than one step.

    Args:
        picture: (H, W, channels).
        size: side of the square.
        interpolation: the filter, antialiased.

    Returns:
        (size, size, channels).
    """
    import torch
    import torch.nn.functional as F

    # Batched before it is permuted: only so does torch see the channels last, and write them so.
    images = torch.from_numpy(picture)[None].permute(0, 3, 1, 2)
    if interpolation == "nearest":
        resized = F.interpolate(images, (size, size), mode="nearest-exact")
    else:
        resized = F.interpolate(images, (size, size), mode=interpolation, antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


def to_array(image: Picture) -> npt.NDArray[np.uint8]:
    """Return (H, W, channels) uint8 pixels."""
    if isinstance(image, Bands):
        return np.stack([np.asarray(band) for band in image.channels], axis=-1)
    array = np.array(image)
    return array[..., None] if array.ndim == 2 else array


def to_pixels(image: Picture) -> npt.NDArray[np.uint8]:
    """Return (channels, H, W) uint8 pixels, which lie in memory as decoded: channels last."""
    return to_array(image).transpose(2, 0, 1)


def to_square(image: Picture, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Decode an opened picture and return what the network sees: (channels, size, size) pixels.

    Raises:
        ImageError: if the bytes end early or are damaged, or the channels are too many or too few.
    """
    return to_pixels(fit_image(decode(image, preprocessing.mode), preprocessing))


def _reason(error: Exception) -> str:
    """One line, whatever a decoder raises."""
    return " ".join(str(error).split()) or type(error).__name__
