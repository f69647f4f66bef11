"""Augmentation on pixels: every random number belongs to (seed, epoch, sample index)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from softonce.data.images import decode, random_box, resize_square, to_array, whole_pixels
from softonce.data.trivial_augment import trivial_augment
from softonce.randomness import generator, uniforms

if TYPE_CHECKING:
    import numpy.typing as npt

    from softonce.data.bands import Picture
    from softonce.preprocessing import Interpolation, Preprocessing
    from softonce.shapes import Pixels

CropKind: TypeAlias = Literal["pad-crop", "resized-crop", "none"]
AutoAugment: TypeAlias = Literal["none", "ta_wide"]
EraseFill: TypeAlias = Literal["noise", "mean"]

_NUM_DRAWS = 11
_BOX_DRAWS = slice(0, 4)
_SHIFT_DRAWS = slice(4, 6)
_FLIP_DRAW = 6
_ERASE_DRAW = 7
_AUTO_DRAWS = slice(8, 11)
_ERASE_AREA = (0.02, 0.4)
_ERASE_RATIO = (0.3, 1 / 0.3)
_ERASE_TRIES = 100
"""Boxes that are drawn until one fits, ten times torchvision's; then the picture stays whole."""
_ORIENTATION = 0x0112
"""The tag of EXIF that says how the camera was held."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What changes from epoch to epoch.

    Args:
        crop: `pad-crop` shifts a padded picture, `resized-crop` resizes a random box, or `none`.
        size: side of the square while training, in pixels.
        scale: area of the random box, as a share of the picture.
        ratio: width over height of the random box.
        hflip: probability of a mirrored picture.
        alternating_flip: mirror by chance in the first epoch, then every picture in every second.
        auto_augment: `ta_wide` is TrivialAugment, before everything but a resized crop.
        random_erase: probability of a blanked box.
        random_erase_fill: `noise` draws every value of the box, `mean` is one colour.
        fill: the mean colour, in [0, 1].

    Source:
        Pad-crop and flip: He et al. 2015 (arXiv 1512.03385), section 4.2. Alternating flip: Jordan
        2024 (arXiv 2404.00498), section 3.6. Random erasing: Zhong et al. 2017 (arXiv 1708.04896),
        section 3.2 and algorithm 1.
    """

    crop: CropKind
    size: int
    scale: tuple[float, float] = (0.25, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: float = 0.5
    alternating_flip: bool = False
    auto_augment: AutoAugment = "none"
    random_erase: float = 0.0
    random_erase_fill: EraseFill = "noise"
    fill: tuple[float, ...] = (0.5,)


def draw(seed: int, epoch: int, indices: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the random numbers of each sample, a row of which the functions below take."""
    return uniforms(seed, epoch, indices, num_draws=_NUM_DRAWS)


def random_crop_image(
    image: Picture,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    draws: npt.NDArray[np.float64],
) -> npt.NDArray[np.uint8]:
    """Cut a random box out of an opened picture, decoding no more pixels than it needs.

    Returns:
        (size, size, channels).
    """
    size = augmentation.size
    if isinstance(image, Image.Image) and _is_upright_jpeg(image):
        width, height = image.size
        left, top, right, bottom = _choose(augmentation, draws, width, height)
        image.draft(
            None,
            (_decode_side(width, right - left, size), _decode_side(height, bottom - top, size)),
        )
        x, y = image.width / width, image.height / height
        box = (left * x, top * y, right * x, bottom * y)
        decoded = decode(image, preprocessing.mode)
    else:
        decoded = decode(image, preprocessing.mode)
        box = _choose(augmentation, draws, decoded.width, decoded.height)
    # Cut first: what is left to convert to an array is half of the picture.
    part = decoded.crop(whole_pixels(box, decoded.width, decoded.height))
    return resize_square(to_array(part), size, preprocessing.interpolation)


def random_crop_array(
    picture: npt.NDArray[np.uint8],
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    draws: npt.NDArray[np.float64],
) -> npt.NDArray[np.uint8]:
    """Cut the same random box out of a decoded picture (H, W, channels)."""
    height, width, _ = picture.shape
    box = _choose(augmentation, draws, width, height)
    left, top, right, bottom = whole_pixels(box, width, height)
    part = picture[top:bottom, left:right]
    return resize_square(part, augmentation.size, preprocessing.interpolation)


def _choose(
    augmentation: Augmentation, draws: npt.NDArray[np.float64], width: int, height: int
) -> tuple[float, float, float, float]:
    """Return the sample's box in a picture of this width and height."""
    scale, ratio = augmentation.scale, augmentation.ratio
    return random_box(width, height, draws[_BOX_DRAWS], scale=scale, ratio=ratio)


def _is_upright_jpeg(image: Image.Image) -> bool:
    return image.format == "JPEG" and image.getexif().get(_ORIENTATION, 1) == 1


def _decode_side(side: int, box_side: float, size: int) -> int:
    """Return the side at which the whole picture may be decoded, so that its box has `size`."""
    return max(1, math.floor(side * size / box_side))


def auto_augment_array(
    picture: npt.NDArray[np.uint8],
    augmentation: Augmentation,
    interpolation: Interpolation,
    draws: npt.NDArray[np.float64],
) -> npt.NDArray[np.uint8]:
    """Apply `--auto-augment` to one picture, (H, W, 1 or 3)."""
    if augmentation.auto_augment == "none":
        return picture
    chosen = draws[_AUTO_DRAWS].tolist()
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    return to_array(trivial_augment(image, chosen, interpolation=interpolation))


def augment_pixels_(
    pixels: Pixels,
    augmentation: Augmentation,
    seed: int,
    epoch: int,
    indices: npt.NDArray[np.int64],
) -> Pixels:
    """Shift, flip and erase in a batch, in place if possible; the draws belong to the indices."""
    draws = draw(seed, epoch, indices)
    if augmentation.crop == "pad-crop":
        pixels = _pad_crop(pixels, draws[:, _SHIFT_DRAWS])
    flipped = draws[:, _FLIP_DRAW] < augmentation.hflip
    if augmentation.alternating_flip:
        first = draw(seed, 0, indices)[:, _FLIP_DRAW]
        flipped = (first < augmentation.hflip) ^ (epoch % 2 == 1)
    _mirror_(pixels, np.flatnonzero(flipped))
    for row in np.flatnonzero(draws[:, _ERASE_DRAW] < augmentation.random_erase):
        _erase_(pixels[row], generator(seed, epoch, int(indices[row])), augmentation)
    return pixels


def _mirror_(pixels: Pixels, rows: npt.NDArray[np.int64]) -> None:
    """Mirror some pictures of the batch."""
    if pixels.is_contiguous():
        chosen = torch.from_numpy(rows)
        pixels[chosen] = pixels[chosen].flip(-1)
        return
    for row in rows.tolist():  # with the channels last, ten times as fast as all at once
        pixels[row] = pixels[row].flip(-1)


def _pad_crop(pixels: Pixels, draws: npt.NDArray[np.float64]) -> Pixels:
    """Pad an eighth of the side by reflection, and cut the square out at a random place."""
    num, _, height, width = pixels.shape
    if width == 1:
        return pixels
    pad = max(1, width // 8)
    padded = F.pad(pixels, (pad, pad, pad, pad), mode="reflect")
    shift = torch.from_numpy((draws * (2 * pad + 1)).astype(np.int64))
    rows = shift[:, 0, None] + torch.arange(height)
    columns = shift[:, 1, None] + torch.arange(width)
    sample = torch.arange(num)[:, None, None]
    return padded.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )


def _erase_(pixels: Pixels, rng: np.random.Generator, augmentation: Augmentation) -> None:
    """Blank a box of 2 to 40 % of one picture, drawn again until it fits."""
    channels, height, width = pixels.shape
    for _ in range(_ERASE_TRIES):
        area, ratio = height * width * rng.uniform(*_ERASE_AREA), rng.uniform(*_ERASE_RATIO)
        box_height, box_width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < box_height < height and 0 < box_width < width:
            break
    else:
        return
    top = rng.integers(height - box_height + 1)
    left = rng.integers(width - box_width + 1)
    if augmentation.random_erase_fill == "noise":
        noise = rng.integers(256, size=(channels, box_height, box_width), dtype=np.uint8)
        colour = torch.from_numpy(noise)
    else:
        values = [round(255 * value) for value in augmentation.fill]
        colour = torch.tensor(values, dtype=torch.uint8)[:, None, None]
    pixels[:, top : top + box_height, left : left + box_width] = colour
