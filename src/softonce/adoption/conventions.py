"""The few ways in which pixels are scaled for networks, and a measurement of which one is meant."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch

from softonce import inference
from softonce.calibrate import fit_temperature
from softonce.errors import DataError
from softonce.plurals import format_count
from softonce.preprocessing import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from softonce.adoption.foreign import ChannelOrder
    from softonce.preprocessing import Preprocessing

MIN_ERRORS = 3.0
"""Standard errors by which a convention must beat the next one: 1 of 700 such leads is chance, and
about ten conventions are compared."""

_CAFFE_MEAN = (123.68, 116.779, 103.939)
"""Of red, green and blue, as Caffe's networks of 2014 subtract them, blue first."""


@dataclass(frozen=True)
class Convention:
    """How pixels are scaled.

    Args:
        name: as a report says it.
        mean: a channel, red first, after scaling to [0, 1].
        std: the same.
        order: of the channels that the network takes.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    order: ChannelOrder = "RGB"

    def applied(self, preprocessing: Preprocessing) -> Preprocessing:
        """Return the preprocessing with this scaling."""
        return replace(preprocessing, mean=self.mean, std=self.std)


class Tried(NamedTuple):
    """A convention and what the network answers with it.

    Attributes:
        convention: how pixels are scaled.
        nll: (N,) in nats, at the temperature that is best for it.
        accuracy: share of images whose most probable class is right.
        num_classes: of the network.
    """

    convention: Convention
    nll: NDArray[np.float64]
    accuracy: float
    num_classes: int


class Lead(NamedTuple):
    """How far a convention is ahead of the next one.

    Attributes:
        best: the convention.
        next: the one after it.
        errors: the difference of their mean NLL, in standard errors.
    """

    best: Tried
    next: Tried
    errors: float

    def __str__(self) -> str:
        """Write it as a report does."""
        best, other = self.best, self.next
        return (
            f"{best.convention.name}, on {format_count(len(best.nll), 'image')}: accuracy "
            f"{best.accuracy:.1%}; next is {other.convention.name}, {other.accuracy:.1%}, "
            f"{self.errors:.1f} standard errors of the NLL behind"
        )


def conventions(
    channels: int, *, takes: str | None = None, order: ChannelOrder | None = None
) -> list[Convention]:
    """Return the conventions in use that are left by what is known.

    Args:
        channels: that the network takes.
        takes: `0..1`, `0..255` or `-1..1` if that is known.
        order: of the channels, if that is known.
    """
    scales = {
        "0..1": ((0.0,), (1.0,)),
        "0..255": ((0.0,), (1 / 255,)),
        "-1..1": ((0.5,), (0.5,)),
    }
    orders: Sequence[ChannelOrder] = ("RGB", "BGR") if channels == 3 else ("RGB",)
    found = [
        Convention(_named(name, each, channels), mean * channels, std * channels, each)
        for name, (mean, std) in scales.items()
        for each in orders
        if takes in (None, name) and order in (None, each)
    ]
    if channels == 3 and takes is None:
        unit = (1 / 255,) * 3
        special = [
            Convention("ImageNet's mean and std, RGB", IMAGENET_MEAN, IMAGENET_STD),
            Convention("ImageNet's mean and std, BGR", IMAGENET_MEAN, IMAGENET_STD, "BGR"),
            Convention("Caffe's means, BGR", tuple(x / 255 for x in _CAFFE_MEAN), unit, "BGR"),
        ]
        found += [each for each in special if order in (None, each.order)]
    return found


def _named(name: str, order: ChannelOrder, channels: int) -> str:
    return f"{name}, {order}" if channels == 3 else name


def measure_convention(
    logits_of: Callable[[Convention], NDArray[np.float64]],
    target: NDArray[np.int64],
    candidates: Sequence[Convention],
) -> tuple[Convention, str]:
    """Find the convention with which labelled images are most probable.

    Each is given the temperature that is best for it, so that none wins by the size of its logits;
    what is compared is the NLL of the same images. Two orders of the channels that cannot be told
    apart are no reason to refuse: nearly every network takes red first, and one that answers both
    alike does not care.

    Args:
        logits_of: a convention -> the logits (N, C) of the images.
        target: (N,) their classes.
        candidates: two or more.

    Returns:
        The convention, and how sure that is, in words.

    Raises:
        DataError: if no scaling is clearly ahead of the others, or better than chance.
    """
    tried = [_tried(each, logits_of(each), target) for each in candidates]
    found = sorted((each for each in tried if each is not None), key=lambda each: each.nll.mean())
    if not found:
        raise DataError(
            "expected finite scores, found none with any scaling in use: say it with --range, "
            "--mean and --std"
        )
    best = found[0]
    twins = [each for each in found if _is_of_same_scale(each, best)]
    others = [each for each in found if not _is_of_same_scale(each, best)]
    if others:
        _check(_lead(best, others[0]))
    order = _lead(*twins[:2]) if len(twins) > 1 else None
    if order is not None and order.errors < MIN_ERRORS:
        best = next(each for each in twins if each.convention.order == "RGB")
    shown = _lead(best, others[0]) if others else order
    text = best.convention.name if shown is None else f"measured: {shown}"
    if order is not None and order.errors < MIN_ERRORS:
        text += "; the order of the channels makes no measurable difference"
    return best.convention, text


def _check(lead: Lead) -> None:
    """Raise a `DataError` unless a scaling is ahead, and better than knowing nothing."""
    nll = lead.best.nll
    spread = float(nll.std()) / math.sqrt(len(nll))
    if nll.mean() + 2 * spread >= math.log(lead.best.num_classes):
        raise DataError(
            f"expected images that one scaling answers better than chance, found {lead}: check "
            "that the classes are in the network's order (--classes FILE), or say the scaling with "
            "--range, --mean and --std"
        )
    if lead.errors < MIN_ERRORS:
        raise DataError(
            f"expected one scaling {MIN_ERRORS:g} standard errors ahead of the others, found "
            f"{lead}: give more images, or say it with --range, --mean and --std"
        )


def _tried(
    convention: Convention, scores: NDArray[np.float64], target: NDArray[np.int64]
) -> Tried | None:
    """Return what a convention comes to; None if its scores are not finite."""
    logits, rows = torch.from_numpy(scores), torch.from_numpy(target)
    if not bool(torch.isfinite(logits).all()):
        return None
    log_probs = inference.log_probs(logits, temperature=fit_temperature(logits, rows))
    nll = -log_probs.gather(1, rows[:, None])[:, 0].numpy()
    accuracy = float((logits.argmax(dim=1) == rows).double().mean())
    return Tried(convention, nll, accuracy, logits.shape[1])


def _is_of_same_scale(one: Tried, other: Tried) -> bool:
    first, second = one.convention, other.convention
    return (first.mean, first.std) == (second.mean, second.std)


def _lead(best: Tried, other: Tried) -> Lead:
    difference = other.nll - best.nll
    spread = float(difference.std()) / math.sqrt(len(difference))
    return Lead(best, other, float(difference.mean()) / spread if spread else 0.0)
