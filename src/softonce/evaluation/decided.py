"""How a classifier's rules of decision do on the images of an evaluation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from softonce import inference
from softonce.decisions import energies, in_set
from softonce.metrics.intervals import wilson

if TYPE_CHECKING:
    from softonce.decisions import Decisions
    from softonce.evaluation.result import Evaluation


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What the rules did; what a missing rule would have done is None.

    Args:
        num_answered: images whose answer was given.
        num_right: of these, those whose answer was right.
        num_covered: images whose set holds their class.
        mean_size: classes in a set.
        num_unlike: images that are marked as unlike those of training.
        n: images.
    """

    num_answered: int | None = None
    num_right: int | None = None
    num_covered: int | None = None
    mean_size: float | None = None
    num_unlike: int | None = None
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without those of a missing rule."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def notes(self, decisions: Decisions) -> list[str]:
        """Return a sentence for each rule, with the interval of what it promises."""
        notes = []
        if decisions.abstention is not None and self.num_answered is not None:
            given = f"{self.num_answered / self.n:.1%} of the images are answered"
            rule = decisions.abstention
            right = _share(self.num_right or 0, self.num_answered)
            notes.append(f"{given}, {right} of these rightly ({rule.accuracy:.4g} is promised).")
        if decisions.sets is not None and self.num_covered is not None:
            notes.append(
                f"{_share(self.num_covered, self.n)} of the sets hold the class "
                f"({decisions.sets.coverage:.4g} is promised), with {self.mean_size:.2f} classes "
                "on average."
            )
        if decisions.novelty is not None and self.num_unlike is not None:
            notes.append(
                f"{_share(self.num_unlike, self.n)} of the images are marked as unlike those of "
                f"training (at most {decisions.novelty.false_alarms:.4g} of images like these is "
                "promised)."
            )
        return notes


def _share(part: int, whole: int) -> str:
    if not whole:
        return "none"
    return "{:.1%} (95 % interval {:.1%} to {:.1%})".format(part / whole, *wilson(part, whole))


def measure_decisions(evaluation: Evaluation, decisions: Decisions) -> Decided:
    """Apply the rules to the images of an evaluation."""
    target = torch.from_numpy(evaluation.scan.samples.target)
    logits = evaluation.logits.double()
    probs = inference.probs(logits, temperature=evaluation.temperature).numpy()
    found: dict[str, Any] = {"n": len(target)}
    if decisions.abstention is not None:
        answered = probs.max(axis=1) >= decisions.abstention.threshold
        right = probs.argmax(axis=1) == target.numpy()
        found |= {"num_answered": int(answered.sum()), "num_right": int((answered & right).sum())}
    if decisions.sets is not None:
        held = in_set(decisions.sets, probs)
        found["num_covered"] = int(held[np.arange(len(held)), target.numpy()].sum())
        found["mean_size"] = float(held.sum(axis=1).mean())
    if decisions.novelty is not None:
        found["num_unlike"] = int((energies(logits.numpy()) > decisions.novelty.limit).sum())
    return Decided(**found)
