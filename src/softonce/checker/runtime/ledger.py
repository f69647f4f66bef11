"""What was seen at each loss, and the findings that come of it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from softonce.checker.catalog import RULES, floor_sentence
from softonce.checker.findings import Finding, Place
from softonce.checker.kinds import KL_TARGET_RULES, SINKS, Kind, broken_rules
from softonce.checker.runtime.events import user_lines
from softonce.checker.runtime.witnesses import Values, agreeing, look_at, recorded
from softonce.checker.tags import Call, Scores
from softonce.floors import double_softmax_floor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

IGNORE_INDEX = -100
LOOKS_FOR_SUMS = 2
"""Rows that sum to 1 in so many batches are no accident."""
LOOKS_FOR_RANGES = 20
"""Values within [0, 1], or cut at 0, need more batches: small networks start there."""
SURE = {
    "tag": "certain: followed from that line, and the values agree",
    "grad_fn": "certain of the operation, not of its line: read in autograd's record",
    "value": "likely: so look the values, and what made them was not seen",
}
_SOMEWHERE = Place("a line that was not seen")
_CLASSIFIES = ("cross_entropy", "nll_loss")


@dataclass(slots=True)
class Site:
    """One line that calls a loss.

    Attributes:
        loss: the operation.
        places: the line, and the user's lines that led to it.
        losses: what the loss was, at each look.
        pardoned: rules that a later line explained away.
    """

    loss: str
    places: tuple[Place, ...]
    num_classes: int = 0
    looks: int = 0
    losses: list[float] = field(default_factory=list)
    pardoned: set[str] = field(default_factory=set)
    found: dict[tuple[str, Place], tuple[Scores, str, bool]] = field(default_factory=dict)
    values: Counter[Kind] = field(default_factory=Counter)
    rows: int = 0
    deviation: float = 0.0
    has_clean_training: bool = False
    counts: Tensor | None = None
    bad_target: int | None = None
    nan: tuple[str, int, str] | None = None
    step: int = 0
    is_input_finite: bool = True
    scale: str = "mean"
    log_target: bool = False

    @property
    def place(self) -> Place:
        """The innermost line of the user's own."""
        return self.places[0] if self.places else _SOMEWHERE

    def record_loss(self, result: Any) -> None:
        """Keep the loss of one look."""
        if not isinstance(result, Tensor) or result.numel() == 0:
            return
        value = float(result.detach().float().mean())
        if math.isfinite(value):
            if self.scale != "sum":
                self.losses.append(value)
        elif self.nan is None:
            where = "its input is finite" if self.is_input_finite else "its input already is not"
            self.nan = (str(value), self.step, where)


