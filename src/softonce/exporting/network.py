"""The network as it leaves: pixels of any size in, logits and probabilities out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from softonce.inference import probs
from softonce.preprocessing import num_channels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from softonce.artefact import Metadata
    from softonce.preprocessing import Preprocessing

_GREY = (19595.0, 38470.0, 7471.0)
"""Pillow's weights of red, green and blue, in 65536ths."""


_smaller: Callable[[int, int], int] = torch.sym_min
_larger: Callable[[int, int], int] = torch.sym_max


class Planes(nn.Module):
    """Pictures of any size become the normalised square that a network takes.

    Args:
        preprocessing: how.
    """

    mean: Tensor
    std: Tensor
    colour: Tensor
    outputs: tuple[str, ...] = ("planes",)

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(preprocessing, name)))
        self.register_buffer("colour", (255 * self.mean).round()[:, None, None])

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return (N, channels, size, size) float32 of uint8 pictures, (N, H, W, channels)."""
        return {"planes": self.planes(images)}

    def planes(self, images: Tensor) -> Tensor:
        """Return the planes by themselves."""
        planes = images.permute(0, 3, 1, 2)
        if self.preprocessing.mode == "L":
            planes = to_grey(planes)
        square = fit_pixels(planes, self.preprocessing, self.colour)
        if self.preprocessing.is_raw:
            return square
        # With the channels last this is a tenth of the time: 0.3 against 5 of 39 ms in OpenVINO.
        last = (square.permute(0, 2, 3, 1) / 255 - self.mean) / self.std
        return last.permute(0, 3, 1, 2)


class Deployed(Planes):
    """A classifier whose preprocessing and temperature are part of it.

    Args:
        model: normalised images, in the dtype of its parameters -> logits.
        metadata: the preprocessing and the temperature.
        outputs: `logits`, `probs`, or both: what it returns, in this order.
    """

    def __init__(
        self, model: nn.Module, metadata: Metadata, outputs: Sequence[str] = ("logits", "probs")
    ) -> None:
        super().__init__(metadata.preprocessing)
        self.model, self.outputs = model, tuple(outputs)
        self.dtype = next(model.parameters()).dtype
        self.temperature = metadata.temperature

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return what is asked for of uint8 pictures of one size, (N, H, W, channels)."""
        logits = self.model(self.planes(images).to(self.dtype)).float()
        both = {"logits": logits, "probs": probs(logits, temperature=self.temperature)}
        return {name: both[name] for name in self.outputs}


def to_program(network: Planes) -> torch.export.ExportedProgram:
    """Trace the network for any number of pictures of any size."""
    mode, size = network.preprocessing.mode, torch.export.Dim.AUTO
    pictures = torch.zeros(2, 61, 83, 3 if mode == "L" else num_channels(mode), dtype=torch.uint8)
    with torch.no_grad():
        return torch.export.export(
            network, (pictures,), dynamic_shapes=({0: size, 1: size, 2: size},)
        )


def to_grey(planes: Tensor) -> Tensor:
    """Return the luminance of RGB planes, to the bit as Pillow's `convert("L")`."""
    weights = torch.tensor(_GREY).view(1, 3, 1, 1)
    total = (planes * weights).sum(1, keepdim=True)  # below 2**24: exact in float32
    return ((total + 32768) / 65536).floor().to(torch.uint8)


def fit_pixels(planes: Tensor, preprocessing: Preprocessing, colour: Tensor) -> Tensor:
    """Make the float square that the network sees, as `fit_image` does with Pillow."""
    size = preprocessing.size
    height, width = planes.shape[-2:]
    if preprocessing.fit == "squash":
        return resize(planes, size, size, preprocessing).float()
    if preprocessing.fit == "pad":
        longest = _larger(height, width)
        inner_h, inner_w = (pad_side(side, size, longest) for side in (height, width))
        inside = resize(planes, inner_h, inner_w, preprocessing) - colour
        top, left = (size - inner_h) // 2, (size - inner_w) // 2
        edges = (left, size - inner_w - left, top, size - inner_h - top)
        return F.pad(inside, edges) + colour
    shortest = _smaller(height, width)
    height, width = (side * preprocessing.resize // shortest for side in (height, width))
    top, left = (half_to_even(side - size) for side in (height, width))
    pixels = resize(planes, height, width, preprocessing)
    return pixels[:, :, top : top + size, left : left + size].float()


def resize(planes: Tensor, height: int, width: int, preprocessing: Preprocessing) -> Tensor:
    """Resize uint8 planes, antialiased."""
    mode = preprocessing.interpolation
    if mode == "nearest":
        return F.interpolate(planes, (height, width), mode="nearest-exact")
    return F.interpolate(planes, (height, width), mode=mode, antialias=True)


def pad_side(side: int, size: int, longest: int) -> int:
    """Return `max(1, round(side * size / longest))` in whole numbers, halves to even."""
    doubled = 2 * side * size + longest
    rounded = doubled // (2 * longest)
    is_half = 1 - _smaller(1, doubled % (2 * longest))
    return _larger(1, rounded - is_half * (rounded % 2))


def half_to_even(number: int) -> int:
    """Return `round(number / 2)` in whole numbers, for a graph that has no rounding of sizes."""
    return number // 2 + (number % 4) // 3
