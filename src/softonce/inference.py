"""The second softmax address: from logits to log-probabilities, probabilities and predictions.

A network gives logits, and the loss normalises them while it trains. Everything that leaves as a
probability afterwards (predictions, figures, the fit of the temperature) is normalised here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

import numpy as np

from softonce.errors import ArgumentError
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from softonce.shapes import Logits, LogProbs, Probs

Normaliser: TypeAlias = Literal["softmax", "sigmoid"]
"""What makes probabilities of logits: of classes that exclude each other, or of each by itself."""


class NormalisedBy(TypedDict):
    """How one classifier's logits become probabilities: the keywords of `probs`."""

    temperature: float
    normaliser: Normaliser


Candidate = TypedDict("Candidate", {"index": int, "class": str, "prob": float, "logit": float})
Ranking = TypedDict("Ranking", {"pred": int, "class": str, "prob": float, "top": list[Candidate]})


def log_probs(logits: Logits, *, temperature: float = 1.0) -> LogProbs:
    """Normalise logits, once, to log-probabilities.

    Equals `log(softmax(logits / temperature))` over the classes, without ever forming the small
    probabilities whose logarithm would be lost.

    Args:
        logits: N rows of C unnormalised class scores, all finite.
        temperature: positive divisor of the logits; above 1 it makes every row less confident, and
            it never changes which class is the largest.

    Returns:
        Log-probabilities in nats; float64 for float64 logits, float32 for every other dtype.

    Raises:
        ArgumentError: if the shape, the dtype or the temperature does not fit, or if a row
            holds NaN or infinity (not checked while a graph is compiled or exported).

    Example:
        >>> import torch
        >>> log_probs(torch.tensor([[0.0, 0.0], [1000.0, 0.0]]))
        tensor([[-6.9315e-01, -6.9315e-01],
                [ 0.0000e+00, -1.0000e+03]])

    Source:
        Temperature: Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2.
    """
    import torch

    return torch.log_softmax(_scale(logits, temperature), dim=-1)


def probs(logits: Logits, *, temperature: float = 1.0, normaliser: Normaliser = "softmax") -> Probs:
    """Normalise logits, once, to probabilities.

    Equals `exp(log_probs(logits, temperature=temperature))`; every row is non-negative and sums
    to 1. With `normaliser="sigmoid"` each entry is the probability of its label by itself, and rows
    sum to anything.

    Args:
        logits: N rows of C unnormalised class scores, all finite.
        temperature: positive divisor of the logits.
        normaliser: `softmax`, or `sigmoid` for labels that do not exclude each other.

    Returns:
        Probabilities; float64 for float64 logits, float32 for every other dtype.

    Raises:
        ArgumentError: as `log_probs` does.

    Example:
        >>> import torch
        >>> probs(torch.tensor([[0.0, 0.0], [2.0, 0.0]]), temperature=2.0)
        tensor([[0.5000, 0.5000],
                [0.7311, 0.2689]])
    """
    import torch

    scaled = _scale(logits, temperature)
    return torch.sigmoid(scaled) if normaliser == "sigmoid" else torch.softmax(scaled, dim=-1)


def top_predictions(
    logits: NDArray[np.floating] | Logits,
    classes: Sequence[str],
    *,
    temperature: float = 1.0,
    top_k: int = 5,
    normaliser: Normaliser = "softmax",
) -> list[Ranking]:
    """Name the most probable classes of every row.

    The first of `top` equals `pred`, and the probabilities are those of `probs` in float64. The
    order is that of the logits, so classes whose probability rounds to the same number keep their
    rank; equal logits are ranked by the lower index.

    Args:
        logits: N rows of C unnormalised class scores, all finite; a tensor, or an array, for which
            torch is not needed.
        classes: the C class names, in index order.
        temperature: positive divisor of the logits.
        top_k: how many classes to name for a row; C if it is larger.
        normaliser: `softmax`, or `sigmoid` for labels that do not exclude each other.

    Returns:
        One record a row, of plain values that JSON can hold. `logit` is the network's own number,
        before the temperature.

    Raises:
        ArgumentError: as `log_probs` does, and if `classes` does not have C names or `top_k` is
            less than 1.

    Example:
        >>> record, = top_predictions(np.array([[0.0, 2.0]]), ["cat", "dog"], top_k=1)
        >>> record["class"], round(record["prob"], 4), record["top"][0]["logit"]
        ('dog', 0.8808, 2.0)
    """
    logits = _as_array(logits)
    row_probs = array_probs(logits, temperature=temperature, normaliser=normaliser)
    if len(classes) != logits.shape[1]:
        raise ArgumentError(
            f"expected one class name for each of the {logits.shape[1]} columns of logits, "
            f"found {format_count(len(classes), 'name')}: "
            "pass the classes that the network was trained with"
        )
    if top_k < 1:
        raise ArgumentError(f"expected top_k >= 1, found {top_k}: ask for at least one class")
    order = np.argsort(-logits, axis=1, kind="stable")[:, :top_k]
    top_probs, top_logits = (np.take_along_axis(rows, order, 1) for rows in (row_probs, logits))
    rows = zip(order.tolist(), top_probs.tolist(), top_logits.tolist(), strict=True)
    return [_ranking(*row, classes=classes) for row in rows]


