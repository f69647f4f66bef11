"""Uploads become the squares that a network sees: small pictures at once, large ones in turn."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np

from softonce.data.images import open_image, to_square
from softonce.errors import ImageError
from softonce.prediction.predictor import Unreadable
from softonce.serving.problems import ProblemError
from softonce.serving.readers import Readers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from softonce.data.bands import Picture
    from softonce.prediction.predictor import Pixels
    from softonce.preprocessing import Preprocessing
    from softonce.serving.bodies import Upload

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
"""What is decoded for strangers; some of Pillow's other formats start programs, as EPS does."""

_AT_ONCE = 2**20
"""Up to so many pixels a picture is decoded where it is opened: it takes about 10 ms, and a second
turn would only make it wait."""

_LARGE_PICTURES, _BUDGET = 2, 100_000_000
"""The pixels of a request: two of the largest pictures, or about eight photographs of a telephone,
which are as many as fit into 32 MiB."""

Found = TypeVar("Found")
Square: TypeAlias = "Pixels | Unreadable"


@dataclass(frozen=True)
class _Opened:
    num_pixels: int
    found: Picture | Square


class Decoder:
    """Reads pictures within limits.

    JPEGs are decoded at full size although less would do. Their own reduction made photographs of
    10 megapixels 5 to 6 times faster, but moved pixels of the square by up to 107 of 255; kept
    three times as large as the square, 2.4 to 2.9 times and 2 of 255. The service would answer
    otherwise than `softonce predict` and the evaluation that its figures come from.

    Args:
        max_pixels: in a picture; a larger one is unreadable.
        readers: the threads.
    """

    def __init__(self, max_pixels: int, readers: Readers | None = None) -> None:
        self.max_pixels, self._readers = max_pixels, readers or Readers()
        self.budget = max(_LARGE_PICTURES * max_pixels, _BUDGET)

    async def squares(
        self, uploads: Sequence[Upload], preprocessing: Preprocessing
    ) -> list[Square]:
        """Return the pixels of each upload, or why there are none, in order.

        Raises:
            ProblemError: 413 if all together have more pixels than a request may have.
        """
        owner = object()
        begin = partial(_begin, preprocessing=preprocessing, max_pixels=self.max_pixels)
        opened = await asyncio.gather(
            *(self._readers.run(owner, partial(begin, each.data), _AT_ONCE) for each in uploads)
        )
        num_pixels = sum(each.num_pixels for each in opened)
        if num_pixels > self.budget:
            raise ProblemError(
                413,
                f"expected at most {self.budget:,} pixels in a request, found {num_pixels:,}: "
                "send several requests",
            )
        rest = (self._finish(owner, each, preprocessing) for each in opened)
        return list(await asyncio.gather(*rest))

    async def _finish(self, owner: object, opened: _Opened, preprocessing: Preprocessing) -> Square:
        found = opened.found
        if isinstance(found, np.ndarray | Unreadable):
            return found
        work = partial(_decode, found, preprocessing)
        return await self._readers.run(owner, work, opened.num_pixels)

    async def run(self, work: Callable[[], Found], num_bytes: int) -> Found:
        """Take a body apart in a thread, in the place of as many pixels as it has bytes."""
        return await self._readers.run(object(), work, num_bytes)

    def shutdown(self) -> None:
        """End the threads."""
        self._readers.shutdown()


def _begin(data: bytes, *, preprocessing: Preprocessing, max_pixels: int) -> _Opened:
    try:
        picture = open_image(data, formats=FORMATS, max_pixels=max_pixels)
    except ImageError as error:
        return _Opened(0, Unreadable(str(error)))
    num_pixels = picture.width * picture.height
    return _Opened(
        num_pixels, _decode(picture, preprocessing) if num_pixels <= _AT_ONCE else picture
    )


def _decode(picture: Picture, preprocessing: Preprocessing) -> Square:
    try:
        return to_square(picture, preprocessing)
    except ImageError as error:
        return Unreadable(str(error))
