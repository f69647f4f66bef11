"""Whether bfloat16 pays: a short measurement of what is really computed, in both precisions."""

from __future__ import annotations

import math
import statistics
import time
from typing import TYPE_CHECKING, Literal, TypeAlias

from softonce.console import LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Precision: TypeAlias = Literal["float32", "bfloat16"]

MARGIN = 1.03
"""bfloat16 is taken if it is so many times as fast: float32 is more exact, and to keep it costs 3 %
at most. Two equal steps, measured so on a machine that others used too, came out equal to 1 % in
five measurements of six, and to 4 % in the sixth."""

_LONG_ENOUGH = 0.12
"""Seconds of one timed call: hundreds of times what a call costs whatever it computes, and short
enough for several of each within two seconds."""
_TOO_SHORT = 0.005
"""Seconds below which a call is mostly overhead, to which bfloat16 adds its conversions."""
_SECONDS = 1.5
"""After so many seconds no further pair is timed."""
_ROUNDS = (3, 9)
_FEW = 2
"""A batch of one has code paths of its own, and is not what a run computes."""


def bfloat16_pays(
    compute: Mapping[Precision, Callable[[int], object]],
    num_images: int,
    *,
    what: str,
    least: int = 1,
    agree: Callable[[float], float] = float,
) -> bool:
    """Measure whether bfloat16 is faster than float32 by more than noise makes, and say so.

    Both are timed in turn, on as many images as take a moment, so that it costs about two seconds
    whatever the network.

    Args:
        compute: number of images -> compute them, in each precision.
        num_images: how many there are at a time.
        what: what one call does, such as "a step", for the message.
        least: the fewest images that can be computed.
        agree: a number of this process -> the one that all processes use.

    Example:
        >>> import time
        >>> bfloat16_pays({"float32": lambda n: time.sleep(0.1), "bfloat16": lambda n: None}, 1,
        ...     what="a step")
        True
    """
    few = min(num_images, max(_FEW, least))
    each = agree(_seconds(lambda: compute["float32"](few), warmup=1)) / few
    if each * num_images < _TOO_SHORT:
        return False
    num = max(few, min(num_images, math.ceil(_LONG_ENOUGH / each)))
    factor = agree(_median_factor(compute, num, agree))
    pays = factor >= MARGIN
    found = f"bfloat16 is {factor:.2f} times as fast as float32 for {what}"
    LOG.info("%s, by a short measurement: %s", "bfloat16" if pays else "float32", found)
    return pays


def _median_factor(
    compute: Mapping[Precision, Callable[[int], object]], num: int, agree: Callable[[float], float]
) -> float:
    """Return the median of how many times as fast bfloat16 was, over pairs of calls in turn."""
    for run in compute.values():
        run(num)
    factors: list[float] = []
    begin = time.perf_counter()
    while len(factors) < _ROUNDS[1]:
        single = _seconds(lambda: compute["float32"](num))
        factors.append(single / _seconds(lambda: compute["bfloat16"](num)))
        if len(factors) >= _ROUNDS[0] and agree(time.perf_counter() - begin) > _SECONDS:
            break
    return statistics.median(factors)


def _seconds(call: Callable[[], object], *, warmup: int = 0) -> float:
    for _ in range(warmup):
        call()
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
