"""The temperature with the least NLL, and those that the samples do not contradict."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from softonce import inference
from softonce.errors import ArgumentError
from softonce.metrics import check_target

if TYPE_CHECKING:
    from torch import Tensor

    from softonce.shapes import ClassIndex, Logits

MIN_TEMPERATURE = 0.05
"""Below it nothing is gained: a network without a mistake would ask for 0."""
MAX_TEMPERATURE = 20.0
"""Above it probabilities are all but uniform: logits that say nothing would ask for infinity."""
_ELEMENTS_AT_ONCE = 1 << 22
"""Logits are widened to float64 in blocks of 32 MiB, so that a large set needs no second copy."""
_MAX_STEPS = 100
"""Bisection ends at the resolution of float64 after some fifty halvings; more would be an error."""
_PRECISION = 1e-10
"""Relative, of an inverse temperature: Newton's steps are quadratic, so that it costs one more."""


def fit_temperature(logits: Logits, target: ClassIndex) -> float:
    """Find the temperature with the least negative log-likelihood on held-out samples.

    Equals the T that minimises `nll_loss(log_probs(logits, temperature=T), target)` over
    [0.05, 20], and never has more of it than T = 1. The mean is convex in 1/T, so Newton's method
    on its derivative, kept inside a bracket, finds the one minimum; all sums are float64.

    If the minimum lies outside, the bound itself is returned: 0.05 if every sample is right
    (no confidence is too high for it), 20 if the logits say nothing about the target. If the
    temperature changes nothing, as with equal logits, it is 1.

    Args:
        logits: N rows of C unnormalised class scores of samples that were not trained on.
        target: N class indices from 0 to C - 1.

    Returns:
        The temperature; more than 1 for a network that is too confident.

    Raises:
        ArgumentError: if there are no rows, if shapes, dtypes or indices do not fit, or if
            a row of logits is not finite.

    Example:
        >>> logits = torch.tensor([[8.0, 0.0], [8.0, 0.0], [8.0, 0.0], [8.0, 0.0]])
        >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1])), 4)  # 8 / ln 3
        7.2819

    Source:
        Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2.
    """
    logits, target = validate_pair(logits, target)
    nll_at_one = derivatives(logits, target, 1.0)[0]
    temperature = 1.0 / _least(logits, target, 1.0 / MAX_TEMPERATURE, 1.0 / MIN_TEMPERATURE)
    nll = derivatives(logits, target, 1.0 / temperature)[0]
    return temperature if nll < nll_at_one else 1.0


def likely_temperatures(
    logits: Logits, target: ClassIndex, fitted: float, *, excess: float
) -> tuple[float, float]:
    """Return the range of temperatures whose likelihood is near the largest.

    Args:
        logits: N rows of C unnormalised class scores.
        target: N class indices.
        fitted: the temperature with the least NLL.
        excess: how much more the summed NLL may be, in nats. Half the quantile of a chi-square of
            one degree of freedom makes the range an interval of that confidence.

    Returns:
        The lowest and the highest, within the bounds of `fit_temperature`.

    Source:
        Venzon and Moolgavkar 1988, A Method for Computing Profile-Likelihood-Based Confidence
        Intervals; of one parameter, the profile is the likelihood itself.
    """
    logits, target = validate_pair(logits, target)
    most = derivatives(logits, target, 1.0 / fitted)[0] + excess
    hot, cold = (
        1.0 / _crossing(logits, target, start, most)
        for start in (1.0 / MAX_TEMPERATURE, 1.0 / MIN_TEMPERATURE)
    )
    return min(cold, fitted), max(hot, fitted)


def _crossing(logits: Tensor, target: Tensor, inverse: float, most: float) -> float:
    """Return the inverse temperature at which the summed NLL has fallen to `most`.

    The NLL is convex, so that Newton's method from outside comes nearer at every step, and never
    goes past.
    """
    for _ in range(_MAX_STEPS):
        nll, slope, _ = derivatives(logits, target, inverse)
        if nll <= most or slope == 0:
            break
        step = (nll - most) / slope
        inverse -= step
        if abs(step) <= _PRECISION * inverse:
            break
    return inverse


def validate_pair(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits and target on the CPU.

    Raises:
        ArgumentError: if there are none, they do not fit, or a row is not finite.
    """
    logits, target = logits.detach().cpu(), target.cpu()
    inference.check_logits(logits)
    check_target(logits, target)
    if len(logits) == 0:
        raise ArgumentError(
            "expected at least one sample to fit the temperature on, found none: keep samples for "
            "validation, or use a temperature of 1"
        )
    return logits, target


def _least(logits: Tensor, target: Tensor, low: float, high: float) -> float:
    """Return the inverse temperature in [low, high] where the convex NLL is least."""
    if derivatives(logits, target, low)[1] >= 0:
        return low
    if derivatives(logits, target, high)[1] <= 0:
        return high
    inverse = 1.0
    for _ in range(_MAX_STEPS):
        _, slope, curvature = derivatives(logits, target, inverse)
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        step = inverse - slope / curvature if curvature > 0 else math.inf
        following = step if low <= step <= high else (low + high) / 2
        if abs(following - inverse) <= _PRECISION * inverse:
            break
        inverse = following
    return inverse


def derivatives(logits: Tensor, target: Tensor, inverse: float) -> tuple[float, float, float]:
    """Return the summed NLL, and its first and second derivative in the inverse temperature."""
    sums = torch.zeros(3, dtype=torch.float64)
    block = max(1, _ELEMENTS_AT_ONCE // logits.shape[1])
    for start in range(0, len(logits), block):
        rows = logits[start : start + block].double()
        column = target[start : start + block].long()[:, None]
        log_probs = inference.log_probs(rows, temperature=1.0 / inverse)
        lead = rows - rows.gather(1, column)  # over the target's own logit
        probs = log_probs.exp()
        mean = (probs * lead).sum(dim=1, keepdim=True)
        variance = (probs * (lead - mean).square()).sum()
        sums += torch.stack([-log_probs.gather(1, column).sum(), mean.sum(), variance])
    nll, slope, curvature = sums.tolist()
    return nll, slope, curvature
