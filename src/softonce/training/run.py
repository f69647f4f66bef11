"""The run around the loop: data in, figures, artefact and report out."""

from __future__ import annotations

import copy
import dataclasses
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from softonce.artefact import Metadata, read_artefact, write_artefact
from softonce.calibrate import MAX_TEMPERATURE, MIN_TEMPERATURE, fit_temperature
from softonce.config.fields import known
from softonce.console import LOG, collected_notes
from softonce.data.loader import Loader
from softonce.data.sources import short_name
from softonce.data.splits import Splits, list_splits, read_splits
from softonce.distributed import (
    copy_from_first,
    is_restartable,
    is_restarted,
    on_first,
    process_group,
    rank,
    together,
    world_size,
)
from softonce.engines.networks import as_evaluated, build_network, to_layout
from softonce.engines.torch_engine import TorchEngine
from softonce.errors import ConfigError
from softonce.evaluation import Evaluation, collect_logits, measure, summarise
from softonce.hardware import pick_device
from softonce.losses import ShardedLinear
from softonce.models import architecture_of
from softonce.models.blocks import set_recompute_, set_stochastic_depth_
from softonce.plurals import format_count
from softonce.preprocessing import num_channels
from softonce.report.run import write_run_report
from softonce.training.checkpoint import Progress, State, load_checkpoint
from softonce.training.head_loss import HeadLoss, ShardedHeadLoss, has_many_logits
from softonce.training.layers import Layers, layers_of
from softonce.training.loop import Job, fit
from softonce.training.metrics_file import MetricsFile
from softonce.training.mixing import Mixing
from softonce.training.objective import LossFunction, Objective, class_weights
from softonce.training.optim import build_average, build_optimizer, build_schedule
from softonce.training.plan import (
    Resolved,
    as_resumed,
    check_output,
    check_shares,
    check_statistics,
    check_unfinished,
    claim_output,
    is_begun,
    mark_start,
    resolve,
    resumed,
    save_config,
    say_plan,
    with_absolute_paths,
    with_head_shards,
)
from softonce.training.recipes import with_epochs, with_sizes
from softonce.training.sinks import TensorBoard, import_tensorboard
from softonce.training.step import TrainStep
from softonce.training.trials import is_unmeasured, measured

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from softonce.config import TrainConfig
    from softonce.models import Network
    from softonce.training.sinks import Sink


@dataclass(frozen=True)
class TrainResult:
    """What a run made.

    Args:
        run: the run folder.
        artefact: the classifier, of the best epoch.
        report: the HTML page.
        evaluation: of test where DATA has one, else of val.
    """

    run: Path
    artefact: Path
    report: Path
    evaluation: Evaluation


def train(
    config: TrainConfig, *, loss: LossFunction | None = None, sinks: Sequence[Sink] = ()
) -> TrainResult:
    """Train a classifier on a folder of images, or go on with a run that was stopped.

    Args:
        config: the options of `softonce train`.
        loss: (logits, target) -> mean loss in nats; None is `cross_entropy` with the
            configuration's class weights and label smoothing.
        sinks: where the rows of `metrics.jsonl` go, too.

    Returns:
        The paths of what was written, and the figures.

    Raises:
        SoftonceError: where the configuration or the data cannot be used; nothing is written then.
        KeyboardInterrupt: after Ctrl-C, with the state saved.

    Example:
        >>> from pathlib import Path
        >>> from softonce.config import TrainConfig
        >>> train(TrainConfig(Path("no_such_folder"), output=Path("run")))
        Traceback (most recent call last):
        softonce.errors.DataError: expected a folder of images at no_such_folder, found nothing: ...
    """
    with process_group(pick_device(config.device)), collected_notes() as notes:
        return _run(config, loss, sinks, notes)


