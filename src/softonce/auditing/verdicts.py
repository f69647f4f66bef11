"""What was recognised, as findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from softonce.auditing.crowding import IMPROBABLE
from softonce.auditing.findings import Finding
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from softonce.auditing.answers import Answers, Claim
    from softonce.auditing.findings import Level
    from softonce.auditing.recognition import Recognition
    from softonce.auditing.softmaxes import Softmaxes

_ORDINALS = {1: "second", 2: "third", 3: "fourth"}
_NUMERALS = {1: "two softmaxes", 2: "three softmaxes", 3: "four softmaxes"}

_RARE = round(1 / IMPROBABLE)

_COARSE = 0.1
"""A unit of the last decimal of more than this part of 1 / C hides how likely most classes are."""


def findings_of(found: Recognition, answers: Answers) -> Iterator[Finding]:
    """Yield what the numbers are, and what is wrong with that."""
    yield from _of_scale(found, answers)
    yield from _of_softmaxes(found.softmaxes, len(answers), answers.values.shape[1])
    yield from _of_precision(found, answers.values.shape[1])


def claim_of(found: Recognition) -> Claim | None:
    """Return what the numbers should be called; None if no claim fits them."""
    scale = found.scale
    if scale.factor != 1 or scale.axis != 1 or scale.unit != 1:
        return None
    kinds: dict[str, Claim] = {
        "logits": "logits",
        "log-probabilities": "log-probabilities",
        "probabilities": "probabilities",
        "classes": "probabilities",
    }
    return kinds.get(scale.kind)


def _of_scale(found: Recognition, answers: Answers) -> Iterator[Finding]:
    scale, claim = found.scale, answers.claim
    words, level, fix = _describe(found, answers)
    # Log-probabilities are logits, too: their softmax is the probability.
    is_logit = claim == "logits" and scale.kind == "log-probabilities" and scale.unit == 1
    if claim is not None and claim != claim_of(found) and not is_logit:
        level = "fault"
        words = f"{words}, where {claim} were to be expected"
    yield Finding(_slug(found), level, words, scale.evidence, "certain", fix)
    if scale.top_k is not None:
        words = (
            f"each answer is cut to the first {scale.top_k} of {answers.values.shape[1]} classes"
        )
        yield Finding(
            "top-k", "note", words, scale.evidence, "certain", "serve all classes to audit them"
        )


def _slug(found: Recognition) -> str:
    scale = found.scale
    if scale.axis != 1:
        return "softmax-over-answers"
    if found.softmaxes.verdict == "squashed":
        return "second-sigmoid"
    return "percentages" if scale.factor != 1 else scale.kind


def _describe(found: Recognition, answers: Answers) -> tuple[str, Level, str]:
    """Return what the numbers are, how bad that is whatever they are called, and what to do."""
    scale = found.scale
    if scale.axis != 1:
        return (
            "the softmax went over the answers, not over the classes", "fault",
            "give the softmax the axis of the classes: dim=1",
        )  # fmt: skip
    if scale.kind == "logits":
        return "the numbers are logits, or other unnormalised scores", "note", "apply softmax once"
    if scale.kind == "log-probabilities":
        return _describe_logarithms(scale.unit)
    if scale.kind == "sigmoids":
        if found.softmaxes.verdict == "squashed":
            return (
                "the numbers went through a second sigmoid", "fault",
                "take one of the sigmoids away; log(s / (1 - s)) undoes it",
            )  # fmt: skip
        # One label an answer says that the classes exclude one another.
        level: Level = "note" if answers.target is None else "fault"
        return (
            "the numbers are sigmoids, or other shares of each class by itself", level,
            "if one class is right, apply softmax, once, to the logits log(s / (1 - s))",
        )  # fmt: skip
    if scale.kind == "classes":
        return "the numbers are classes as 0 and 1, not probabilities", "warning", ""
    if scale.factor != 1:
        return f"the numbers are percentages: shares of {scale.factor:g}", "note", "divide by 100"
    return "the numbers are probabilities", "note", ""


def _describe_logarithms(unit: float) -> tuple[str, Level, str]:
    if unit == 1:
        return "the numbers are log-probabilities", "note", ""
    base = "10" if unit > 1 else "2"
    fix = (
        f"multiply by ln {base}: a softmax of these would be one at a temperature of {1 / unit:.3f}"
    )
    return f"the numbers are log-probabilities to base {base}", "warning", fix


def _of_softmaxes(found: Softmaxes, n: int, num_classes: int) -> Iterator[Finding]:
    crowd, extra = found.crowd, found.extra
    at_bound = (
        f"{crowd.near} of the {crowd.within} answers within {crowd.window:g} of the bound lie in "
        f"its last fifth; chance does that in less than one of {_RARE:,} files"
    )
    undone = "--write FILE undoes it: q = log p + (1 - sum of log p) / C"
    if found.verdict == "more":
        names = f"{_ORDINALS[extra]}-softmax"
        words = f"the probabilities went through {_NUMERALS[extra]}"
        times = "" if extra == 1 else f", undone {extra} times,"
        evidence = (
            f"what would have gone in{times} is a row of probabilities for all {n:,} answers, "
            f"and comes up to 0 and 1: {at_bound}"
        )
        yield Finding(names, "fault", words, evidence, "certain", undone)
    elif found.verdict == "either":
        words = "the probabilities are a softmax of numbers between 0 and 1"
        evidence = (
            f"with two classes, a second softmax and a softmax of two sigmoids give such answers: "
            f"no two differ by more than the factor e, and {at_bound}"
        )
        yield Finding("second-softmax", "fault", words, evidence, "certain", undone)
    elif found.verdict == "sigmoids":
        words = "the probabilities are a softmax of sigmoids, or of other numbers between 0 and 1"
        evidence = f"no two differ by more than the factor e, and {at_bound}"
        fix = "take the sigmoid away; the answers do not hold the numbers that it was given"
        yield Finding("softmax-of-sigmoids", "fault", words, evidence, "certain", fix)
    elif found.verdict == "open":
        words = "how many softmaxes there were cannot be told"
        yield Finding("softmaxes", "note", words, found.reason, "cannot be told")
    elif found.verdict == "once":
        words = "there is one softmax"
        least = 1 / (num_classes - 1 + np.e)
        evidence = (
            f"{found.outside:.1%} of the answers lie beyond what a second one can give: two "
            f"classes that differ by more than the factor e, or many below {least:.2g}"
        )
        yield Finding("one-softmax", "note", words, evidence)


def _of_precision(found: Recognition, num_classes: int) -> Iterator[Finding]:
    precision, scale = found.scale.precision, found.scale
    words = f"the precision of the numbers: {precision.name}"
    unit = 2 * precision.absolute / scale.factor
    is_coarse = scale.kind in ("probabilities", "sigmoids") and unit > _COARSE / num_classes
    evidence = "every number is one of that precision"
    if is_coarse:
        evidence += (
            f"; one of {format_count(num_classes, 'class')} has {1 / num_classes:.2g} on average"
        )
    fix = "give more digits: 4 significant ones keep small probabilities" if is_coarse else ""
    yield Finding("precision", "warning" if is_coarse else "note", words, evidence, "certain", fix)
