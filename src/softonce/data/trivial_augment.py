"""TrivialAugment: one random operation of a random strength on every picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

from PIL import Image, ImageEnhance, ImageOps

from softonce.data.images import FILTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from softonce.preprocessing import Interpolation

NUM_STRENGTHS = 31
"""As in the paper, and in torchvision."""
Operation: TypeAlias = "Callable[[Image.Image, float, Image.Resampling], Image.Image]"


def _affine(image: Image.Image, matrix: Sequence[float], resample: Image.Resampling) -> Image.Image:
    """Look each pixel up at `matrix` times its place; what lies outside is black."""
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample)


def _enhance_with(kind: Callable[[Image.Image], Any]) -> Operation:
    return lambda image, strength, _: kind(image).enhance(1 + strength)


# Name -> (operation, the largest strength, whether its sign is drawn); the space called wide.
OPERATIONS: dict[str, tuple[Operation, float, bool]] = {
    "identity": (lambda image, _, __: image, 0, False),
    "shear-x": (lambda image, s, filter_: _affine(image, (1, s, 0, 0, 1, 0), filter_), 0.99, True),
    "shear-y": (lambda image, s, filter_: _affine(image, (1, 0, 0, s, 1, 0), filter_), 0.99, True),
    "translate-x": (
        lambda image, s, filter_: _affine(image, (1, 0, -int(s), 0, 1, 0), filter_),
        32,
        True,
    ),
    "translate-y": (
        lambda image, s, filter_: _affine(image, (1, 0, 0, 0, 1, -int(s)), filter_),
        32,
        True,
    ),
    "rotate": (lambda image, s, filter_: image.rotate(s, filter_), 135, True),
    "brightness": (_enhance_with(ImageEnhance.Brightness), 0.99, True),
    "colour": (_enhance_with(ImageEnhance.Color), 0.99, True),
    "contrast": (_enhance_with(ImageEnhance.Contrast), 0.99, True),
    "sharpness": (_enhance_with(ImageEnhance.Sharpness), 0.99, True),
    "posterize": (lambda image, s, _: ImageOps.posterize(image, 8 - round(s)), 6, False),
    "solarize": (lambda image, s, _: ImageOps.solarize(image, 255 - s), 255, False),  # type: ignore[arg-type] # any number
    "autocontrast": (lambda image, _, __: ImageOps.autocontrast(image), 0, False),
    "equalize": (lambda image, _, __: ImageOps.equalize(image), 0, False),
}


def trivial_augment(
    image: Image.Image, draws: Sequence[float], *, interpolation: Interpolation
) -> Image.Image:
    """Apply one operation, chosen evenly, at one of 31 strengths, chosen evenly.

    Equals torchvision's `TrivialAugmentWide` for the same choice.

    Args:
        image: RGB or grey.
        draws: three uniform numbers: the operation, its strength, its sign.
        interpolation: of the geometric operations.

    Returns:
        A picture of the same size and mode.

    Example:
        >>> trivial_augment(Image.new("L", (8, 6)), [0.5, 0.9, 0.1], interpolation="nearest").size
        (8, 6)

    Source:
        Müller and Hutter 2021 (arXiv 2103.10158), section 3 and table 1, the space "wide".
    """
    names = list(OPERATIONS)
    operation, largest, is_signed = OPERATIONS[names[math.floor(draws[0] * len(names))]]
    strength = largest * math.floor(draws[1] * NUM_STRENGTHS) / (NUM_STRENGTHS - 1)
    if is_signed and draws[2] < 0.5:
        strength = -strength
    return operation(image, strength, FILTERS[interpolation])