def _run(
    config: TrainConfig, loss: LossFunction | None, sinks: Sequence[Sink], notes: list[str]
) -> TrainResult:
    job, splits = _prepare(together(lambda: _asked(config)), loss)
    job.sinks = [*sinks, *_tracker(config, job)] if rank() == 0 else []
    with closing(job.train), closing(job.val):
        try:
            fit(job)
        finally:
            for sink in job.sinks:
                sink.close()
        return _finish(job, splits, notes)


def _asked(config: TrainConfig) -> TrainConfig:
    """Return the configuration to run: as given, or of the run that goes on."""
    if config.track == "tensorboard":
        import_tensorboard()
    if config.resume is None and is_restarted() and is_begun(config):
        config = as_resumed(config)
    if config.resume is not None:
        return resumed(config)
    if is_restartable():
        mark_start(config)
    check_output(config)
    return config


def _tracker(config: TrainConfig, job: Job) -> list[Sink]:
    if config.track == "none":
        return []
    return [TensorBoard(job.run, step=job.state.progress.step)]


def _prepare(config: TrainConfig, loss: LossFunction | None) -> tuple[Job, Splits]:
    """Read the data, resolve the options, build the network, put a saved state back."""
    data = config.data
    if data is None:
        raise ConfigError("expected DATA, a folder of images, found none")
    torch.use_deterministic_algorithms(config.use_deterministic_algorithms)
    if config.resume is not None and is_unmeasured(config):
        config = _begun_again(config)
    config = together(lambda: with_sizes(config))
    fraction, seed = config.val_fraction, config.seed
    listed = together(lambda: list_splits(data, val_fraction=fraction, seed=seed))
    torch.manual_seed(config.seed)
    model, default = together(
        partial(
            build_network,
            config.model,
            num_classes=len(listed.classes),
            in_channels=num_channels(config.mode),
            weights=None if config.resume else config.weights,
        )
    )
    if rank() > 0:
        torch.manual_seed(seed + rank())  # the same weights, but random layers of its own
    splits = read_splits(listed, config, default)
    small, num_train = splits.train.pixels is not None, len(splits.train)
    resolved = together(lambda: resolve(config, default, small=small, num_train=num_train))
    settled = with_absolute_paths(resolved.config)

    @cache
    def claim() -> None:  # once, and not before every option has proved to be usable
        on_first(lambda: claim_output(settled))

    def build_trial(trial: TrainConfig) -> Job:
        job = _build_job(resolved, trial, copy.deepcopy(model), splits, loss)
        claim()
        return job

    settled = with_head_shards(settled, model, has_own_loss=loss is not None)
    config = with_epochs(measured(settled, build_trial))
    job = _build_job(resolved, config, model, splits, loss)
    say_plan(config, has_loss=job.step.has_loss)
    if config.resume is None:
        claim()
        on_first(lambda: save_config(config))
    if config.resume is not None and not together(lambda: load_checkpoint(job.run, job.state)):
        return _prepare(_begun_again(config), loss)
    return job, splits


def _begun_again(config: TrainConfig) -> TrainConfig:
    together(lambda: check_unfinished(config))
    LOG.info("%s has no saved state yet: starting it again", config.resume)
    return dataclasses.replace(config, resume=None, overwrite=True)


