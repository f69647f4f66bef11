"""What is done with answers: which are withheld, which sets are given, which images are marked.

A classifier carries these rules in its file; without any, which is the default, every answer is
given. `softonce decide` makes them, by `calibrate/abstention.py`, `calibrate/conformal.py` and
`calibrate/novelty.py`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, get_args

import numpy as np

from softonce.errors import ArgumentError
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SetMethod: TypeAlias = Literal["lac", "aps", "raps"]


@dataclass(frozen=True, kw_only=True)
class Abstention:
    """Answers whose probability is below a threshold are withheld.

    Args:
        threshold: the least probability of an answer that is given.
        accuracy: what the answers that are given reach, with the confidence.
        confidence: how often a threshold found so keeps that promise.
        coverage: the share of the images of `n` that were answered.
        n: images that the threshold was found on.
    """

    threshold: float
    accuracy: float
    confidence: float
    coverage: float
    n: int


@dataclass(frozen=True, kw_only=True)
class SetRule:
    """Each image gets a set of classes that holds the right one as often as was asked for.

    Args:
        method: `lac`, `aps` or `raps`.
        coverage: how often the set holds the right class.
        limit: the largest score of a class in the set; the scores are `set_scores`.
        penalty: of `raps`: what each class beyond `num_free` adds to the score.
        num_free: of `raps`.
        mean_size: classes in a set, on the images that the limit was found on.
        n: images that the limit was found on.
    """

    method: SetMethod
    coverage: float
    limit: float
    penalty: float
    num_free: int
    mean_size: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Novelty:
    """Images unlike those of training are marked, by the energy of their logits.

    Args:
        limit: the largest energy of an image that is not marked.
        false_alarms: the share of images like those of training that is marked at most.
        n: images that the limit was found on.
    """

    limit: float
    false_alarms: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """The rules of a classifier; each may be missing."""

    abstention: Abstention | None = None
    sets: SetRule | None = None
    novelty: Novelty | None = None

    def in_words(self) -> dict[str, str]:
        """Return what each rule does, and did on the images that it was found on."""
        found = {}
        if self.abstention is not None:
            held = self.abstention
            found["abstention"] = (
                f"answers of at least {held.threshold:.4f} are given: {held.coverage:.1%} of "
                f"{format_count(held.n, 'image')}; {held.accuracy:.4g} of these answers are right, "
                f"with {held.confidence:.0%} confidence"
            )
        if self.sets is not None:
            sets = self.sets
            found["sets"] = (
                f"{sets.method} with {sets.coverage:.4g} coverage: {sets.mean_size:.2f} classes in "
                f"a set, on average over {format_count(sets.n, 'image')}"
            )
        if self.novelty is not None:
            rule = self.novelty
            found["novelty"] = (
                f"images of an energy above {rule.limit:.4f} are marked as unlike those of "
                f"training: {rule.false_alarms:.4g} of images like the "
                f"{format_count(rule.n, 'image')} here, falsely"
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without the rules that are missing."""
        return {name: rule for name, rule in asdict(self).items() if rule is not None}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Decisions:
        """Read the rules back.

        Raises:
            ArgumentError: if a field is missing, unknown, or of another kind.
        """
        kinds = {"abstention": Abstention, "sets": SetRule, "novelty": Novelty}
        if not set(record) <= set(kinds):
            raise ArgumentError(f"expected the decisions {sorted(kinds)}, found {sorted(record)}")
        return cls(**{name: _read_rule(kinds[name], rule) for name, rule in record.items()})


def _read_rule(kind: type[Any], record: Any) -> Any:
    names = [field.name for field in fields(kind)]
    if not isinstance(record, dict) or set(record) != set(names):
        raise ArgumentError(f"expected the fields {names} of {kind.__name__}, found {record!r:.60}")
    for name, value in record.items():
        if name == "method":
            if value not in get_args(SetMethod):
                raise ArgumentError(f"expected a method of {get_args(SetMethod)}, found {value!r}")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise ArgumentError(f"expected a number as {name}, found {value!r:.60}")
    return kind(**record)


