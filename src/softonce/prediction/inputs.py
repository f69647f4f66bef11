"""What a caller may name or hand over becomes items, each of which opens one picture."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from PIL import Image

from softonce.data.images import check_size, open_image
from softonce.data.passed_over import images_below, say_passed_over
from softonce.data.remote import Remote
from softonce.data.sources.manifest import is_manifest, read_paths
from softonce.data.storage import is_url, read_bytes
from softonce.data.web import fetch_bytes
from softonce.errors import ArgumentError, ImageError
from softonce.prediction.arrays import is_tensor, picture_of_array, picture_of_tensor
from softonce.preprocessing import MAX_PIXELS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from softonce.data.bands import Picture
    from softonce.preprocessing import Mode

STANDARD_INPUT = ("-", "/dev/stdin")


class BinaryFile(Protocol):
    """An open file, such as `io.BytesIO` or what a web framework uploads."""

    def read(self) -> bytes:
        """Return the rest of its bytes."""


ImageFile: TypeAlias = bytes | bytearray | memoryview | BinaryFile
"""The file of a picture, in memory or open."""

ImageLike: TypeAlias = "str | os.PathLike[str] | ImageFile | Image.Image | NDArray[Any] | Tensor"
"""One picture; a text or path may also be a folder, a pattern or a manifest, which are many."""

Images: TypeAlias = "ImageLike | Iterable[ImageLike]"


@dataclass(frozen=True)
class Item:
    """One picture that a prediction is asked for.

    Args:
        path: what it is called: a path, a URL, or None for what has no name.
        open: opens it; an `ImageError` says why it cannot be read.
        is_file: whether it can be opened again from the disk, when it is shown.
    """

    path: str | None
    open: Callable[[], Picture]
    is_file: bool = False


def items_of_names(names: Iterable[str | Path], *, max_pixels: int = MAX_PIXELS) -> Iterator[Item]:
    """Yield the items of a command line, where `-` reads one path a line from standard input.

    Args:
        names: files, folders, patterns, URLs or manifests.
        max_pixels: larger pictures are unreadable.
    """
    for name in map(str, names):
        if name in STANDARD_INPUT:
            lines = (line.rstrip("\n") for line in sys.stdin if line.strip())
            for line in lines:
                yield from _items_of_name(line, max_pixels)
        else:
            yield from _items_of_name(name, max_pixels)


def items_of(images: Images, mode: Mode = "RGB") -> Iterator[Item]:
    """Yield the items of a Python call: one picture, or any iterable of pictures.

    Args:
        images: what was passed.
        mode: of the classifier's preprocessing, which says how many channels arrays may have.

    Raises:
        ArgumentError: if there is none, or one is of a kind, shape or range that is not taken; the
            message names its position.
    """
    is_many = not _is_one(images)
    position = -1
    for position, image in enumerate(images if is_many else [images]):  # type: ignore[arg-type] # as checked
        yield from _items_of_image(image, mode, f" at position {position}" if is_many else "")
    if position < 0:
        raise ArgumentError(
            "expected images to classify, found none: pass a picture, or a list that is not empty"
        )


def _is_one(images: object) -> bool:
    """Return whether it is one picture (or no picture at all), not a collection of them."""
    if isinstance(images, np.ndarray) and images.dtype.kind in "OU":  # a column of paths
        return False
    if isinstance(images, str | bytes | bytearray | memoryview | Mapping | np.ndarray):
        return True
    one = isinstance(images, os.PathLike | Image.Image) or hasattr(images, "read")
    return one or is_tensor(images) or not isinstance(images, Iterable)


def _items_of_image(image: Any, mode: Mode, place: str) -> Iterator[Item]:
    if isinstance(image, str) or (isinstance(image, os.PathLike) and not hasattr(image, "read")):
        yield from _items_of_name(os.fsdecode(image))
    else:
        yield _item_of_picture(image, mode, place)


def _item_of_picture(image: Any, mode: Mode, place: str) -> Item:
    """Return the item of what is in memory; its path is the name that it carries, if any."""
    if isinstance(image, bytes | bytearray | memoryview):
        return Item(None, cache(partial(open_image, bytes(image))))
    if isinstance(image, Image.Image):
        return Item(_name_of(image, "filename"), partial(check_size, image))
    if isinstance(image, np.ndarray | np.generic):
        return Item(None, partial(check_size, picture_of_array(np.asarray(image), mode, place)))
    if is_tensor(image):
        return Item(None, partial(check_size, picture_of_tensor(image, mode, place)))
    if hasattr(image, "read"):
        return Item(_name_of(image, "name"), cache(partial(open_image, _content(image, place))))
    raise ArgumentError(
        f"expected a path, URL, bytes, open file, PIL image, array or tensor{place}, found "
        f"{type(image).__name__}: pass one picture, or a flat list of pictures"
    )


def _name_of(image: object, attribute: str) -> str | None:
    name = getattr(image, attribute, None)
    return os.fsdecode(name) if isinstance(name, str | bytes) and name else None


def _content(file: BinaryFile, place: str) -> bytes:
    """Return the bytes of an open file, from where it stands."""
    try:
        data = file.read()
    except (OSError, ValueError) as error:
        raise ArgumentError(
            f"expected a file that can be read{place}, found: {error}; open it again"
        ) from error
    if not isinstance(data, bytes):
        raise ArgumentError(
            f"expected a file opened for bytes{place}, found one that gives "
            f"{type(data).__name__}: open it with mode 'rb'"
        )
    return data


def _items_of_name(name: str, max_pixels: int = MAX_PIXELS) -> Iterator[Item]:
    """Yield the items of a file, manifest, URL, folder or pattern.

    Of all but a manifest without rows it is one at least, which may be unreadable.
    """
    if is_url(name):
        yield Item(name, cache(partial(_open_url, name, max_pixels)))
        return
    if is_manifest(name) and os.path.isfile(name):  # noqa: PTH113 - a name may be too long for Path
        for path in read_paths(Path(name)):
            yield Item(path, partial(_open_file, path, max_pixels), is_file=True)
        return
    item = None
    for path in _matches(name):
        yield (item := Item(path, partial(_open_file, path, max_pixels), is_file=True))
    if item is None:  # a folder without images, or a pattern that matches nothing
        yield Item(name, partial(_open_file, name, max_pixels), is_file=True)


def _matches(name: str) -> Iterable[str]:
    # Not Path's own: they raise if a name is too long to be one.
    if not name:
        return ()
    if os.path.isdir(name):  # noqa: PTH112 - as said above
        return _images_of(name)
    if _is_pattern(name):
        return sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - ** and absolute patterns
    return (name,)


def _images_of(folder: str) -> Iterator[str]:
    passed_over: Counter[str] = Counter()
    yield from map(str, images_below(Path(folder), passed_over))
    say_passed_over(folder, passed_over)


def _is_pattern(name: str) -> bool:
    """Return whether it is a pattern, not the name of a file that happens to look like one."""
    return glob.has_magic(name) and not os.path.exists(name)  # noqa: PTH110 - as said above


def _open_file(path: str, max_pixels: int) -> Picture:
    if os.path.isdir(path):  # noqa: PTH112 - as above
        raise ImageError("a folder without images")
    if _is_pattern(path):
        raise ImageError("a pattern that matches no file")
    try:
        return open_image(read_bytes(path), max_pixels=max_pixels)
    except ValueError as error:  # a name with a null character
        raise ImageError(str(error)) from error


def _open_url(url: str, max_pixels: int) -> Picture:
    is_web = url.lower().startswith(("http://", "https://"))
    data = fetch_bytes(url) if is_web else Remote(url).read(b"")
    return open_image(data, max_pixels=max_pixels)