def _build_job(
    resolved: Resolved,
    config: TrainConfig,
    model: Network,
    splits: Splits,
    loss: LossFunction | None,
) -> Job:
    device = pick_device(config.device)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    to_layout(model, device, layout)
    metadata = _metadata(config, resolved, model, splits)
    if config.shard_head:
        model.fc = ShardedLinear.from_linear(model.fc)  # type: ignore[assignment] # made whole again
    make_loader = partial(
        Loader,
        preprocessing=resolved.preprocessing,
        batch_size=cast("int", config.batch_size),
        seed=config.seed,
        workers=config.workers,
        rank=rank(),
        world_size=world_size(),
    )
    train_loader = make_loader(
        splits.train, augmentation=resolved.augmentation, balanced=config.sampler == "balanced"
    )
    check_shares(train_loader, config.grad_accum_steps if config.shard_head else 1)
    if config.sync_bn:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call] # torch's
    check_statistics(model, config, train_loader)
    layers = _prepare_layers(model, config)
    optimizer = build_optimizer(layers, config)
    # Whatever was measured before, the run begins alike; random layers differ between processes.
    torch.manual_seed(config.seed + rank())
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    state = State(
        model, optimizer, build_average(model, config), sums, Progress(), splits.train.fingerprint()
    )
    assert config.output is not None  # noqa: S101 - checked before
    return Job(
        config=config,
        run=config.output,
        state=state,
        step=_build_step(config, model, optimizer, _objective(config, splits, loss, device)),
        layers=layers,
        mixing=_mixing(config, len(splits.listed.classes)),
        schedule=build_schedule(config, len(train_loader)),
        train=train_loader,
        val=make_loader(splits.val),
        metadata=metadata,
        metrics=MetricsFile(config.output / "metrics.jsonl"),
        device=device,
    )


def _prepare_layers(model: Network, config: TrainConfig) -> Layers:
    """Set what `--stochastic-depth`, `--grad-checkpointing` and `--freeze` ask of the network."""
    num_blocks = set_stochastic_depth_(model, known(config.stochastic_depth))
    if config.grad_checkpointing:
        set_recompute_(model)
    if num_blocks == 0 and (config.stochastic_depth or config.grad_checkpointing):
        raise ConfigError(
            f"expected a network with residual blocks for --stochastic-depth and "
            f"--grad-checkpointing, found none in {config.model}: leave these options out"
        )
    return layers_of(model, freeze=config.freeze, head_epochs=known(config.head_epochs))


def _mixing(config: TrainConfig, num_classes: int) -> Mixing | None:
    mixup, cutmix = known(config.mixup_alpha), known(config.cutmix_alpha)
    return Mixing(num_classes, mixup, cutmix, config.seed) if mixup or cutmix else None


def _objective(
    config: TrainConfig, splits: Splits, loss: LossFunction | None, device: torch.device
) -> Objective:
    target = splits.train.samples.target
    weight = class_weights(config.class_weights, target, splits.listed.classes)
    if loss is not None:
        return Objective(loss)
    return Objective(
        weight=None if weight is None else weight.to(device),
        label_smoothing=known(config.label_smoothing),
    )


def _build_step(
    config: TrainConfig, model: Network, optimizer: torch.optim.Optimizer, objective: Objective
) -> TrainStep:
    kind = next(model.parameters()).device.type
    num_images = cast("int", config.batch_size) // (world_size() * config.grad_accum_steps)
    has_loss = bool(config.shard_head) or has_many_logits(model, objective, num_images)
    trained: nn.Module = model
    if has_loss:
        join = ShardedHeadLoss if config.shard_head else HeadLoss
        trained = join(model, objective, compiled=config.compile)
    if world_size() > 1 and not config.shard_head:
        trained = DistributedDataParallel(trained, find_unused_parameters=bool(config.head_epochs))
    return TrainStep(
        model=torch.compile(trained) if config.compile and not has_loss else trained,  # type: ignore[arg-type] # torch's
        optimizer=optimizer,
        objective=objective,
        autocast=partial(torch.autocast, kind, dtype=torch.bfloat16, enabled=bool(config.amp)),
        clip_grad_norm=config.clip_grad_norm,
        world_size=world_size(),
        num_parts=config.grad_accum_steps,
        has_loss=has_loss,
    )