class Decision(TypedDict, total=False):
    """What the rules make of one image; a rule that is missing adds nothing."""

    abstain: bool
    set: list[str]
    unlike: bool


def decide(
    decisions: Decisions,
    logits: NDArray[np.floating],
    probs: NDArray[np.floating],
    classes: Sequence[str],
) -> list[Decision]:
    """Apply the rules to each image.

    Args:
        decisions: of the classifier.
        logits: (N, C), the network's own numbers.
        probs: (N, C) calibrated probabilities, which are made of them.
        classes: the C class names, in index order.

    Example:
        >>> rule = Abstention(threshold=0.8, accuracy=0.9, confidence=0.95, coverage=0.7, n=300)
        >>> probs = np.array([[0.7, 0.3], [0.1, 0.9]])
        >>> decide(Decisions(abstention=rule), np.log(probs), probs, ["cat", "dog"])
        [{'abstain': True}, {'abstain': False}]
    """
    rows: list[Decision] = [{} for _ in probs]
    if decisions.abstention is not None:
        for row, prob in zip(rows, probs.max(axis=1).tolist(), strict=True):
            row["abstain"] = prob < decisions.abstention.threshold
    if decisions.sets is not None:
        order = np.argsort(-probs, axis=1, kind="stable")
        for row, held, ranks in zip(rows, in_set(decisions.sets, probs), order, strict=True):
            row["set"] = [classes[index] for index in ranks.tolist() if held[index]]
    if decisions.novelty is not None:
        for row, value in zip(rows, energies(logits).tolist(), strict=True):
            row["unlike"] = value > decisions.novelty.limit
    return rows


def energies(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the energy (N,) of logits (N, C): high if no class has a high logit.

    Source:
        Liu, Wang, Owens and Li 2020, Energy-based Out-of-distribution Detection, equation 4, at
        temperature 1.
    """
    energy: NDArray[np.float64] = -np.logaddexp.reduce(np.asarray(logits, np.float64), axis=1)
    return energy


def in_set(rule: SetRule, probs: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which classes (N, C) are in the set of each image."""
    scores = set_scores(rule.method, probs, penalty=rule.penalty, num_free=rule.num_free)
    held: NDArray[np.bool_] = scores <= rule.limit
    return held


def set_scores(
    method: SetMethod, probs: NDArray[np.floating], *, penalty: float, num_free: int
) -> NDArray[np.float64]:
    """Return how little each class (N, C) conforms to its image: a set holds the low scores.

    `lac`: 1 minus the probability of the class. `aps`: the probability of all classes that are more
    probable, so that the most probable one is always in the set. `raps`: that, and a penalty for
    each rank beyond the first `num_free`, which cuts long tails.

    Args:
        method: which of them.
        probs: (N, C) probabilities.
        penalty: of `raps`.
        num_free: of `raps`.

    Source:
        LAC: Sadinle, Lei and Wasserman 2019, Least Ambiguous Set-Valued Classifiers with Bounded
        Error Levels. APS: Romano, Sesia and Candes 2020, Classification with Valid and Adaptive
        Coverage, section 2, with u = 1 in place of its random number. RAPS: Angelopoulos et al.
        2021, Uncertainty Sets for Image Classifiers using Conformal Prediction, section 2.2.
    """
    scores: NDArray[np.float64] = 1.0 - np.asarray(probs, np.float64)
    if method == "lac":
        return scores
    order = np.argsort(-probs, axis=1, kind="stable")
    ranked = np.take_along_axis(np.asarray(probs, np.float64), order, axis=1)
    above = np.cumsum(ranked, axis=1) - ranked
    above[:, 0] = 0.0  # exactly: the most probable class is in every set
    if method == "raps":
        above += penalty * np.maximum(0, np.arange(1, probs.shape[1] + 1) - num_free)
    np.put_along_axis(scores, order, above, axis=1)
    return scores
