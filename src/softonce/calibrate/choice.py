"""Whether a temperature is kept: only if it helps images that had no part in fitting it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from softonce import inference
from softonce.calibrate.temperature import fit_temperature, likely_temperatures, validate_pair
from softonce.metrics.intervals import MIN_OF_EACH, Z, rarer_kind

if TYPE_CHECKING:
    from torch import Tensor

    from softonce.shapes import ClassIndex, Logits

EXCLUDES_ONE = 7.879 / 2
"""Nats by which the fitted temperature must beat 1: half the 99.5 % quantile of chi-square with one
degree of freedom. A network that is calibrated already is then changed once in 200 times."""

MODESTY = 2.706 / 2
"""Nats that the kept temperature may cost on the samples that it was fitted on: half the 90 %
quantile. Of all temperatures in that range the nearest to 1 is kept: the fitted one lies too far
out just if it was picked for being far out, and then costs more than it gains."""

NUM_FOLDS = 5
"""Ten would fit each temperature on more samples, at twice the cost; in small sets, for which that
matters, the noise of the judged fold is far larger."""


@dataclass(frozen=True)
class Calibration:
    """What held-out samples say of the temperature.

    Args:
        temperature: to divide logits by; 1 if nothing shows that another one helps.
        fitted: the temperature with the least NLL.
        interval: the 99.5 % interval of the temperature (low, high).
        gain: by how much the mean NLL falls on samples that had no part in the fit, in nats.
        gain_interval: its 95 % interval.
        reason: why the temperature is 1, if it is; else empty.
        is_known: whether the samples could show that a temperature helps.
        cross_fitted: (N,) the temperature that would be kept of each sample if it were not there:
            figures at these temperatures are those of samples without a part in the fit.
    """

    temperature: float
    fitted: float
    interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]
    reason: str
    is_known: bool
    cross_fitted: Tensor = field(repr=False, compare=False)


def calibrate(logits: Logits, target: ClassIndex, *, seed: int = 0) -> Calibration:
    """Fit the temperature, and keep it only if it helps other samples.

    It is kept if at least five samples are right and five wrong, if the 99.5 % interval of the
    temperature excludes 1, and if the mean NLL falls in cross-fitting: on each fifth of the
    samples, with the temperature of the other four. What is kept is the end of the 90 % interval
    that is nearer to 1: with few samples it is modest, and with many it is the fitted one.

    Args:
        logits: N rows of C unnormalised class scores of samples that were not trained on.
        target: N class indices from 0 to C - 1.
        seed: of the folds.

    Raises:
        ArgumentError: as `fit_temperature` does.

    Example:
        >>> logits = torch.tensor([[4.0, 0.0], [0.0, 4.0]]).repeat(50, 1)
        >>> target = torch.tensor([0, 1]).repeat(50)
        >>> target[:20] = 1 - target[:20]  # 20 of 100 are wrong, though the network is sure
        >>> found = calibrate(logits, target)
        >>> round(found.fitted, 2), round(found.temperature, 2), found.gain > 0
        (2.89, 2.2, True)

    Source:
        Temperature: Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2.
        Cross-fitting: Stone 1974, Cross-Validatory Choice and Assessment of Statistical
        Predictions.
    """
    logits, target = validate_pair(logits, target)
    fitted = fit_temperature(logits, target)
    interval = likely_temperatures(logits, target, fitted, excess=EXCLUDES_ONE)
    temperatures = _cross_fit(logits, target, seed)
    gain, gain_interval = _gain(logits, target, temperatures)
    num_right, n = int((logits.argmax(dim=1) == target).sum()), len(target)
    num_rarer, few = rarer_kind(num_right, n)
    reason, is_known = "", num_rarer >= MIN_OF_EACH
    if not is_known:
        reason = f"{few}, and it takes {MIN_OF_EACH}"
    elif interval[0] <= 1 <= interval[1]:
        reason = "the interval of the temperature, {:.3g} to {:.3g}, holds 1".format(*interval)
    elif gain <= 0:
        reason = "another temperature does not lower the NLL of images without a part in fitting it"
    temperature = 1.0 if reason else _nearest_to_one(logits, target, fitted)
    return Calibration(
        temperature, fitted, interval, gain, gain_interval, reason, is_known, temperatures
    )


def _nearest_to_one(logits: Tensor, target: Tensor, fitted: float) -> float:
    low, high = likely_temperatures(logits, target, fitted, excess=MODESTY)
    return low if fitted > 1 else high


def _kept(logits: Tensor, target: Tensor) -> float:
    """Return the temperature that would be kept if these samples were all."""
    near = _nearest_to_one(logits, target, fitted := fit_temperature(logits, target))
    return near if (near > 1) == (fitted > 1) else 1.0


def _cross_fit(logits: Tensor, target: Tensor, seed: int) -> Tensor:
    """Return the temperature of each sample (N,): each fifth has that of the other four."""
    n = len(target)
    found = torch.ones(n, dtype=torch.float64)
    if n < 2:
        return found
    fold = np.random.default_rng(seed).permutation(n) % min(NUM_FOLDS, n)
    for index in range(fold.max() + 1):
        held_out = torch.from_numpy(fold == index)
        found[held_out] = _kept(logits[~held_out], target[~held_out])
    return found


def _gain(
    logits: Tensor, target: Tensor, temperatures: Tensor
) -> tuple[float, tuple[float, float]]:
    """Return the mean fall of the NLL on samples without a part in the fit, and its interval."""
    n = len(target)
    if n < 2:
        return 0.0, (0.0, 0.0)
    rows = logits.double()
    falls = _nll(rows, target) - _nll(rows / temperatures[:, None], target)
    mean, half = falls.mean().item(), Z * falls.std().item() / math.sqrt(n)
    return mean, (mean - half, mean + half)


def _nll(logits: Tensor, target: Tensor) -> Tensor:
    log_probs = inference.log_probs(logits)
    return -log_probs.gather(1, target.long()[:, None])[:, 0]
