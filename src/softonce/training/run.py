"""The run around the loop: data in, figures, artefact and report out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from softonce.artefact import Metadata, read_artefact, write_artefact
from softonce.calibrate import MAX_TEMPERATURE, MIN_TEMPERATURE, fit_temperature
from softonce.config.toml import to_toml
from softonce.console import LOG, collected_notes
from softonce.data.loader import Loader
from softonce.data.sources import absolute, short_name
from softonce.data.splits import Splits, list_splits, read_splits
from softonce.distributed import (
    copy_from_first,
    is_restarted,
    on_first,
    process_group,
    rank,
    together,
    world_size,
)
from softonce.engines import Engine, as_evaluated, build_network, to_layout
from softonce.errors import ConfigError
from softonce.evaluation import Evaluation, collect_logits, measure, summarise
from softonce.files import write_text
from softonce.hardware import pick_device
from softonce.losses import cross_entropy
from softonce.models import architecture_of
from softonce.report.run import write_run_report
from softonce.training.checkpoint import Progress, State, load_checkpoint
from softonce.training.loop import Job, fit
from softonce.training.metrics_file import MetricsFile
from softonce.training.optim import build_average, build_optimizer, build_schedule
from softonce.training.plan import (
    Resolved,
    as_resumed,
    check_output,
    check_shares,
    claim_output,
    is_begun,
    resolve,
    resumed,
)
from softonce.training.step import LossFunction, TrainStep

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from softonce.config import TrainConfig
    from softonce.models import Classifier


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


def train(config: TrainConfig, *, loss: LossFunction | None = None) -> TrainResult:
    """Train a classifier on a folder of images, or go on with a run that was stopped.

    Args:
        config: the options of `softonce train`.
        loss: (logits, target) -> mean loss in nats; None is `cross_entropy` with the
            configuration's label smoothing.

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
        return _run(config, loss, notes)


def _run(config: TrainConfig, loss: LossFunction | None, notes: list[str]) -> TrainResult:
    job, splits = _prepare(together(lambda: _asked(config)), loss)
    fit(job)
    return _finish(job, splits, notes)


def _asked(config: TrainConfig) -> TrainConfig:
    """Return the configuration to run: as given, or of the run that goes on."""
    if config.resume is None and is_restarted() and is_begun(config):
        config = as_resumed(config)
    if config.resume is not None:
        return resumed(config)
    check_output(config)
    return config


def _prepare(config: TrainConfig, loss: LossFunction | None) -> tuple[Job, Splits]:
    """Read the data, resolve the options, build the network, put a saved state back."""
    if config.data is None:
        raise ConfigError("expected DATA, a folder of images, found none")
    data, fraction, seed = config.data, config.val_fraction, config.seed
    listed = together(lambda: list_splits(data, val_fraction=fraction, seed=seed))
    torch.manual_seed(config.seed)
    model, default = together(
        partial(
            build_network,
            config.model,
            num_classes=len(listed.classes),
            in_channels=len(config.mode),
            weights=None if config.resume else config.weights,
        )
    )
    if rank() > 0:
        torch.manual_seed(seed + rank())  # the same weights, but random layers of its own
    splits = read_splits(listed, config, default)
    resolved = resolve(config, default, small=splits.train.pixels is not None)
    config = dataclasses.replace(resolved.config, data=absolute(config.data))
    if config.resume is None:
        on_first(lambda: _begin(config))
    job = _build_job(resolved, config, model, splits, loss)
    if config.resume is not None and not together(lambda: load_checkpoint(job.run, job.state)):
        LOG.info("%s has no saved state yet: starting it again", config.resume)
        return _prepare(dataclasses.replace(config, resume=None, overwrite=True), loss)
    return job, splits


def _begin(config: TrainConfig) -> None:
    run = claim_output(config)
    saved = dataclasses.replace(config, output=None, config=None, overwrite=False)
    write_text(run / "config.toml", to_toml(saved))


