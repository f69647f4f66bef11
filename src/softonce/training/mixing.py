"""Mixup and cutmix: two pictures in one, and their classes in the same shares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch.nn.functional as F

from softonce.randomness import generator

if TYPE_CHECKING:
    import numpy as np

    from softonce.shapes import ClassIndex, Images, Probs


@dataclass(frozen=True)
class Mixing:
    """Mixes every picture with its neighbour in the process's batch, in a share of the step's own.

    Where both are on, a step draws one of them with even chances.

    Args:
        num_classes: C.
        mixup_alpha: shares come from Beta(alpha, alpha); 0 is no mixup.
        cutmix_alpha: the same for cutmix.
        seed: of the draws, which depend only on the seed and the step.

    Example:
        >>> import torch
        >>> images, target = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
        >>> mixed, probs = Mixing(3, mixup_alpha=0.2)(images, target, step=7)
        >>> mixed.shape, probs.sum(1).tolist()
        (torch.Size([4, 3, 8, 8]), [1.0, 1.0, 1.0, 1.0])

    Source:
        Zhang et al. 2017 (arXiv 1710.09412), section 2; Yun et al. 2019 (arXiv 1905.04899),
        section 3.1.
    """

    num_classes: int
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    seed: int = 0

    def __call__(self, images: Images, target: ClassIndex, *, step: int) -> tuple[Images, Probs]:
        """Return mixed images and class probabilities."""
        rng = generator(self.seed, step)
        both = self.mixup_alpha > 0 and self.cutmix_alpha > 0
        cut = rng.random() < 0.5 if both else self.cutmix_alpha > 0
        alpha = self.cutmix_alpha if cut else self.mixup_alpha
        share = float(rng.beta(alpha, alpha))
        others = images.roll(1, 0)
        if cut:
            top, bottom, left, right = _box(rng, share, *images.shape[2:])
            images = images.clone()
            images[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
            share = 1 - (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])
        else:
            images = images * share + others * (1 - share)
        probs = F.one_hot(target, self.num_classes).to(images.dtype)
        return images, probs * share + probs.roll(1, 0) * (1 - share)


def _box(
    rng: np.random.Generator, share: float, height: int, width: int
) -> tuple[int, int, int, int]:
    """Return the edges of a box around a random pixel, of the area that is left for the other."""
    side = math.sqrt(1 - share) / 2
    y, x = int(rng.integers(height)), int(rng.integers(width))
    half_height, half_width = int(side * height), int(side * width)
    vertical = max(0, y - half_height), min(height, y + half_height)
    return *vertical, max(0, x - half_width), min(width, x + half_width)
