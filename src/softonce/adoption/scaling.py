"""How pixels are scaled for a foreign network: asked, in its graph, beside it, or measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from softonce.adoption.agreement import logits_of, planes_of
from softonce.adoption.beside import find_preprocessing
from softonce.adoption.conventions import Convention, conventions, measure_convention
from softonce.errors import ConfigError
from softonce.exporting.pictures import read_pictures
from softonce.preprocessing import Preprocessing, num_channels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from softonce.adoption.agreement import Original
    from softonce.adoption.entrance import Found
    from softonce.adoption.foreign import ChannelOrder, Foreign
    from softonce.config import AdoptConfig
    from softonce.data.samples import Samples

_CROPPED_ABOVE = 64
"""Pixels up to which pictures are shown whole: CIFAR's and MNIST's networks crop nothing."""

_STEPS: dict[str, tuple[float, float]] = {"0..1": (0.0, 1.0), "0..255": (0.0, 1 / 255)}
_STEPS["-1..1"] = (0.5, 0.5)
"""Mean and std, of pixels in [0, 1], that scale them to a range."""


@dataclass(frozen=True)
class Scaled:
    """What pictures go through before a foreign network.

    Args:
        preprocessing: with the mean and std of red, green, blue.
        order: in which the network takes them.
        note: how that is known.
    """

    preprocessing: Preprocessing
    order: ChannelOrder
    note: str


def settle_scaling(
    foreign: Foreign,
    found: Found,
    size: int,
    config: AdoptConfig,
    *,
    original: Original,
    samples: Samples | None,
) -> Scaled:
    """Return the preprocessing: what was asked for, else what is known, else what is measured.

    Args:
        foreign: the model file.
        found: what its graph says.
        size: side of the network's square.
        config: the options.
        original: runs it.
        samples: labelled images, if there are any.

    Raises:
        ConfigError: if nothing says how pixels are scaled.
        DataError: if the images do not show it.
    """
    said = find_preprocessing(foreign.path, foreign.about, size, found.mode)
    base = _frame(config, size, found, None if said is None else said.preprocessing)
    order = config.channel_order or found.order
    if config.range is not None or config.mean is not None:
        return _asked(config, base, order or "RGB")
    if found.takes is None and said is not None:
        return Scaled(base, order or "RGB", f"scaled as {said.place} says")
    channels = num_channels(found.mode)
    candidates = conventions(channels, takes=found.takes, order=order)
    if found.takes is not None:
        place = "the input's dtype" if found.scaling is None else ", ".join(found.scaling.nodes)
        known = f"{found.takes} go in, by {place}"
        if len(candidates) == 1 or samples is None:
            return Scaled(candidates[0].applied(base), candidates[0].order, known)
    if samples is None:
        raise ConfigError(
            f"expected DATA, or --range, --mean and --std, for {foreign.path}, which does not say "
            "how pixels are scaled, found neither: labelled images show it"
        )
    convention, note = _measured(original, base, samples, candidates)
    return Scaled(convention.applied(base), convention.order, note)


def _frame(
    config: AdoptConfig, size: int, found: Found, said: Preprocessing | None
) -> Preprocessing:
    """Return how a picture becomes the square, with a scaling that is still open."""
    count = num_channels(found.mode)
    if said is None:
        resize = round(size * 8 / 7) if size > _CROPPED_ABOVE else size
        said = Preprocessing(
            size=size, resize=resize, mode=found.mode, mean=(0.0,) * count, std=(1.0,) * count
        )
    wanted = {name: getattr(config, name) for name in ("resize", "fit", "interpolation")}
    return replace(said, **{name: value for name, value in wanted.items() if value is not None})


def _asked(config: AdoptConfig, base: Preprocessing, order: ChannelOrder) -> Scaled:
    """Return the scaling of the options: to the range, then by mean and std."""
    name = config.range or "0..1"
    start, step = _STEPS[name]
    count = base.in_channels
    mean, std = config.mean or (0.0,) * count, config.std or (1.0,) * count
    if len(mean) != count or len(std) != count:
        raise ConfigError(
            f"expected {count} numbers with --mean and --std, one a channel, found {len(mean)} and "
            f"{len(std)}"
        )
    numbers = [(start + step * m, step * s) for m, s in zip(mean, std, strict=True)]
    numbers = numbers[::-1] if order == "BGR" else numbers
    means, stds = zip(*numbers, strict=True)
    return Scaled(replace(base, mean=means, std=stds), order, f"scaled to {name} as asked")


def _measured(
    original: Original, base: Preprocessing, samples: Samples, candidates: list[Convention]
) -> tuple[Convention, str]:
    """Return the convention that labelled images show, and how sure that is."""
    pictures = list(read_pictures(samples, base))
    pixels = np.stack([picture.pixels for picture in pictures])
    target = np.array([picture.target for picture in pictures])

    def logits(convention: Convention) -> NDArray[np.float64]:
        planes = planes_of(pixels, convention.applied(base))
        scores, _ = original.run(planes[:, ::-1] if convention.order == "BGR" else planes)
        return logits_of(original.head, scores, len(samples.classes))

    return measure_convention(logits, target, candidates)