class Ledger:
    """Every loss of the script, by line; it turns into findings at the end."""

    def __init__(self) -> None:
        self.sites: dict[tuple[str, Place], Site] = {}
        self.calls: dict[tuple[str, Place], Call] = {}
        self.thresholds: dict[Place, tuple[Scores, float]] = {}
        self.trained: set[Place] = set()
        self.num_blind = 0
        self.num_looks = 0
        self.step = 0

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
        key = (loss, places[0] if places else _SOMEWHERE)
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
        """Say which rules the input breaks, by the strongest witness that there is."""
        seen = look_at(given, axis)
        site.num_classes, site.is_input_finite = given.shape[axis], seen.is_finite
        scores, witness = tag, "tag"
        if scores is None:
            walked = recorded(given)
            scores, witness = (walked[0] if walked else None), "grad_fn"
        if scores is None:
            _count_values(site, seen)
            return
        kind = agreeing(scores, given, axis)
        rules = broken_rules(site.loss, kind)
        if not rules:
            rules = _shape_rules(site, given, axis, scores)
        if not rules and kind == Kind.LOGITS:
            site.has_clean_training |= given.requires_grad
            if scores.made is not None:
                self.trained.add(scores.made)
        for code in rules:
            self._keep(site, code, scores, witness, is_training=given.requires_grad)

    def _keep(
        self, site: Site, code: str, scores: Scores, witness: str, *, is_training: bool
    ) -> None:
        key = (code, scores.made or _SOMEWHERE)
        before = site.found.get(key)
        is_training |= before is not None and before[2]
        site.found[key] = (scores, witness if before is None else before[1], is_training)

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
                    self._keep(site, code, tag, "tag", is_training=given.requires_grad)
        if (
            site.loss in _CLASSIFIES
            and target.dtype == torch.int64
            and target.ndim < given.ndim + 1
        ):
            _count_targets(site, target.detach().reshape(-1), kwargs)

    def note_call(self, code: str, call: Call) -> None:
        """Keep a call that normalises again, whatever becomes of its result."""
        self.calls.setdefault((code, call.made or _SOMEWHERE), call)

    def note_threshold(self, call: Call, args: tuple[Any, ...]) -> None:
        """Keep a comparison of raw scores with a number between 0 and 1."""
        scores = call.operands[0]
        number = args[1] if len(args) > 1 else None
        is_threshold = isinstance(number, float) and 0 < number < 1
        if is_threshold and isinstance(scores, Scores) and scores.kind == Kind.LOGITS:
            self.thresholds.setdefault(call.made or _SOMEWHERE, (scores, float(args[1])))

    def findings(self) -> list[Finding]:
        """Return what was found, in order of place."""
        found = [finding for site in self.sites.values() for finding in _site_findings(site, self)]
        blamed = {finding.made for finding in found}
        for (code, place), call in self.calls.items():
            scores = call.operands[0]
            assert isinstance(scores, Scores)  # noqa: S101 - as normalised_again saw it
            if place not in blamed:
                found.append(_finding(code, place, scores, "tag", loss=call.op))
        for place, (scores, number) in self.thresholds.items():
            if scores.made in self.trained:
                chance = f"{1 / (1 + math.exp(-number)):.3f}"
                found.append(
                    _finding("SO205", place, scores, "tag", threshold=number, probability=chance)
                )
        return sorted(found, key=lambda finding: finding.sort_key)


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


def _count_values(site: Site, seen: Values) -> None:
    site.values[seen.kind] += 1
    if seen.kind is Kind.OTHER and seen.high > 0:
        site.values[Kind.LOGITS] += 1
    site.rows += seen.rows
    site.deviation = max(site.deviation, seen.deviation)


def _count_targets(site: Site, target: Tensor, kwargs: Mapping[str, Any]) -> None:
    ignored = kwargs.get("ignore_index", IGNORE_INDEX)
    target = target[target != ignored]
    if target.numel() == 0:
        return
    low, high = (int(bound) for bound in target.aminmax())
    if low < 0 or high >= site.num_classes:
        site.bad_target = low if low < 0 else high
        return
    counts = torch.bincount(target.cpu(), minlength=site.num_classes)
    is_same = site.counts is not None and len(site.counts) == len(counts)
    site.counts = site.counts + counts if is_same and site.counts is not None else counts


def _site_findings(site: Site, ledger: Ledger) -> Iterator[Finding]:
    kept = dict(site.found)
    if not kept:
        kept = {(code, _SOMEWHERE): entry for code, entry in _by_values(site).items()}
    clean = any(s.has_clean_training for s in ledger.sites.values() if s.loss == site.loss)
    for (code, _), (scores, witness, is_training) in kept.items():
        if code in site.pardoned:
            continue
        is_eval = code == "SO101" and not is_training and clean
        yield _at_loss(site, "SO207" if is_eval else code, scores, witness)
    yield from _loss_findings(site, blamed=bool(kept))