def _build_job(
    resolved: Resolved,
    config: TrainConfig,
    model: Classifier,
    splits: Splits,
    loss: LossFunction | None,
) -> Job:
    device = pick_device(config.device)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    to_layout(model, device, layout)
    make_loader = partial(
        Loader,
        preprocessing=resolved.preprocessing,
        batch_size=config.batch_size,
        seed=config.seed,
        workers=config.workers,
        rank=rank(),
        world_size=world_size(),
    )
    train_loader = make_loader(splits.train, augmentation=resolved.augmentation)
    check_shares(train_loader)
    if config.sync_bn:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call] # torch's
    optimizer = build_optimizer(model, config)
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    state = State(
        model, optimizer, build_average(model, config), sums, Progress(), splits.train.fingerprint()
    )
    assert config.output is not None  # noqa: S101 - checked before
    return Job(
        config=config,
        run=config.output,
        state=state,
        step=_build_step(config, model, optimizer, loss, device),
        schedule=build_schedule(config, len(train_loader)),
        train=train_loader,
        val=make_loader(splits.val),
        metadata=_metadata(config, resolved, model, splits),
        metrics=MetricsFile(config.output / "metrics.jsonl"),
        device=device,
    )


def _build_step(
    config: TrainConfig,
    model: Classifier,
    optimizer: torch.optim.Optimizer,
    loss: LossFunction | None,
    device: torch.device,
) -> TrainStep:
    enabled = bool(config.amp)
    trained = DistributedDataParallel(model) if world_size() > 1 else model
    return TrainStep(
        model=torch.compile(trained) if config.compile else trained,  # type: ignore[arg-type] # torch's
        optimizer=optimizer,
        loss_fn=loss or partial(cross_entropy, label_smoothing=config.label_smoothing),
        autocast=partial(torch.autocast, device.type, dtype=torch.bfloat16, enabled=enabled),
        clip_grad_norm=config.clip_grad_norm,
        world_size=world_size(),
    )


def _metadata(
    config: TrainConfig, resolved: Resolved, model: Classifier, splits: Splits
) -> Metadata:
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
    on_first(lambda: write_artefact(last, job.deployed.state_dict(), job.metadata))
    on_first(lambda: job.deployed.load_state_dict(read_artefact(artefact)[0]))
    copy_from_first(job.deployed)
    engine = Engine(as_evaluated(job.deployed, job.device), job.metadata.preprocessing)
    val_logits, val_target = collect_logits(engine, job.val, label="calibrating")
    temperature = _fit_temperature(val_logits, val_target)
    seed = job.config.seed
    if splits.test is None:
        evaluation = summarise(
            val_logits, val_target, splits.val, "val", temperature=temperature, seed=seed
        )
    else:
        test = dataclasses.replace(job.val, scan=splits.test)
        evaluation = measure(engine, test, "test", temperature=temperature, seed=seed)
    on_first(lambda: _write_results(job, splits, evaluation, notes))
    return TrainResult(job.run, artefact, job.run / "report.html", evaluation)


def _write_results(job: Job, splits: Splits, evaluation: Evaluation, notes: list[str]) -> None:
    artefact = job.run / "model.safetensors"
    tensors, metadata = read_artefact(artefact)
    metadata = dataclasses.replace(
        metadata,
        temperature=evaluation.temperature,
        training=metadata.training | {"metrics": _headline(evaluation)},
    )
    write_artefact(artefact, tensors, metadata)
    write_run_report(job.run, evaluation, metadata, splits, notes=notes, history=job.metrics.rows())


def _fit_temperature(logits: Tensor, target: Tensor) -> float:
    """Fit the temperature; where it runs into a bound, val says nothing about it, and 1 is kept."""
    temperature = fit_temperature(logits, target)
    if MIN_TEMPERATURE < temperature < MAX_TEMPERATURE:
        return temperature
    why = "every one is right" if temperature < 1 else "the logits say nothing of their classes"
    LOG.warning(
        "the %d images of val do not say how sure to be (%s, and the best temperature is the "
        "bound %g): the probabilities are left uncalibrated",
        len(target),
        why,
        temperature,
    )
    return 1.0


def _headline(evaluation: Evaluation) -> dict[str, Any]:
    found = evaluation.figures
    names = ("n", "top1", "top5", "nll", "brier", "ece")
    return {"split": evaluation.split, **{name: getattr(found, name) for name in names}}
