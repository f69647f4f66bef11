"""What was seen of a script: its losses, by line, and the calls that normalise again."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from softonce.checker.catalog import floor_sentence
from softonce.checker.kinds import KL_TARGET_RULES, SINKS, Kind, broken_rules
from softonce.checker.runtime.places import library_class, user_lines
from softonce.checker.runtime.sites import SOMEWHERE, Seen, Site, count_targets, count_values
from softonce.checker.runtime.verdicts import finding_of, site_findings
from softonce.checker.runtime.witnesses import agreeing, look_at, recorded
from softonce.checker.tags import Call, Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from softonce.checker.findings import Finding, Place

_CLASSIFIES = ("cross_entropy", "nll_loss")
HAND_WRITTEN_LOSSES = frozenset({"LabelSmoothingCrossEntropy", "SoftTargetCrossEntropy"})
"""Classes of timm that apply log_softmax to scores and pick from it themselves."""


class Ledger:
    """Every loss of the script, by line; it turns into findings at the end."""

    def __init__(self) -> None:
        self.sites: dict[tuple[str, Place], Site] = {}
        self.calls: dict[tuple[str, Place], Call] = {}
        self.thresholds: dict[Place, tuple[Scores, float]] = {}
        self.trained: set[Place] = set()
        self.blind: Counter[tuple[str, Place]] = Counter()
        self.num_looks = 0
        self.num_by_hand = 0
        self.num_changes = 0
        self.step = 0

    @property
    def num_blind(self) -> int:
        """How many calls could not be looked at."""
        return self.blind.total()

    def look(
        self,
        loss: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        scores_of: Callable[[Tensor], Scores | None],
    ) -> Site | None:
        """Look at the arguments of a loss, before it is called."""
        sink = SINKS[loss]
        given = kwargs.get(sink.argument, args[0] if args else None)
        target = kwargs.get("target", args[1] if len(args) > 1 else None)
        if not isinstance(given, Tensor) or given.ndim == 0 or given.numel() == 0:
            return None
        places = user_lines()
        key = (loss, places[0] if places else SOMEWHERE)
        site = self.sites.setdefault(key, Site(loss, places))
        self.num_looks += 1
        site.looks, site.step = site.looks + 1, self.step
        site.scale = str(kwargs.get("reduction", "mean"))
        axis = 1 - given.ndim if given.ndim > 1 and loss in _CLASSIFIES else -1
        self._judge(site, given, axis, scores_of(given))
        if isinstance(target, Tensor):
            self._look_at_target(site, given, target, kwargs, scores_of(target))
        return site

    def _judge(self, site: Site, given: Tensor, axis: int, tag: Scores | None) -> None:
        """Keep the rules that the input breaks, by the strongest witness that there is."""
        seen = look_at(given, axis)
        site.num_classes, site.is_input_finite = given.shape[axis], seen.is_finite
        scores, witness = tag, "tag"
        if scores is None:
            walked = recorded(given)
            scores, witness = (walked[0] if walked else None), "grad_fn"
        if scores is None:
            count_values(site, seen)
            return
        kind = agreeing(scores, given, axis)
        rules = dict(broken_rules(site.loss, kind))
        if not scores.direct:
            rules.pop("SO201", None)  # averaged since, as some published networks end
        rules = rules or _shape_rules(site, given, axis, scores)
        if not rules and kind == Kind.LOGITS:
            site.has_clean_training |= given.requires_grad
            if scores.made is not None:
                self.trained.add(scores.made)
        entry = Seen(scores, witness, given.requires_grad)
        nested = _nested(site.loss, kind, scores)
        if nested is not None:
            code, inner, outer = nested
            self._drop("SO202", scores.made)
            rules = {code: inner.kind}
            entry = entry._replace(scores=inner, loss=outer)
        for code in rules:
            self._keep(site, code, entry)

    def _keep(self, site: Site, code: str, entry: Seen) -> None:
        key = (code, entry.scores.made or SOMEWHERE)
        before = site.found.get(key)
        if before is None:
            self.num_changes += 1
        else:
            is_training = entry.is_training or before.is_training
            entry = entry._replace(witness=before.witness, is_training=is_training)
        site.found[key] = entry

    def _drop(self, code: str, place: Place | None) -> None:
        """Forget a call that a loss explains better."""
        self.calls.pop((code, place or SOMEWHERE), None)

    def _look_at_target(
        self,
        site: Site,
        given: Tensor,
        target: Tensor,
        kwargs: Mapping[str, Any],
        tag: Scores | None,
    ) -> None:
        if site.loss == "kl_div" and tag is not None:
            site.log_target = bool(kwargs.get("log_target", False))
            for bit in agreeing(tag, target, -1):
                code = KL_TARGET_RULES.get((site.log_target, bit))
                if code is not None:
                    self._keep(site, code, Seen(tag, "tag", given.requires_grad))
        if (
            site.loss in _CLASSIFIES
            and target.dtype == torch.int64
            and target.ndim < given.ndim + 1
        ):
            was_right = site.bad_target is None
            count_targets(site, target.detach().reshape(-1), kwargs)
            self.num_changes += was_right and site.bad_target is not None

    def note_call(self, code: str, call: Call) -> None:
        """Keep a call that normalises again, whatever becomes of its result.

        In a loss of a library, such as timm's with label smoothing, it is the loss's own softmax.
        """
        loss = library_class() if call.op == "log_softmax" else ""
        if loss in HAND_WRITTEN_LOSSES:
            code, call = "SO101", call._replace(op=loss)
        if self.calls.setdefault((code, call.made or SOMEWHERE), call) is call:
            self.num_changes += 1

    def note_threshold(self, call: Call, args: tuple[Any, ...]) -> None:
        """Keep a comparison of raw scores with a number between 0 and 1; `round` has one half."""
        scores = call.operands[0]
        number: Any = 0.5 if call.op == "round" else args[1] if len(args) > 1 else None
        is_threshold = isinstance(number, float) and 0 < number < 1
        if is_threshold and isinstance(scores, Scores) and scores.kind == Kind.LOGITS:
            self.thresholds.setdefault(call.made or SOMEWHERE, (scores, float(number)))

    def findings(self) -> list[Finding]:
        """Return what was found, in order of place."""
        sites = list(self.sites.values())
        found = [finding for site in sites for finding in site_findings(site, sites)]
        for (code, place), call in self.calls.items():
            scores = call.operands[0]
            if isinstance(scores, Scores):
                floor = floor_sentence(_num_classes(call, scores)) if code == "SO101" else ""
                found.append(finding_of(code, place, scores, "tag", loss=call.op, floor=floor))
        for place, (scores, number) in self.thresholds.items():
            if scores.made in self.trained:
                chance = f"{1 / (1 + math.exp(-number)):.3f}"
                found.append(
                    finding_of("SO205", place, scores, "tag", threshold=number, probability=chance)
                )
        return sorted(found, key=lambda finding: finding.sort_key)


def _num_classes(call: Call, scores: Scores) -> int | None:
    shape, axis = call.before, scores.axis
    return None if shape is None or axis is None or axis < -len(shape) else shape[axis]


def _nested(loss: str, kind: Kind, scores: Scores) -> tuple[str, Scores, str] | None:
    """Look through log_softmax and sigmoid at what they were applied to.

    Returns:
        The broken rule, what was normalised again, and what did so; None if all is right.
    """
    before = scores.before
    if before is None or not before.kind:
        return None
    if scores.op == "log_softmax" and kind == Kind.LOGP and loss in _CLASSIFIES:
        if before.kind == Kind.P:
            return "SO101", before, "log_softmax"
        if not before.kind & ~(Kind.NONNEG | Kind.BOUNDED) and before.direct:
            return "SO201", before, "log_softmax"
    elif scores.op == "sigmoid" and loss == "binary_cross_entropy" and before.kind == Kind.BP:
        return "SO104", before, loss
    return None


def _shape_rules(site: Site, given: Tensor, axis: int, scores: Scores) -> dict[str, Kind]:
    """Return the rules about sizes and axes; the kind itself is right."""
    if site.loss in _CLASSIFIES and given.ndim > 1 and given.shape[axis] == 1:
        return {"SO110": scores.kind}
    normalised = bool(scores.kind & (Kind.P | Kind.LOGP)) and scores.axis is not None
    if normalised and given.ndim > 1 and scores.axis is not None:
        if scores.axis >= -given.ndim and given.shape[scores.axis] == 1:
            return {"SO110": scores.kind}
        if site.loss in _CLASSIFIES and scores.axis != axis:
            return {"SO203": scores.kind}
    return {}
