"""The run around the loop: data in, figures, artefact and report out."""

from __future__ import annotations

import copy
import dataclasses
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Unpack

import numpy as np
import torch

from softonce.config.train_options import TrainOptions, merge_options
from softonce.console import LOG, collect_notes, visible_notes
from softonce.data.scan_file import ScanFile
from softonce.data.sources.columns import Columns
from softonce.data.splits import Listed, Splits, list_splits, read_splits
from softonce.distributed import (
    on_rank_zero,
    process_group,
    raise_on_all_ranks,
    rank,
)
from softonce.errors import ArgumentError, describe_value
from softonce.hardware import pick_device
from softonce.models.sources import spelling_of
from softonce.plurals import format_count
from softonce.training.building import build_job, build_model
from softonce.training.checkpoint import load_checkpoint, save_checkpoint
from softonce.training.extraction import (
    can_cache,
    compute_features,
    load_backbone,
    save_backbone,
)
from softonce.training.finish import finish
from softonce.training.folds import asks_for_folds, train_folds
from softonce.training.imbalance import say_counts
from softonce.training.layers import BACKBONE
from softonce.training.loop import fit
from softonce.training.plan import (
    Plan,
    say_plan,
    settle,
    to_text,
    with_absolute_paths,
    with_head_shards,
)
from softonce.training.probe import as_probe, check_can_probe
from softonce.training.recipes import with_sizes
from softonce.training.sinks import TensorBoard, check_sinks
from softonce.training.start import Start, find_start, own_output
from softonce.training.trials import measure_open
from softonce.training.weights import with_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from softonce.config import TrainConfig
    from softonce.config.fields import Data
    from softonce.models import Network
    from softonce.training.features import SplitFeatures
    from softonce.training.job import Job
    from softonce.training.objective import LossFunction
    from softonce.training.result import TrainResult
    from softonce.training.sinks import Sink


def train(
    config: TrainConfig | Data | None = None,
    /,
    *,
    loss: LossFunction | None = None,
    sinks: Sequence[Sink] = (),
    **options: Unpack[TrainOptions],
) -> TrainResult:
    """Train a classifier on a folder of images, or go on with a run that was stopped.

    Args:
        config: the images, or the options of `softonce train` as a whole.
        loss: (logits, target) -> mean loss in nats; None is `cross_entropy` with the
            configuration's class weights and label smoothing.
        sinks: where the rows of `metrics.jsonl` go, too.
        options: fields of `TrainConfig` by name; they win over `config`. `model` may also be a
            function that takes `num_classes` and returns the network, or its class.

    Returns:
        The classifier, its figures, and the paths of what was written.

    Raises:
        ArgumentError: if there is no such option (the message has the nearest ones), or `loss` or
            `sinks` cannot be called.
        SoftonceError: if the options or the data cannot be used; nothing is written then.
        KeyboardInterrupt: after Ctrl-C, with the state saved.

    Example:
        >>> train("no_such_folder", model="resnet18", epochs=5)
        Traceback (most recent call last):
        softonce.errors.DataError: expected a folder of images at no_such_folder, found nothing: ...
    """
    if not (loss is None or callable(loss)):
        raise ArgumentError(
            f"expected a function of logits and target as loss, found {describe_value(loss)}: "
            "leave it out for cross-entropy"
        )
    check_sinks(sinks)
    if "model" in options and not isinstance(options["model"], str):
        options["model"] = spelling_of(options["model"])
    asked = merge_options(config, options)
    if asks_for_folds(asked):
        with visible_notes(quiet=asked.quiet):
            return train_folds(asked, lambda part: _train(part, loss, sinks))
    return _train(asked, loss, sinks)


def _train(config: TrainConfig, loss: LossFunction | None, sinks: Sequence[Sink]) -> TrainResult:
    with (
        visible_notes(quiet=config.quiet),
        process_group(pick_device(config.device)),
        collect_notes() as notes,
        own_output(config) as settled,
    ):
        start = raise_on_all_ranks(lambda: find_start(settled))
        with closing(start.lock):
            return _run(start, loss, sinks, notes)


def _run(
    start: Start, loss: LossFunction | None, sinks: Sequence[Sink], notes: list[str]
) -> TrainResult:
    if start.folder.path.exists():
        on_rank_zero(start.lock.take)
    job, splits = _prepare(start, loss)
    job.sinks = [*sinks, *_tracker(job)] if rank() == 0 else []
    with closing(job.train), closing(job.val):
        try:
            fit(job)
        finally:
            for sink in job.sinks:
                sink.close()
        return finish(job, splits, notes)


