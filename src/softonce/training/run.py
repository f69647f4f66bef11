"""The run around the loop: data in, figures, artefact and report out."""

from __future__ import annotations

import copy
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from softonce.artefact import Metadata
from softonce.config import TrainConfig
from softonce.config.train_options import TrainOptions, asked_of
from softonce.console import LOG, collected_notes, visible_notes
from softonce.data.loader import Loader
from softonce.data.membership import pack_marks
from softonce.data.scan_file import ScanFile
from softonce.data.sources import short_name
from softonce.data.sources.columns import Columns
from softonce.data.splits import Splits, list_splits, read_splits
from softonce.distributed import (
    on_rank_zero,
    process_group,
    raise_on_all_ranks,
    rank,
    world_size,
)
from softonce.engines.networks import build_network, to_layout
from softonce.errors import ArgumentError, ConfigError, describe_value
from softonce.hardware import pick_device
from softonce.losses import ShardedLinear
from softonce.models import architecture_of
from softonce.models.adapted import AdaptedNetwork
from softonce.models.blocks import set_recompute_, set_stochastic_depth_
from softonce.models.sources import packages_of, spelling_of
from softonce.plurals import format_count
from softonce.preprocessing import num_channels
from softonce.training.checkpoint import Progress, State, load_checkpoint, save_checkpoint
from softonce.training.checks import check_shares, check_statistics
from softonce.training.contract import check_contract
from softonce.training.finish import finish
from softonce.training.folds import asks_for_folds, train_folds
from softonce.training.head_loss import HeadLoss, ShardedHeadLoss, has_many_logits
from softonce.training.imbalance import say_counts
from softonce.training.job import Job
from softonce.training.layers import Layers, layers_of
from softonce.training.loop import fit
from softonce.training.metrics_file import MetricsFile
from softonce.training.mixing import Mixing
from softonce.training.objective import LossFunction, Objective, class_weights
from softonce.training.optim import build_average, build_optimizer, build_schedule
from softonce.training.plan import (
    Plan,
    say_plan,
    settle,
    to_text,
    with_absolute_paths,
    with_head_shards,
)
from softonce.training.recipes import has_weights, with_sizes
from softonce.training.sinks import TensorBoard, check_sinks
from softonce.training.start import Start, find_start, own_output
from softonce.training.step import TrainStep
from softonce.training.trials import is_unmeasured, measure_open
from softonce.training.weights import with_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from softonce.config.fields import Data
    from softonce.models import Network
    from softonce.preprocessing import Preprocessing
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
    asked = asked_of(config, options)
    if asks_for_folds(asked):
        with visible_notes(quiet=asked.quiet):
            return train_folds(asked, lambda part: _train(part, loss, sinks))
    return _train(asked, loss, sinks)


def _train(config: TrainConfig, loss: LossFunction | None, sinks: Sequence[Sink]) -> TrainResult:
    with (
        visible_notes(quiet=config.quiet),
        process_group(pick_device(config.device)),
        collected_notes() as notes,
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
    listed = raise_on_all_ranks(
        lambda: list_splits(
            data,
            Columns.of(config),
            class_order=config.class_order,
            exclude=config.exclude,
            max_pixels=config.max_pixels,
        )
    )
    torch.manual_seed(config.seed)
    model, default = raise_on_all_ranks(partial(_build_model, start, config, len(listed.classes)))
    if rank() > 0:
        torch.manual_seed(config.seed + rank())  # the same weights, but random layers of its own
    kept = ScanFile(start.folder.scan, data, config.mode)
    splits = read_splits(listed, config, default, kept)
    small, num_train = splits.train.pixels is not None, len(splits.train)
    settled = raise_on_all_ranks(lambda: settle(config, default, small=small, num_train=num_train))
    settled = with_absolute_paths(settled, data)
    settled = with_head_shards(settled, model, has_own_loss=loss is not None)

    def build_trial(plan: Plan) -> Job:
        return _build_job(plan, copy.deepcopy(model), splits, loss)

    def claim(config: TrainConfig) -> None:
        text = to_text(config)
        on_rank_zero(start.lock.take)
        on_rank_zero(lambda: start.folder.claim(text, overwrite=config.overwrite))
        on_rank_zero(kept.save)

    plan = measure_open(settled, build_trial, lambda: claim(settled))
    job = _build_job(plan, model, splits, loss)
    target, classes = splits.train.samples.target, listed.classes
    say_counts(np.bincount(target, minlength=len(classes)).tolist(), classes, plan)
    say_plan(plan, steps_per_epoch=len(job.train), has_loss=job.step.has_loss)
    if start.state is not None:
        on_rank_zero(kept.save)
        raise_on_all_ranks(partial(load_checkpoint, start.state, job.state))
        if start.extends:
            _extend(job)
    elif is_unmeasured(settled):  # claimed before the measurements
        on_rank_zero(lambda: start.folder.save(to_text(plan)))
    else:
        claim(plan)
    return job, splits


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


def _build_model(
    start: Start, config: TrainConfig, num_classes: int
) -> tuple[Network, Preprocessing]:
    network, preprocessing = build_network(
        config.model,
        num_classes=num_classes,
        in_channels=num_channels(config.mode),
        weights=config.weights if start.state is None and has_weights(config) else None,
        size=config.size,
        strip_normaliser=config.strip_normaliser,
        stochastic_depth=config.stochastic_depth,
    )
    side = config.size or preprocessing.size
    check_contract(network, config.model, (num_channels(config.mode), side, side))
    return network, preprocessing


def _build_job(plan: Plan, model: Network, splits: Splits, loss: LossFunction | None) -> Job:
    device = pick_device(plan.device)
    layout = torch.channels_last if plan.channels_last else torch.contiguous_format
    to_layout(model, device, layout)
    metadata = _metadata(plan, model, splits)
    if plan.shard_head:
        assert isinstance(model.head, nn.Linear)  # noqa: S101 - only such a head is shared
        model.set_head_(ShardedLinear.from_linear(model.head))
    make_loader = partial(
        Loader,
        preprocessing=plan.preprocessing,
        batch_size=plan.batch_size,
        seed=plan.seed,
        workers=plan.workers,
        rank=rank(),
        world_size=world_size(),
    )
    train_loader = make_loader(
        splits.train, augmentation=plan.augmentation, balanced=plan.sampler == "balanced"
    )
    check_shares(train_loader, plan.grad_accum_steps if plan.shard_head else 1)
    if plan.sync_bn:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call] # torch's
    check_statistics(model, plan, train_loader)
    layers = _prepare_layers(model, plan)
    optimizer = build_optimizer(layers, plan)
    # Whatever was measured before, the run begins alike; random layers differ between processes.
    torch.manual_seed(plan.seed + rank())
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    state = State(
        model, optimizer, build_average(model, plan), sums, Progress(), splits.train.fingerprint()
    )
    return Job(
        plan=plan,
        run=plan.folder,
        state=state,
        step=_build_step(plan, model, optimizer, _objective(plan, splits, loss, device)),
        layers=layers,
        mixing=_mixing(plan, len(splits.listed.classes)),
        schedule=build_schedule(plan, len(train_loader)),
        train=train_loader,
        val=make_loader(splits.val),
        metadata=metadata,
        metrics=MetricsFile(plan.folder.metrics),
        device=device,
    )


