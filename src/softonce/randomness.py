"""Random numbers as pure functions of (seed, epoch, index): no state that a resume could lose."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble 64 bits so that neighbouring inputs share nothing (the finaliser of SplitMix64)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def uniforms(
    seed: int, epoch: int, indices: npt.ArrayLike, *, num_draws: int
) -> npt.NDArray[np.float64]:
    """Return `num_draws` uniform numbers in [0, 1) for each sample index.

    A sample's numbers depend only on its own index, never on the batch that it came in.

    Args:
        seed: the run's seed.
        epoch: counted from 0.
        indices: (N,) sample indices.
        num_draws: numbers a sample.

    Returns:
        An (N, num_draws) array.

    Example:
        >>> both = uniforms(0, 3, [5, 8], num_draws=2)
        >>> bool((uniforms(0, 3, [8], num_draws=2) == both[1]).all())
        True

    Source:
        Steele, Lea, Flood: Fast splittable pseudorandom number generators (OOPSLA 2014), section 5.
    """
    counters = np.asarray(indices, dtype=np.uint64)[:, None]
    with np.errstate(over="ignore"):
        key = _mix(np.array([seed + 1], dtype=np.uint64) * _GOLDEN)
        key = _mix(key + np.uint64(epoch + 1) * _GOLDEN)
        rows = _mix(key + (counters + np.uint64(1)) * _GOLDEN)
        bits = _mix(rows + np.arange(1, num_draws + 1, dtype=np.uint64) * _GOLDEN)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(seed: int, epoch: int, num_items: int) -> npt.NDArray[np.int64]:
    """Return the order of an epoch: a permutation of `range(num_items)`.

    Example:
        >>> sorted(permutation(0, 1, 4).tolist())
        [0, 1, 2, 3]
    """
    keys = uniforms(seed, epoch, np.arange(num_items), num_draws=1)[:, 0]
    return np.argsort(keys, kind="stable").astype(np.int64)


def generator(seed: int, *counters: int) -> np.random.Generator:
    """Return a generator for draws whose number is not known before: a function of its arguments.

    Example:
        >>> generator(0, 3, 5).random() == generator(0, 3, 5).random()
        True
        >>> generator(0, 3, 5).random() == generator(0, 3, 6).random()
        False
    """
    return np.random.default_rng([seed, *counters])
