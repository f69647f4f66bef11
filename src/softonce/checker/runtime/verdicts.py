"""The findings that come of what was seen at the losses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from softonce.checker.catalog import RULES, floor_sentence
from softonce.checker.findings import Finding, Place
from softonce.checker.kinds import Kind, broken_rules
from softonce.checker.runtime.sites import SOMEWHERE, Seen, Site
from softonce.checker.tags import Scores
from softonce.floors import double_softmax_floor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LOOKS_FOR_SUMS = 2
"""Rows that sum to 1 in so many batches are no accident."""
LOOKS_FOR_RANGES = 20
"""Values within [0, 1], or cut at 0, need more batches: small networks start there."""
SURE = {
    "tag": "certain: followed from that line, and the values agree",
    "grad_fn": "certain of the operation, not of its line: read in autograd's record",
    "value": "likely: so look the values, and what made them was not seen",
}


def site_findings(site: Site, sites: Sequence[Site]) -> Iterator[Finding]:
    """Yield what is wrong at one loss, beside the others of the script."""
    kept = dict(site.found)
    if not kept:
        kept = {(code, SOMEWHERE): entry for code, entry in _by_values(site).items()}
    clean = any(s.has_clean_training for s in sites if s.loss == site.loss)
    for (code, _), seen in kept.items():
        if code in site.pardoned:
            continue
        is_eval = code == "SO101" and not seen.is_training and clean
        yield _at_loss(site, "SO207" if is_eval else code, seen)
    yield from _loss_findings(site, _absent(site, sites), blamed=bool(kept))


def _by_values(site: Site) -> dict[str, Seen]:
    """Return the rules that only the values show; every look has to agree."""
    needed = {Kind.P: LOOKS_FOR_SUMS, Kind.LOGP: LOOKS_FOR_SUMS, Kind.LOGITS: LOOKS_FOR_SUMS}
    for kind in (Kind.P, Kind.LOGP, Kind.BP, Kind.NONNEG, Kind.LOGITS):
        agreeing_looks = site.values[kind] + (site.values[Kind.P] if kind is Kind.BP else 0)
        if agreeing_looks < max(site.looks, needed.get(kind, LOOKS_FOR_RANGES)):
            continue
        name = f"something whose values look like it ({site.rows} rows"
        name += f", sums within {site.deviation:.0e} of 1)" if kind is Kind.P else ")"
        entry = Seen(Scores(kind, None, name), "value", is_training=True)
        return dict.fromkeys(broken_rules(site.loss, kind), entry)
    return {}


def _at_loss(site: Site, code: str, seen: Seen) -> Finding:
    losses = ""
    if code in ("SO101", "SO106", "SO207") and site.losses:
        losses = (
            f" It was {site.losses[0]:.3f} at the first look and {site.losses[-1]:.3f} at the last."
        )
    return finding_of(
        code,
        site.place,
        seen.scores,
        seen.witness,
        path=site.places[1:2],
        loss=seen.loss or site.loss,
        floor=floor_sentence(site.num_classes) + losses,
        dim=seen.scores.axis,
        log_target=site.log_target,
    )


def finding_of(
    code: str,
    place: Place,
    scores: Scores,
    witness: str,
    *,
    path: tuple[Place, ...] = (),
    **said: object,
) -> Finding:
    """Return the finding of a broken rule, in words."""
    made = scores.made or SOMEWHERE
    message = RULES[code].message.format(**{"op": scores.op, "made": made, **said})
    via = f" (called from {path[0]})" if path and path[0].path != place.path else ""
    text = f"{message}{via} [{SURE[witness]}]"
    return Finding(code, text, place, scores.made, path=path, witness=witness)


def _loss_findings(site: Site, absent: Sequence[int], *, blamed: bool) -> Iterator[Finding]:
    """Yield what the loss and its targets say by themselves."""

    def finding(code: str, **said: object) -> Finding:
        message = RULES[code].message.format(loss=site.loss, classes=site.num_classes, **said)
        return Finding(code, message, site.place, witness="value")

    if site.nan is not None:
        value, step, cause = site.nan
        yield finding("SO601", value=value, step=step, cause=cause)
    if site.bad_target is not None:
        yield finding("SO602", value=site.bad_target)
    if absent:
        shown = ", ".join(map(str, absent[:10])) + (" and more" if len(absent) > 10 else "")
        noun = "class" if len(absent) == 1 else "classes"
        total = int(site.counts.sum()) if site.counts is not None else 0
        yield finding("SO603", absent=f"{noun} {shown}", seen=total)
    if not blamed and _is_at_floor(site):
        floor = double_softmax_floor(site.num_classes)
        yield finding("SO604", value=f"{site.losses[-1]:.3f}", floor=f"{floor:.3f}")


def _absent(site: Site, sites: Sequence[Site]) -> list[int]:
    """Return the classes without a target, if that is no accident of a small sample.

    Losses over as many classes are taken together: a network that is trained on real images by
    one and on made ones by another gets each class from one of them.
    """
    if site.counts is None or site.num_classes < 2:
        return []
    enough = site.num_classes * (math.log(site.num_classes) + 7)
    if int(site.counts.sum()) < enough:
        return []
    alike = [s.counts for s in sites if s.counts is not None and len(s.counts) == len(site.counts)]
    return (torch.stack(alike).sum(0) == 0).nonzero()[:, 0].tolist()


def _is_at_floor(site: Site) -> bool:
    last = site.losses[-LOOKS_FOR_RANGES:]
    if site.loss != "cross_entropy" or len(last) < LOOKS_FOR_RANGES or site.num_classes < 2:
        return False
    # Probabilities that are sure of themselves look like single ones.
    within = sum(site.values[kind] for kind in (Kind.P, Kind.BP, Kind.ONEHOT))
    floor = double_softmax_floor(site.num_classes)
    return within == site.looks and all(floor * 0.999 <= loss <= floor * 1.01 for loss in last)
