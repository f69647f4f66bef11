"""From a matrix of numbers to what they mean, and to the log-probabilities that they stand for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from softonce.auditing.digits import Precision
from softonce.auditing.scale import Scale, find_scale
from softonce.auditing.softmaxes import NEVER, Softmaxes, count_softmaxes, find_second_sigmoid
from softonce.auditing.undoing import to_simplex
from softonce.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from softonce.auditing.answers import Answers

    Values = NDArray[np.float64]

_TINY = 1e-38
"""The least probability that is assumed where 0 is given without rounding: float32's own."""

_UNSEEN = 1e-6
"""The probability that is assumed of classes that are only known not to have been chosen."""


@dataclass(frozen=True)
class Recognition:
    """What numbers mean.

    Args:
        scale: what they are by range and sums.
        softmaxes: how many made them, if they are whole rows of probabilities.
        served: (N, C) the probabilities that a reader takes them for, rows that sum to 1.
        undone: (N, C) the log-probabilities of one softmax, if more were undone; else those of
            `served`. A temperature applies to these.
    """

    scale: Scale
    softmaxes: Softmaxes
    served: Values
    undone: Values

    @property
    def is_undone(self) -> bool:
        """Whether `undone` is another answer than `served`."""
        return self.softmaxes.verdict in ("more", "either", "squashed")


def repaired_numbers(found: Recognition, answers: Answers, temperature: float) -> Values:
    """Return the answers (N, C) repaired, as numbers of the same kind and scale.

    Further softmaxes are undone, and what a softmax was applied to is divided by the temperature.
    What cannot be repaired stays as it is: answers that lack classes, a softmax over the answers,
    and sigmoids, unless they are sigmoids twice or labels say that one class is right.

    Args:
        found: what the numbers mean.
        answers: the numbers.
        temperature: 1 if none is known.
    """
    scale, values = found.scale, answers.values
    if scale.kind == "logits":
        scaled: Values = values / temperature
        return scaled
    is_whole = scale.top_k is None and scale.axis == 1 and scale.kind != "classes"
    is_shared = scale.kind != "sigmoids" or answers.target is not None
    if not is_whole or (temperature == 1 and not found.is_undone and scale.kind != "sigmoids"):
        return values
    if not is_shared:
        inner = np.clip(np.log(values) - np.log1p(-values), 0.0, 1.0)
        return inner if found.is_undone else values
    logs = _normalized(found.undone / temperature)
    if scale.kind == "log-probabilities":
        in_unit: Values = logs / scale.unit
        return in_unit
    repaired: Values = np.exp(logs) * scale.factor
    return repaired


def recognize(answers: Answers) -> Recognition:
    """Tell what the numbers of all answers together mean.

    Raises:
        DataError: if every number was rounded to 0.

    Example:
        >>> from softonce.auditing.answers import Answers
        >>> logits = np.array([[3.0, -1.0, 0.5], [0.25, 2.0, -4.0]])
        >>> recognize(Answers(logits, ("a", "b", "c"), "here")).scale.kind
        'logits'
    """
    values = answers.values
    if not np.nan_to_num(values).any():
        raise DataError(
            f"expected numbers that differ in {answers.place}, found 0 everywhere: give more "
            "decimals"
        )
    scale = find_scale(values)
    logs = _logarithms(values, scale)
    undone = _normalized(logs)
    softmaxes = _softmaxes(values, undone, scale)
    if softmaxes.inner is not None:
        inner = softmaxes.inner
        # What rounding may have made of 0, all classes together, is the least that is assumed.
        floor = np.maximum(inner.error / inner.values.shape[1], _TINY)
        undone = _normalized(np.log(np.maximum(to_simplex(inner.values), floor)))
    elif softmaxes.verdict == "squashed":
        inner_scale = replace(scale, precision=Precision("", np.finfo(float).eps, 0.0))
        undone = _normalized(_logarithms(np.clip(logs, 0.0, 1.0), inner_scale))
    served = _as_read(values, scale) if scale.kind == "sigmoids" else np.exp(_normalized(logs))
    return Recognition(scale, softmaxes, served, undone)


