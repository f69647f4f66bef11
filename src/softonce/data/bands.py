"""Pictures of any number of channels: each channel is a grey picture."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageSequence

from softonce.errors import ImageError, describe_error
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

ARRAY_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True)
class Bands:
    """Channels of one size; Pillow's own images have at most four.

    Args:
        channels: pictures of mode L.
    """

    channels: tuple[Image.Image, ...]

    format = "NPY"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels."""
        return self.channels[0].size

    @property
    def width(self) -> int:
        """In pixels."""
        return self.size[0]

    @property
    def height(self) -> int:
        """In pixels."""
        return self.size[1]

    def each(self, change: Callable[[int, Image.Image], Image.Image]) -> Bands:
        """Return the picture with every channel changed, given its number."""
        return Bands(tuple(change(number, band) for number, band in enumerate(self.channels)))

    def crop(self, box: tuple[int, int, int, int]) -> Bands:
        """Return the part within (left, top, right, bottom)."""
        return self.each(lambda _, band: band.crop(box))


Picture: TypeAlias = Image.Image | Bands


def open_array(data: bytes) -> Bands:
    """Read a NumPy array, (H, W) or (H, W, channels), uint8 or uint16.

    Raises:
        ImageError: if it is none, or another kind of array.
    """
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # its head is parsed as Python: a damaged one may raise anything
        raise ImageError(f"a damaged array: {describe_error(error)}") from error
    if array.ndim not in (2, 3) or array.dtype not in (np.uint8, np.uint16) or 0 in array.shape:
        raise ImageError(
            f"an array of {array.dtype} and shape {array.shape}, not of uint8 or uint16 and shape "
            "(height, width) or (height, width, channels)"
        )
    planes = array.reshape(*array.shape[:2], -1)
    return Bands(tuple(as_grey(planes[..., number]) for number in range(planes.shape[2])))


def split_bands(image: Image.Image) -> Bands:
    """Return the channels of a picture as they are stored: of each page, one after the other."""
    pages = [_unpack_page(page) for page in ImageSequence.Iterator(image)]
    bands = [band for page in pages for band in page.split()]
    if len({band.size for band in bands}) > 1:
        raise ImageError("pages of different sizes")
    return Bands(tuple(bands))


def with_count(bands: Bands, count: int) -> Bands:
    """Return the picture, if it has so many channels.

    Raises:
        ImageError: if it has another number.
    """
    if len(bands.channels) != count:
        raise ImageError(f"{format_count(len(bands.channels), 'channel')}, not {count}")
    return bands


def refuse_wide(image: Image.Image) -> None:
    """Raise an `ImageError` if nobody knows a pixel's range: floats, 32 bits, a sign."""
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise ImageError("pixels of 32 bits, or with a sign: save them as 8 or 16 bits without")


def as_grey(values: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> Image.Image:
    """Return (H, W) values as a picture of mode L, 16 bits scaled to 8."""
    if values.dtype != np.uint8:
        values = np.clip(np.rint(values / 257.0), 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(values))


def _unpack_page(page: Image.Image) -> Image.Image:
    refuse_wide(page)
    if page.mode.startswith("I"):
        return as_grey(np.asarray(page))
    return page.convert({"P": "RGB", "1": "L"}.get(page.mode, page.mode))
