"""Arrays and tensors become pictures, as their file would be opened; nothing is guessed.

An array is laid out as NumPy's and Pillow's users do, (H, W[, C]); a tensor as torchvision's do,
(C, H, W). Numbers are uint8, uint16, or floats in [0, 1].
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from PIL import Image

from softonce.data.bands import Bands, as_grey
from softonce.errors import ArgumentError, describe_error

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from softonce.data.bands import Picture
    from softonce.preprocessing import Mode

_PILLOWS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""What so many channels are, unless the network reads them as they are stored."""


def is_tensor(value: object) -> TypeGuard[Tensor]:
    """Return whether it is a torch tensor; without torch nothing is, so that it is not imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def picture_of_tensor(tensor: Tensor, mode: Mode = "RGB", place: str = "") -> Picture:
    """Return a tensor (C, H, W) or (H, W) as a picture, from whatever device it is on.

    Raises:
        ArgumentError: if shape, dtype or range is another.
    """
    shape = tuple(tensor.shape)
    swapped = not isinstance(mode, int) and tensor.ndim == 3 and shape[-1] in _PILLOWS
    if swapped and shape[0] > max(_PILLOWS):
        raise _shape_error("a tensor (C, H, W)", shape, place, "permute(2, 0, 1) makes it one")
    if tensor.ndim not in (2, 3) or 0 in shape:
        raise _shape_error("a tensor (C, H, W)", shape, place, _HOW_MANY)
    try:
        tensor = tensor.detach().cpu()
        # NumPy has no bfloat16.
        array = (tensor.float() if tensor.dtype.is_floating_point else tensor).numpy()
    except (TypeError, NotImplementedError, RuntimeError) as error:  # sparse, quantised, no data
        reason = describe_error(error)
        raise ArgumentError(
            f"expected a dense tensor with numbers{place}, found another: {reason}"
        ) from error
    planes = array if array.ndim == 2 else array.transpose(1, 2, 0)
    return picture_of_array(planes, mode, place)


def picture_of_array(array: NDArray[Any], mode: Mode = "RGB", place: str = "") -> Picture:
    """Return an array (H, W) or (H, W, C) as a picture.

    Args:
        array: of 1 to 4 channels (grey, with alpha, colour, with alpha), or of as many as `mode`.
        mode: of the preprocessing that the picture is for.
        place: where it stands, for the message.

    Raises:
        ArgumentError: if shape, dtype or range is another.
    """
    swapped = not isinstance(mode, int) and array.ndim == 3 and array.shape[0] in _PILLOWS
    if swapped and array.shape[2] > max(_PILLOWS):
        raise _shape_error(
            "an array (H, W[, C])", array.shape, place, "transpose(1, 2, 0) makes it one"
        )
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise _shape_error("an array (H, W[, C])", array.shape, place, _HOW_MANY)
    _check_channels(array, mode, place)
    whole = _whole_numbers(array, place)
    planes = whole.reshape(*whole.shape[:2], -1)
    bands = tuple(as_grey(planes[..., number]) for number in range(planes.shape[2]))
    return Bands(bands) if isinstance(mode, int) else Image.merge(_PILLOWS[len(bands)], bands)


def _check_channels(array: NDArray[Any], mode: Mode, place: str) -> None:
    found = array.shape[2] if array.ndim == 3 else 1
    if isinstance(mode, int):
        if found != mode:
            raise _shape_error(
                f"an array of {mode} channels", array.shape, place, "the network reads all of them"
            )
    elif found not in _PILLOWS:
        raise _shape_error(
            "an array (H, W[, C]) of 1 to 4 channels", array.shape, place, "choose those to pass"
        )


_HOW_MANY = "pass one picture, or a list of them: list(batch) is one"


def _whole_numbers(array: NDArray[Any], place: str) -> NDArray[np.uint8] | NDArray[np.uint16]:
    native = array.dtype.newbyteorder("=")
    if native in (np.uint8, np.uint16):
        return array.astype(native, copy=False)
    if array.dtype.kind == "b":
        return array * np.uint8(255)
    if array.dtype.kind != "f":
        raise ArgumentError(
            f"expected numbers of uint8, uint16, or floats in [0, 1]{place}, found "
            f"{array.dtype}: convert them, as with .astype('uint8')"
        )
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):
        remedy = (
            "divide by 255"
            if low >= 0 and high <= 255
            else "pass the picture as it was before it was normalised"
        )
        raise ArgumentError(
            f"expected floats in [0, 1]{place}, found {low:g} to {high:g}: {remedy}"
        )
    # In float64, so that k / 255 in any precision is k again.
    return np.rint(array.astype(np.float64) * 255).astype(np.uint8)


def _shape_error(what: str, shape: tuple[int, ...], place: str, remedy: str) -> ArgumentError:
    return ArgumentError(f"expected {what}{place}, found the shape {shape}: {remedy}")
