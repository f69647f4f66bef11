"""The first batch as the network sees it, for people: is the crop right, are the labels?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from softonce.data.loader import denormalize
from softonce.drawing import contact_sheet, resize_to_show
from softonce.files import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from softonce.preprocessing import Preprocessing
    from softonce.shapes import ClassIndex, Images, Probs

MAX_PICTURES = 16
"""Four by four can be looked at."""
_LEAST, _MOST = 112, 224  # pixels of a side: a name is readable from the first on, four fit a page
_LEAST_SHARE = 0.005  # a smaller share of a mixed picture would read "0 %"


def write_first_batch(
    path: Path,
    images: Images,
    target: ClassIndex | Probs,
    *,
    classes: Sequence[str],
    preprocessing: Preprocessing,
) -> None:
    """Write the pictures of a batch, at most sixteen, with their classes beneath, as a PNG file.

    Its `Description` holds the classes as text, for readers who do not see the picture.

    Args:
        path: of the file.
        images: as the network gets them: normalised, augmented and mixed.
        target: class indices, or probabilities if the pictures are mixed.
        classes: the class names, in index order.
        preprocessing: by which the images were normalised.

    Raises:
        StorageError: if it cannot be written.
    """
    pixels = denormalize(images[:MAX_PICTURES].detach(), preprocessing).cpu()
    pictures = [
        resize_to_show(_as_picture(each, preprocessing), least=_LEAST, most=_MOST)
        for each in pixels
    ]
    labels = [_labels(row, classes) for row in target[:MAX_PICTURES].cpu()]
    about = PngInfo()
    about.add_itxt("Description", "; ".join(" and ".join(lines) for lines in labels))
    with replacing(path) as temporary:
        contact_sheet(pictures, labels).save(temporary, format="PNG", pnginfo=about)


def _as_picture(pixels: Tensor, preprocessing: Preprocessing) -> Image.Image:
    """Return one picture; of channels that are no colours, the first in grey."""
    array = pixels.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(array if preprocessing.mode == "RGB" else array[..., 0])


def _labels(row: Tensor, classes: Sequence[str]) -> list[str]:
    """Return the class of one picture, or both classes of a mixed one with their shares."""
    if row.ndim == 0:
        return [classes[int(row)]]
    shares, order = row.float().topk(min(2, len(classes)))
    ranked = zip(shares.tolist(), order.tolist(), strict=True)
    found = [(share, classes[index]) for share, index in ranked]
    if found[-1][0] < _LEAST_SHARE:
        return [found[0][1]]
    return [f"{100 * share:.0f} % {name}" for share, name in found]