def _ranking(
    order: list[int], top_probs: list[float], top_logits: list[float], *, classes: Sequence[str]
) -> Ranking:
    top: list[Candidate] = [
        {"index": index, "class": classes[index], "prob": prob, "logit": logit}
        for index, prob, logit in zip(order, top_probs, top_logits, strict=True)
    ]
    first = top[0]
    return {"pred": first["index"], "class": first["class"], "prob": first["prob"], "top": top}


def check_temperature(temperature: float) -> None:
    """Raise an `ArgumentError` unless the temperature is positive and finite."""
    if not (math.isfinite(temperature) and temperature > 0):
        raise ArgumentError(
            f"expected a positive, finite temperature, found {temperature}: "
            "1.0 leaves the logits as they are"
        )


def check_logits(logits: Tensor) -> None:
    """Raise an `ArgumentError` unless these are N rows of C finite floating-point numbers."""
    _check_shape(logits)
    _check_finite(logits)


def _as_array(logits: NDArray[np.floating] | Tensor) -> NDArray[np.float64]:
    """Return checked float64 rows."""
    _check_shape(logits)
    return np.asarray(
        logits if isinstance(logits, np.ndarray) else logits.detach().double().cpu(), np.float64
    )


def array_probs(
    logits: NDArray[np.float64], *, temperature: float, normaliser: Normaliser = "softmax"
) -> NDArray[np.float64]:
    """Return what `probs` does, of float64 rows (N, C) and without torch."""
    check_temperature(temperature)
    _check_finite(logits)
    if normaliser == "sigmoid":
        halves: NDArray[np.float64] = np.tanh(logits / (2 * temperature)) / 2
        return halves + 0.5  # sigmoid(z) without an exponential that could overflow
    terms = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    shares: NDArray[np.float64] = terms / terms.sum(axis=1, keepdims=True)
    return shares


def _scale(logits: Tensor, temperature: float) -> Tensor:
    """Divide by the temperature, in float32 at least."""
    import torch

    check_temperature(temperature)
    _check_shape(logits)
    scaled = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    if not torch.compiler.is_compiling():  # a traced graph cannot branch on values
        _check_finite(scaled)
    return scaled


def _check_shape(logits: Any) -> None:
    kind = str(logits.dtype).removeprefix("torch.")
    if logits.ndim != 2 or logits.shape[1] == 0 or "float" not in kind:
        raise ArgumentError(
            "expected floating-point logits of shape (N, C) with C >= 1, found "
            f"{logits.dtype} of shape {tuple(logits.shape)}: pass the network's output as it is"
        )


def _check_finite(logits: Any) -> None:
    """Check an array or a tensor, whichever it is, in its own terms."""
    bad = ~(abs(logits) < math.inf)
    bad_rows = bad.any(1)
    if bad_rows.any():
        row = int(bad_rows.nonzero()[0][0])
        column = int(bad[row].nonzero()[0][0])
        raise ArgumentError(
            f"expected finite logits, found {logits[row, column].item()} in row {row} "
            f"(class {column}; {int(bad_rows.sum())} of {len(logits)} rows are not finite): "
            "look for NaN or infinity in the images and in the weights"
        )