def _prepare_layers(model: Network, plan: Plan) -> Layers:
    """Set what `--stochastic-depth`, `--grad-checkpointing` and `--freeze` ask of the network."""
    is_adapted = isinstance(model, AdaptedNetwork)  # built with its stochastic depth
    can_drop = is_adapted or set_stochastic_depth_(model, plan.stochastic_depth) > 0
    if not plan.grad_checkpointing:
        can_recompute = True
    else:
        can_recompute = (
            model.set_recompute_()
            if isinstance(model, AdaptedNetwork)
            else set_recompute_(model) > 0
        )
    if (plan.stochastic_depth and not can_drop) or not can_recompute:
        raise ConfigError(
            f"expected a network with residual blocks for --stochastic-depth and "
            f"--grad-checkpointing, found none in {plan.model}: leave these options out"
        )
    return layers_of(model, freeze=plan.freeze, head_epochs=plan.head_epochs)


def _mixing(plan: Plan, num_classes: int) -> Mixing | None:
    mixup, cutmix = plan.mixup_alpha, plan.cutmix_alpha
    return Mixing(num_classes, mixup, cutmix, plan.seed) if mixup or cutmix else None


def _objective(
    plan: Plan, splits: Splits, loss: LossFunction | None, device: torch.device
) -> Objective:
    target = splits.train.samples.target
    weight = class_weights(plan.class_weights, target, splits.listed.classes)
    if loss is not None:
        return Objective(loss)
    return Objective(
        weight=None if weight is None else weight.to(device),
        label_smoothing=plan.label_smoothing,
    )


def _build_step(
    plan: Plan, model: Network, optimizer: torch.optim.Optimizer, objective: Objective
) -> TrainStep:
    kind = next(model.parameters()).device.type
    num_images = plan.batch_size // (world_size() * plan.grad_accum_steps)
    has_loss = plan.shard_head or has_many_logits(model, objective, num_images)
    trained: nn.Module = model
    if has_loss:
        join = ShardedHeadLoss if plan.shard_head else HeadLoss
        trained = join(model, objective, compiled=plan.compile)
    if world_size() > 1 and not plan.shard_head:
        trained = DistributedDataParallel(trained, find_unused_parameters=_has_unused(model, plan))
    return TrainStep(
        model=torch.compile(trained) if plan.compile and not has_loss else trained,  # type: ignore[arg-type] # torch's
        optimizer=optimizer,
        objective=objective,
        autocast=partial(torch.autocast, kind, dtype=torch.bfloat16, enabled=plan.amp),
        clip_grad_norm=plan.clip_grad_norm,
        world_size=world_size(),
        num_parts=plan.grad_accum_steps,
        has_loss=has_loss,
    )


def _has_unused(model: Network, plan: Plan) -> bool:
    """Return whether a step may leave parameters out, as those of auxiliary heads."""
    return plan.head_epochs > 0 or getattr(model, "num_side_outputs", 0) > 0


def _metadata(plan: Plan, model: Network, splits: Splits) -> Metadata:
    arch, arch_args = architecture_of(model)
    training: dict[str, Any] = {
        "data": short_name(plan.data),
        "fingerprint": splits.train.fingerprint(),
        "epochs": plan.epochs,
        "num_train": len(splits.train),
        "num_val": len(splits.val),
    }
    if plan.select_by != TrainConfig.select_by:
        training["select_by"] = plan.select_by
    if splits.listed.val is None:
        training["split"] = {"val_fraction": plan.val_fraction, "seed": plan.seed}
    return Metadata(
        arch=arch,
        arch_args=arch_args,
        classes=splits.listed.classes,
        preprocessing=plan.preprocessing,
        training=training,
        packages=packages_of(arch),
        trained_on=pack_marks(splits.train.digests),
    )
