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
from softonce.models.weights import WeightsEnum, list_weights
from softonce.training.recipes import AUTO, FINETUNE, FINETUNE_SMALL, NOTHING

if TYPE_CHECKING:
    from softonce.config import TrainConfig


def with_weights(config: TrainConfig) -> TrainConfig:
    """Decide what the network starts from, if `--weights` leaves it open.

    Photographs start from the network's published weights if these are in the cache or can be
    downloaded. Small pictures, which the published networks have not seen, and recipes for
    learning from nothing do not. All processes decide alike.
    """
    if config.weights is not None:
        return config
    record = _find_published(config)
    return dataclasses.replace(config, weights=NOTHING if record is None else str(record))


def _find_published(config: TrainConfig) -> WeightsEnum | None:
    records = list_weights(config.model)
    if config.recipe not in (AUTO, FINETUNE, FINETUNE_SMALL) or not records:
        return None
    record = type(records[0])["DEFAULT"]
    if preprocessing_from(config, record.preprocessing).size <= SMALL_SIDE:
        return None
    reasons = gather_json(_fetch(record) if local_rank() == 0 else "")  # once a machine
    reason = next(filter(None, reasons), None)
    if reason is None:
        LOG.info("starting from %s; --weights none starts from nothing", record)
        return record
    LOG.warning(
        "starting from nothing, which takes many more images or epochs for the same accuracy, "
        "because %s cannot be had: %s; --weights none asks for this",
        record,
        reason,
    )
    return None


def _fetch(record: WeightsEnum) -> str:
    """Put a record into the cache; return why that cannot be, or an empty text."""
    try:
        fetch(record.url, record.sha256)
    except SoftonceError as error:
        return str(error)
    return ""
