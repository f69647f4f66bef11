"""What labels say of answers: figures as served and as repaired, the temperature, the order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from softonce.auditing.findings import Finding
from softonce.auditing.ordering import find_order
from softonce.calibrate import calibrate
from softonce.metrics import figures, score_rows
from softonce.metrics.intervals import wilson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from softonce.auditing.findings import Level
    from softonce.auditing.ordering import Order
    from softonce.auditing.recognition import Recognition
    from softonce.calibrate import Calibration
    from softonce.metrics import Figures


@dataclass(frozen=True)
class Labelled:
    """Figures of the answers.

    Args:
        served: as a reader takes the numbers.
        repaired: with further softmaxes undone and the temperature, on answers that had no part in
            fitting it; None if that changes nothing.
        calibration: of the answers, after further softmaxes are undone.
        order: of the classes, if the labels fit another one.
    """

    served: Figures
    repaired: Figures | None
    calibration: Calibration
    order: Order | None

    @property
    def temperature(self) -> float:
        """The temperature that the answers are to be divided by, 1 if none is shown to help."""
        return self.calibration.temperature


def measure_labelled(
    found: Recognition, target: NDArray[np.int64], classes: Sequence[str], *, seed: int = 0
) -> Labelled:
    """Compute what labels say.

    Args:
        found: what the numbers mean.
        target: (N,) class indices.
        classes: the names, in index order.
        seed: of the folds and the bootstrap.
    """
    labels = torch.from_numpy(target)
    served, undone = torch.from_numpy(np.log(found.served)), torch.from_numpy(found.undone)
    order = find_order(found.served.argmax(axis=1), target, classes)
    calibration = calibrate(undone, labels, seed=seed)
    repaired = None
    if found.is_undone or calibration.temperature != 1:
        scaled = undone
        if calibration.temperature != 1:
            scaled = undone / calibration.cross_fitted[:, None]
        repaired = figures(score_rows(scaled, labels), classes, seed=seed)
    return Labelled(
        served=figures(score_rows(served, labels), classes, seed=seed),
        repaired=repaired,
        calibration=calibration,
        order=order,
    )


def findings_of_labels(found: Labelled) -> Iterator[Finding]:
    """Yield what labels show."""
    if found.order is not None:
        yield _of_order(found.order)
        return  # a temperature of answers in a wrong order says nothing
    calibration = found.calibration
    if not calibration.is_known:
        yield Finding(
            "temperature", "note", "which temperature would calibrate cannot be told",
            calibration.reason, "cannot be told", "give more labelled answers",
        )  # fmt: skip
    else:
        yield _of_temperature(calibration)


def findings_of_saturation(
    found: Recognition, target: NDArray[np.int64] | None
) -> Iterator[Finding]:
    """Yield what the share of answers with a probability of 1 says."""
    served, scale = found.served, found.scale
    if scale.kind not in ("probabilities", "log-probabilities"):
        return
    whole = served.max(axis=1) >= 1 - max(scale.precision.absolute / scale.factor, 1e-15)
    if not whole.any():
        return
    share = float(whole.mean())
    words = f"{share:.1%} of the answers give a class the probability 1"
    evidence = f"{int(whole.sum()):,} of {len(whole):,} answers, as they are rounded"
    level: Level = "note" if scale.precision.decimals is not None else "warning"
    if target is not None:
        wrong = int((served.argmax(axis=1) != target)[whole].sum())
        low, high = wilson(wrong, int(whole.sum()))
        evidence += f"; {wrong} of these are wrong ({low:.1%} to {high:.1%})"
        level = "warning" if wrong else "note"
    fix = "a temperature that is fitted on labels gives them a probability that they reach"
    yield Finding(
        "saturation", level, words, evidence, "certain", fix if level == "warning" else ""
    )


def _of_order(order: Order) -> Finding:
    agreement = order.agreement
    before = (agreement.both + agreement.only_first) / agreement.n
    after = (agreement.both + agreement.only_second) / agreement.n
    return Finding(
        "classes-permuted",
        "fault",
        "the labels fit the classes in another order",
        f"{order.words}; {before:.1%} of the answers are right as served, and {after:.1%} in the "
        f"other order, on answers that had no part in finding it (McNemar's p = "
        f"{agreement.p_value():.0e})",
        "certain",
        "sort the classes as in training",
    )


def _of_temperature(calibration: Calibration) -> Finding:
    low, high = calibration.interval
    too = "sure" if calibration.fitted > 1 else "flat"
    if calibration.reason:
        return Finding(
            "temperature", "note", "no temperature is shown to calibrate better",
            calibration.reason,
        )  # fmt: skip
    words = (
        f"the answers are too {too}: a temperature of {calibration.fitted:.3g} calibrates, as if "
        f"they had been divided by {1 / calibration.fitted:.3g}"
    )
    gain, (least, most) = calibration.gain, calibration.gain_interval
    evidence = (
        f"99.5 % interval {low:.3g} to {high:.3g}; on answers without a part in the fit it lowers "
        f"the NLL by {gain:.3g} ({least:.3g} to {most:.3g}) nats"
    )
    return Finding("temperature", "warning", words, evidence, "certain", "--write FILE applies it")