def _by_values(site: Site) -> dict[str, tuple[Scores, str, bool]]:
    """Return the rules that the values alone show; every look has to agree."""
    needed = {Kind.P: LOOKS_FOR_SUMS, Kind.LOGP: LOOKS_FOR_SUMS, Kind.LOGITS: LOOKS_FOR_SUMS}
    for kind in (Kind.P, Kind.LOGP, Kind.BP, Kind.NONNEG, Kind.LOGITS):
        agreeing_looks = site.values[kind] + (site.values[Kind.P] if kind is Kind.BP else 0)
        if agreeing_looks < max(site.looks, needed.get(kind, LOOKS_FOR_RANGES)):
            continue
        name = f"something whose values look like it ({site.rows} rows"
        name += f", sums within {site.deviation:.0e} of 1)" if kind is Kind.P else ")"
        entry = (Scores(kind, None, name), "value", True)
        return dict.fromkeys(broken_rules(site.loss, kind), entry)
    return {}


def _at_loss(site: Site, code: str, scores: Scores, witness: str) -> Finding:
    losses = ""
    if code in ("SO101", "SO106", "SO207") and site.losses:
        losses = (
            f" It was {site.losses[0]:.3f} at the first look and {site.losses[-1]:.3f} at the last."
        )
    return _finding(
        code,
        site.place,
        scores,
        witness,
        path=site.places[1:2],
        loss=site.loss,
        floor=floor_sentence(site.num_classes) + losses,
        dim=scores.axis,
        log_target=site.log_target,
    )


def _finding(
    code: str,
    place: Place,
    scores: Scores,
    witness: str,
    *,
    path: tuple[Place, ...] = (),
    **said: object,
) -> Finding:
    made = scores.made or _SOMEWHERE
    message = RULES[code].message.format(**{"op": scores.op, "made": made, **said})
    via = f" (called from {path[0]})" if path and path[0].path != place.path else ""
    text = f"{message}{via} [{SURE[witness]}]"
    return Finding(code, text, place, scores.made, path=path, witness=witness)


def _loss_findings(site: Site, *, blamed: bool) -> Iterator[Finding]:
    """Yield what the loss and its targets say by themselves."""

    def finding(code: str, **said: object) -> Finding:
        message = RULES[code].message.format(loss=site.loss, classes=site.num_classes, **said)
        return Finding(code, message, site.place, witness="value")

    if site.nan is not None:
        value, step, cause = site.nan
        yield finding("SO601", value=value, step=step, cause=cause)
    if site.bad_target is not None:
        yield finding("SO602", value=site.bad_target)
    absent = _absent(site)
    if absent:
        shown = ", ".join(map(str, absent[:10])) + (" and more" if len(absent) > 10 else "")
        noun = "class" if len(absent) == 1 else "classes"
        total = int(site.counts.sum()) if site.counts is not None else 0
        yield finding("SO603", absent=f"{noun} {shown}", seen=total)
    if not blamed and _is_at_floor(site):
        floor = double_softmax_floor(site.num_classes)
        yield finding("SO604", value=f"{site.losses[-1]:.3f}", floor=f"{floor:.3f}")


def _absent(site: Site) -> list[int]:
    """Return the classes without a target, where that is no accident of a small sample."""
    if site.counts is None or site.num_classes < 2:
        return []
    enough = site.num_classes * (math.log(site.num_classes) + 7)
    if int(site.counts.sum()) < enough:
        return []
    return (site.counts == 0).nonzero()[:, 0].tolist()


def _is_at_floor(site: Site) -> bool:
    last = site.losses[-LOOKS_FOR_RANGES:]
    if site.loss != "cross_entropy" or len(last) < LOOKS_FOR_RANGES or site.num_classes < 2:
        return False
    # Probabilities that are sure of themselves look like single ones.
    within = sum(site.values[kind] for kind in (Kind.P, Kind.BP, Kind.ONEHOT))
    floor = double_softmax_floor(site.num_classes)
    return within == site.looks and all(floor * 0.999 <= loss <= floor * 1.01 for loss in last)