def _as_read(values: Values, scale: Scale) -> Values:
    """Return sigmoids as shares of their sum, which keeps their order."""
    held = np.maximum(np.nan_to_num(values), max(scale.precision.absolute, _TINY))
    found: Values = held / held.sum(axis=1, keepdims=True)
    return found


def _logarithms(values: Values, scale: Scale) -> Values:
    """Return unnormalised log-probabilities (N, C) that are equivalent to the numbers."""
    if scale.kind == "logits":
        found = np.where(np.isnan(values), np.nanmin(values), values)
    elif scale.kind == "log-probabilities":
        found = np.maximum(values * scale.unit, np.log(_TINY))
        found = np.where(np.isnan(found), np.log(_UNSEEN), found)
    elif scale.kind == "sigmoids":
        floor = max(scale.precision.absolute, _TINY)
        known = np.nan_to_num(values)
        # 1 - s has no more digits than float64 leaves it near 1.
        room = np.maximum(1 - known, max(scale.precision.absolute, np.finfo(float).eps))
        found = np.log(np.maximum(known, floor)) - np.log(room)
    else:
        found = _logarithms_of_shares(values / scale.factor, scale)
    logarithms: Values = found
    return logarithms


def _logarithms_of_shares(shares: Values, scale: Scale) -> Values:
    floor = _UNSEEN if scale.kind == "classes" else scale.precision.absolute / scale.factor
    known = np.maximum(np.nan_to_num(shares), max(floor, _TINY))
    if scale.top_k is not None:
        known = _share_the_rest(shares, known)
    found: Values = np.log(known)
    return found


def _share_the_rest(shares: Values, known: Values) -> Values:
    """Give what an answer lacks to 1 to the classes that it does not mention, evenly."""
    is_unseen = np.isnan(shares) | (shares == 0)
    rest = np.maximum(1 - np.nansum(shares, axis=1), 0) / np.maximum(is_unseen.sum(axis=1), 1)
    found: Values = np.where(is_unseen, np.maximum(rest, _UNSEEN)[:, None], known)
    return found


def shares_of(values: Values, scale: Scale) -> Values:
    """Return the probabilities (N, C) that numbers of a known scale stand for."""
    found: Values = np.exp(_normalized(_logarithms(values, scale)))
    return found


def _normalized(logs: Values) -> Values:
    peak = logs.max(axis=1, keepdims=True)
    whole = np.log(np.exp(logs - peak).sum(axis=1, keepdims=True))
    found: Values = logs - peak - whole
    return found


def _softmaxes(values: Values, served: Values, scale: Scale) -> Softmaxes:
    if scale.top_k is not None and scale.kind in ("probabilities", "log-probabilities"):
        return _of_cut(values, scale)
    if scale.kind == "sigmoids" and scale.top_k is None:
        crowd = find_second_sigmoid(values, scale.precision.error(values))
        return Softmaxes("squashed", 1, crowd) if crowd.is_one else NEVER
    if scale.axis != 1 or scale.kind not in ("probabilities", "log-probabilities"):
        return NEVER
    if scale.kind == "log-probabilities":
        # A logarithm that is off by d makes the probability off by the factor e^d.
        error = np.exp(served) * np.expm1(scale.precision.error(served) + 1e-14)
        return count_softmaxes(np.exp(served), error)
    shares = values / scale.factor
    return count_softmaxes(shares, scale.precision.scaled(1 / scale.factor).error(shares))


def _of_cut(values: Values, scale: Scale) -> Softmaxes:
    """Tell what a few classes of each answer show: at most that there is no second softmax."""
    error = scale.precision.error(values)
    if scale.kind == "log-probabilities":
        least, most = np.exp((values + error) * scale.unit), np.exp((values - error) * scale.unit)
    else:
        least, most = np.where(values > 0, values + error, np.nan), values - error
    beyond = np.nanmax(most, axis=1) > np.e * np.nanmin(least, axis=1)
    if beyond.any():
        return Softmaxes("once", outside=float(beyond.mean()))
    return Softmaxes(
        "open", reason="the sum over all classes is what tells, and answers mention some of them"
    )
