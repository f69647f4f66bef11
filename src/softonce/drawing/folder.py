"""A folder of annotated pictures, each under a safe name of its own."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from softonce.drawing.captions import resize_to_show, with_caption
from softonce.errors import ConfigError
from softonce.files import make_folder, names_in, replacing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

LEAST, MOST = 240, 1024
"""Long sides, in pixels: a caption is readable from the first on; the second fits a screen."""
_LONGEST_NAME = 60  # letters, of up to 4 bytes: file systems take 255 bytes


@dataclass
class PictureFolder:
    """Writes pictures with captions as JPEG files.

    Args:
        folder: that they are written to; it is made if it is not there.

    Raises:
        ConfigError: if it holds files already, which might be the pictures themselves.
        StorageError: if it cannot be made.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = PictureFolder(Path(place) / "seen")
        ...     image = Image.new("RGB", (640, 480))
        ...     [folder.write(image, name, ["bees 99.3 %"]).name for name in ("a/1.png", "b/1.png")]
        ['1.jpg', '1-2.jpg']
    """

    folder: Path
    _taken: set[str] = field(init=False, default_factory=set)
    _numbers: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Make the folder, and look that it is empty."""
        make_folder(self.folder, purpose="for the annotated pictures", remedy="choose another")
        if names := names_in(self.folder):
            raise ConfigError(
                f"expected an empty or a new folder for the annotated pictures, found "
                f"{names[0]} in {self.folder}: name another folder, or empty this one"
            )

    def write(self, image: Image.Image, name: str, lines: Sequence[str]) -> Path:
        """Write one picture with lines of text beneath it, and return the file.

        Args:
            image: as it is to be seen.
            name: of the file or URL that it came from.
            lines: see `with_caption`.

        Raises:
            StorageError: if it cannot be written.
        """
        picture = resize_to_show(image, least=LEAST, most=MOST)
        # A caption is as large beside its picture on every picture, within what can be read.
        size = min(28, max(14, picture.width // 26))
        path = self.folder / self._unique(_safe_stem(name))
        with replacing(path) as temporary:
            captioned = with_caption(picture, lines, width=LEAST, font_size=size)
            captioned.save(temporary, format="JPEG", quality=90)
        return path

    def _unique(self, stem: str) -> str:
        """Return a file name that no earlier picture has, on file systems that fold cases too."""
        key = unicodedata.normalize("NFC", stem).casefold()
        number = self._numbers.get(key, 0)
        while True:
            number += 1
            name = f"{stem}-{number}" if number > 1 else stem
            folded = unicodedata.normalize("NFC", name).casefold()
            if folded not in self._taken:
                break
        self._numbers[key] = number
        self._taken.add(folded)
        return f"{name}.jpg"


def _safe_stem(name: str) -> str:
    """Return the name without folders and ending, of letters that every system takes.

    Example:
        >>> [_safe_stem(name) for name in ("a/cat.jpg", "..", "-rf", "a b*.png", "고양이.png")]
        ['cat', 'image', 'rf', 'a_b_', '고양이']
    """
    stem = PurePath(name.replace("\\", "/")).stem
    return re.sub(r"[^\w.-]+", "_", stem).lstrip(".-")[:_LONGEST_NAME] or "image"
