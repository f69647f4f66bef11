"""The preprocessing of a classifier, as one frozen record that travels inside every artefact."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast, get_args

from softonce.errors import ArgumentError
from softonce.plurals import format_count

Fit: TypeAlias = Literal["crop", "pad", "squash"]
Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic"]
ColourMode: TypeAlias = Literal["RGB", "L"]
Mode: TypeAlias = ColourMode | int
"""How pixels are read: in colour, in grey, or as so many channels as are stored."""

MAX_PIXELS = 89_478_485
"""Larger pictures are taken for decompression bombs, unless the caller allows more (Pillow's own
limit)."""

MAX_CHANNELS = 256
"""Above every satellite and microscope; a foreign record cannot ask for more memory."""
MAX_SIDE = 2**13
"""In pixels: a foreign record cannot ask for more memory."""
MAX_SQUARE = 2**28
"""In bytes of the square, all channels: a foreign record with many of both cannot either."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """From a decoded image to the tensor that the network takes.

    Args:
        size: side of the square that the network sees, in pixels.
        resize: with `fit="crop"`, the short side after resizing, in pixels, before the centre crop.
        fit: `crop` resizes the short side and cuts the centre out; `pad` resizes the long side and
            fills up with the mean colour; `squash` ignores the aspect ratio.
        interpolation: the resampling filter, always antialiased.
        mean: per channel, subtracted after scaling to [0, 1].
        std: per channel, divided by.
        mode: `RGB`, `L` for one grey channel, or the number of channels that are stored.

    Raises:
        ArgumentError: if a value is out of its range.

    Example:
        >>> Preprocessing(size=224, resize=256).in_channels
        3
        >>> Preprocessing(size=32, mode="L", mean=(0.5,), std=(0.5,)).to_dict()["resize"]
        32
    """

    size: int
    resize: int = 0
    fit: Fit = "crop"
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    mode: Mode = "RGB"

    def __post_init__(self) -> None:
        """Fill `resize` in, and check every value."""
        object.__setattr__(self, "resize", self.resize or self.size)
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))
        object.__setattr__(self, "std", tuple(map(float, self.std)))
        self._check()

    def _check(self) -> None:
        for name, allowed in (("fit", Fit), ("interpolation", Interpolation)):
            if getattr(self, name) not in get_args(allowed):
                options = ", ".join(get_args(allowed))
                raise ArgumentError(
                    f"expected {name} to be one of {options}; found {getattr(self, name)!r}"
                )
        check_mode(self.mode)
        self._check_sides()
        if len(self.mean) != self.in_channels or len(self.std) != self.in_channels:
            raise ArgumentError(
                f"expected {format_count(self.in_channels, 'value')} of mean and std for mode "
                f"{self.mode}, "
                f"found {len(self.mean)} and {len(self.std)}"
            )
        if not all(map(math.isfinite, self.mean + self.std)) or min(self.std) <= 0:
            raise ArgumentError(
                f"expected finite numbers as mean, and positive ones as std, found {self.mean} and "
                f"{self.std}"
            )

    def _check_sides(self) -> None:
        for side in (self.size, self.resize):
            if isinstance(side, bool) or not isinstance(side, int):
                raise ArgumentError(f"expected whole pixels as size and resize, found {side!r:.60}")
        if self.size < 1 or self.resize < self.size:
            raise ArgumentError(
                f"expected 1 <= size <= resize in pixels, found {self.size} and {self.resize}"
            )
        if self.resize > MAX_SIDE:
            raise ArgumentError(f"expected resize of at most {MAX_SIDE} px, found {self.resize}")
        if self.size**2 * self.in_channels > MAX_SQUARE:
            raise ArgumentError(
                f"expected a square of at most {MAX_SQUARE:,} bytes, found "
                f"{self.size} x {self.size} pixels of "
                f"{format_count(self.in_channels, 'channel')}: make it smaller"
            )

    @property
    def in_channels(self) -> int:
        """Number of channels that the network takes: 3 for RGB, 1 for L."""
        return num_channels(self.mode)

    @property
    def is_raw(self) -> bool:
        """Whether the network takes pixels from 0 to 255 as they are."""
        return not any(self.mean) and set(self.std) == {1 / 255}

    def channel(self, number: int) -> Preprocessing:
        """Return the preprocessing of one channel as a grey picture."""
        mean, std = (self.mean[number],), (self.std[number],)
        return dataclasses.replace(self, mode="L", mean=mean, std=std)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON values, as they stand in an artefact's metadata."""
        record = dataclasses.asdict(self)
        return record | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Preprocessing:
        """Read the record back; unknown and missing fields are an `ArgumentError`."""
        known = {field.name for field in dataclasses.fields(cls)}
        if set(record) != known:
            raise ArgumentError(
                f"expected the preprocessing fields {sorted(known)}, found {sorted(record)}"
            )
        values = record | {"mean": tuple(record["mean"]), "std": tuple(record["std"])}
        return cls(**cast("dict[str, Any]", values))


def num_channels(mode: Mode) -> int:
    """Return the number of channels that a mode has.

    Example:
        >>> [num_channels(mode) for mode in ("RGB", "L", 5)]
        [3, 1, 5]
    """
    return mode if isinstance(mode, int) else len(mode)


def check_mode(mode: object) -> None:
    """Raise an `ArgumentError` unless it is a mode."""
    is_number = isinstance(mode, int) and not isinstance(mode, bool) and 1 <= mode <= MAX_CHANNELS
    if not is_number and mode not in get_args(ColourMode):
        raise ArgumentError(
            f"expected mode to be one of RGB, L, or 1 to {MAX_CHANNELS} channels; found {mode!r}"
        )