def _tracker(job: Job) -> list[Sink]:
    step = job.state.progress.step
    return [] if job.plan.track == "none" else [TensorBoard(job.run.path, step=step)]


def _prepare(start: Start, loss: LossFunction | None) -> tuple[Job, Splits]:
    """Read the data, decide what was left open, build the network, put a saved state back."""
    config, data = start.config, start.data
    torch.use_deterministic_algorithms(config.use_deterministic_algorithms)
    config = raise_on_all_ranks(lambda: with_sizes(config))
    if start.state is None:
        config = with_weights(config)
    if config.probe:
        config = as_probe(config)
    listed = raise_on_all_ranks(lambda: _list(config, data))
    torch.manual_seed(config.seed)
    model, default = raise_on_all_ranks(partial(build_model, start, config, len(listed.classes)))
    if config.probe:
        check_can_probe(model, config.model, loss)
    if rank() > 0:
        torch.manual_seed(config.seed + rank())  # the same weights, but random layers of its own
    kept = ScanFile(start.folder.scan, data, config.mode)
    splits = read_splits(listed, config, default, kept)
    small, num_train = splits.train.pixels is not None, len(splits.train)
    settled = raise_on_all_ranks(lambda: settle(config, default, small=small, num_train=num_train))
    settled = with_absolute_paths(settled, data)
    settled = with_head_shards(settled, model, has_own_loss=loss is not None)
    claim, features = _Claim(start, kept), None
    if can_cache(settled, model) and (start.state is None or start.folder.backbone.exists()):
        settled = dataclasses.replace(settled, amp=bool(config.amp))  # nothing left to speed up
        features = _features(start, settled, model, splits, claim)

    def build_trial(plan: Plan) -> Job:
        return build_job(plan, copy.deepcopy(model), splits, loss, features)

    plan = measure_open(settled, build_trial, lambda: claim(settled))
    job = build_job(plan, model, splits, loss, features)
    target, classes = splits.train.samples.target, listed.classes
    say_counts(np.bincount(target, minlength=len(classes)).tolist(), classes, plan)
    say_plan(plan, steps_per_epoch=len(job.train), has_loss=job.step.has_loss)
    if start.state is not None:
        on_rank_zero(kept.save)
        raise_on_all_ranks(partial(load_checkpoint, start.state, job.state))
        if start.extends:
            _extend(job)
    else:
        claim(plan)
    return job, splits


def _list(config: TrainConfig, data: str) -> Listed:
    return list_splits(
        data,
        Columns.of(config),
        class_order=config.class_order,
        exclude=config.exclude,
        max_pixels=config.max_pixels,
    )


def _features(
    start: Start, settled: TrainConfig, model: Network, splits: Splits, claim: _Claim
) -> SplitFeatures:
    """Compute the features of a backbone that stays as it is, or find those of before.

    What it was is kept first: the features are of these weights, and the states hold only the head.
    """
    if start.state is None:
        claim(settled)
        on_rank_zero(lambda: save_backbone(start.folder, model))
    else:
        raise_on_all_ranks(lambda: load_backbone(start.folder, model))
    return compute_features(settled, start.folder, model, splits)


@dataclass
class _Claim:
    """Makes the run folder this run's when it is first called, and then keeps the plan in it.

    Args:
        start: has the folder and its lock.
        kept: what was found in the files.
    """

    start: Start
    kept: ScanFile
    is_claimed: bool = False

    def __call__(self, config: TrainConfig) -> None:
        folder, text = self.start.folder, to_text(config)
        if self.is_claimed:
            on_rank_zero(lambda: folder.save(text))
            return
        on_rank_zero(self.start.lock.take)
        keeps = config.freeze == BACKBONE
        on_rank_zero(lambda: folder.claim(text, overwrite=config.overwrite, keeps_features=keeps))
        on_rank_zero(self.kept.save)
        self.is_claimed = True


def _extend(job: Job) -> None:
    """Note in state and configuration that the run has more epochs than it was begun with.

    The state is first: a run that is killed between the two is as if never extended.
    """
    where = job.state.progress
    where.extended_at = where.epoch
    save_checkpoint(job.run, job.state)
    on_rank_zero(lambda: job.run.save(to_text(job.plan)))
    LOG.info(
        "extended to %s, %d of them done: the schedule is planned over all of them, and goes on "
        "with lr %g",
        format_count(job.plan.epochs, "epoch"),
        where.epoch,
        job.schedule.lr(where.step),
    )
