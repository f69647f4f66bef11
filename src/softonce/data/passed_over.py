"""Files that are not read are counted by reason, and said."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from softonce.console import LOG
from softonce.data.storage import Local, is_hidden, is_image, suffix_of
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

OUTSIDE = "outside the class folders"
_NO_SUFFIX = "without a suffix"
_HIDDEN = "hidden"
_FORMATS = "pip install 'softonce[formats]' lets them be read"
_REMEDIES = {
    **dict.fromkeys((".heic", ".heics", ".heif", ".heifs", ".hif", ".jxl"), _FORMATS),
    **dict.fromkeys((".dcm", ".dicom", ".nii", ".svg", ".pdf", ".psb"), "save them as PNG"),
    **dict.fromkeys(
        (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".raf", ".rw2"), "save them as TIFF or PNG"
    ),
    **dict.fromkeys((".zip", ".tar", ".gz", ".7z", ".rar"), "unpack them"),
    _NO_SUFFIX: "add one, such as .jpg, if they are pictures",
    OUTSIDE: "move them into one",
}
"""Of files that are pictures or hold some: what to do to have them read."""


def sift_images(names: Iterable[bytes], passed_over: Counter[str]) -> Iterator[bytes]:
    """Yield the names of images, and count the others by the reason why they are not read."""
    for name in names:
        if is_image(name):
            yield name
        else:
            hidden = is_hidden(name)
            passed_over[_HIDDEN if hidden else suffix_of(name) or _NO_SUFFIX] += 1


def images_below(folder: Path, passed_over: Counter[str]) -> Iterator[Path]:
    """Yield every image file below a folder of this machine, sorted, and count the others."""
    return (folder / os.fsdecode(name) for name in sift_images(Local(folder).walk(), passed_over))


def say_passed_over(place: str, passed_over: Mapping[str, int]) -> None:
    """Say how many files were not read and why: a warning if there are pictures among them."""
    if not passed_over:
        return
    text = ", ".join(
        f"{count} {reason}" + (f" ({_REMEDIES[reason]})" if reason in _REMEDIES else "")
        for reason, count in sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))
    )
    say = LOG.warning if _REMEDIES.keys() & passed_over.keys() else LOG.info
    say("passed over %s in %s: %s", format_count(sum(passed_over.values()), "file"), place, text)