def _metadata(config: TrainConfig, resolved: Resolved, model: Network, splits: Splits) -> Metadata:
    arch, arch_args = architecture_of(model)
    assert config.data is not None  # noqa: S101 - checked before
    training: dict[str, Any] = {
        "data": short_name(config.data),
        "fingerprint": splits.train.fingerprint(),
        "epochs": config.epochs,
        "num_train": len(splits.train),
        "num_val": len(splits.val),
    }
    if splits.listed.split_off:
        training["split"] = {"val_fraction": config.val_fraction, "seed": config.seed}
        training["listing"] = splits.listed.listing
    return Metadata(
        arch=arch,
        arch_args=arch_args,
        classes=splits.listed.classes,
        preprocessing=resolved.preprocessing,
        training=training,
    )


def _finish(job: Job, splits: Splits, notes: list[str]) -> TrainResult:
    """Fit the temperature on val, measure the best epoch, write the artefact and the report."""
    artefact, last = job.run / "model.safetensors", job.run / "last.safetensors"
    made = {"epochs": job.state.progress.epoch}  # fewer than asked for, where --patience ended it
    job.metadata = dataclasses.replace(job.metadata, training=job.metadata.training | made)
    network = job.whole()
    on_first(lambda: write_artefact(last, network.state_dict(), job.metadata))
    on_first(lambda: network.load_state_dict(read_artefact(artefact)[0]))
    copy_from_first(network)
    engine = TorchEngine(as_evaluated(network, job.device), job.metadata)
    val_logits, val_target = collect_logits(engine, job.val, label="calibrating")
    temperature = _fit_temperature(val_logits, val_target)
    seed = job.config.seed
    if splits.test is None:
        evaluation = summarise(
            val_logits, val_target, splits.val, "val", temperature=temperature, seed=seed
        )
    else:
        with closing(dataclasses.replace(job.val, scan=splits.test)) as test:
            evaluation = measure(engine, test, "test", temperature=temperature, seed=seed)
    on_first(lambda: _write_results(job, splits, evaluation, notes))
    return TrainResult(job.run, artefact, job.run / "report.html", evaluation)


def _write_results(job: Job, splits: Splits, evaluation: Evaluation, notes: list[str]) -> None:
    artefact = job.run / "model.safetensors"
    tensors, metadata = read_artefact(artefact)
    metadata = dataclasses.replace(
        metadata,
        temperature=evaluation.temperature,
        training=metadata.training
        | {"epochs": job.metadata.training["epochs"], "metrics": _headline(evaluation)},
    )
    write_artefact(artefact, tensors, metadata)
    write_run_report(
        job.run,
        evaluation,
        metadata,
        splits,
        loss_parts=_loss_parts(job),
        notes=notes,
        history=job.metrics.rows(),
    )


def _loss_parts(job: Job) -> list[str]:
    """Return what the loss of training holds beside the cross-entropy of one class an image."""
    if job.step.objective.loss_fn is not None:
        return ["the terms of a loss function given from Python"]
    config, weighted = job.config, job.step.objective.weight is not None
    smoothing = known(config.label_smoothing)
    parts = {
        f"label smoothing {smoothing:g}": smoothing,
        "class weights": weighted,
        "mixup": config.mixup_alpha,
        "cutmix": config.cutmix_alpha,
    }
    return [name for name, is_on in parts.items() if is_on]


def _fit_temperature(logits: Tensor, target: Tensor) -> float:
    """Fit the temperature; where it runs into a bound, val says nothing about it, and 1 is kept."""
    temperature = fit_temperature(logits, target)
    if MIN_TEMPERATURE < temperature < MAX_TEMPERATURE:
        return temperature
    why = "every one is right" if temperature < 1 else "the logits say nothing of their classes"
    LOG.warning(
        "val (%s) does not show how sure to be (%s, and the best temperature is the bound %g): "
        "the probabilities are left uncalibrated",
        format_count(len(target), "image"),
        why,
        temperature,
    )
    return 1.0


def _headline(evaluation: Evaluation) -> dict[str, Any]:
    found = evaluation.figures
    names = ("n", "top1", "top5", "nll", "brier", "ece")
    return {"split": evaluation.split, **{name: getattr(found, name) for name in names}}
