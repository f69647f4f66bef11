"""What a network starts from: the weights that were asked for, published ones, or nothing."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from softonce.config.fields import preprocessing_from
from softonce.console import LOG
from softonce.data.scan import SMALL_SIDE
from softonce.distributed import gather_json, local_rank
from softonce.errors import SoftonceError
from softonce.models.download import fetch
from softonce.models.sources import find_source
from softonce.models.weights import WeightsEnum, list_weights
from softonce.training.recipes import AUTO, FINETUNE, FINETUNE_SMALL, NOTHING

if TYPE_CHECKING:
    from softonce.config import TrainConfig
    from softonce.models.sources import NetworkSource


def with_weights(config: TrainConfig) -> TrainConfig:
    """Decide what the network starts from, if `--weights` leaves it open.

    Photographs start from the network's published weights if these are in the cache or can be
    downloaded. Small pictures, which the published networks have not seen, and recipes for
    learning from nothing do not. All processes decide alike.
    """
    if config.weights is not None:
        return config
    return dataclasses.replace(config, weights=_find_published(config) or NOTHING)


def _find_published(config: TrainConfig) -> str | None:
    """Return the name of the published weights to start from, if they fit and can be had."""
    if config.recipe not in (AUTO, FINETUNE, FINETUNE_SMALL):
        return None
    elsewhere = find_source(config.model)
    if elsewhere is not None:
        return _find_elsewhere(config, *elsewhere)
    records = list_weights(config.model)
    if not records:
        return None
    record = type(records[0])["DEFAULT"]
    if preprocessing_from(config, record.preprocessing).size <= SMALL_SIDE:
        return None
    reasons = gather_json(_fetch(record) if local_rank() == 0 else "")  # once a machine
    reason = next(filter(None, reasons), None)
    return str(record) if _can_start_from(str(record), reason) else None


def _find_elsewhere(config: TrainConfig, source: NetworkSource, name: str) -> str | None:
    size = config.size or source.facts(name).size
    if size is None or size <= SMALL_SIDE:
        return None
    reasons = gather_json(source.why_no_weights(name))
    if "" in reasons:  # none are published
        return None
    what = f"the published weights of {config.model}"
    return "DEFAULT" if _can_start_from(what, next(filter(None, reasons), None)) else None


def _can_start_from(what: str, reason: str | None) -> bool:
    """Return whether there is no reason against these weights, and say which way it is."""
    if reason is None:
        LOG.info("starting from %s; --weights none starts from nothing", what)
        return True
    LOG.warning(
        "starting from nothing, which takes many more images or epochs for the same accuracy, "
        "because %s cannot be had: %s; --weights none asks for this",
        what,
        reason,
    )
    return False


def _fetch(record: WeightsEnum) -> str:
    """Put a record into the cache; return why that cannot be, or an empty text."""
    try:
        fetch(record.url, record.sha256)
    except SoftonceError as error:
        return str(error)
    return ""
