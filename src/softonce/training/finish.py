"""The end of a run: the temperature, the figures of the best epoch, the artefact and the report."""

from __future__ import annotations

import dataclasses
import logging
from contextlib import closing
from typing import TYPE_CHECKING

from softonce.artefact import read_artefact, write_artefact
from softonce.calibrate import calibrate
from softonce.config.train import ALL
from softonce.console import LOG
from softonce.data.doubles import to_csv
from softonce.distributed import copy_from_first, on_rank_zero
from softonce.engines.networks import as_evaluated
from softonce.engines.torch_engine import TorchEngine
from softonce.evaluation import (
    Evaluation,
    choices_of_val,
    collect_logits,
    headline,
    measure,
    summarise,
    suspects_to_csv,
)
from softonce.files import write_text
from softonce.plurals import format_count
from softonce.training.result import TrainResult

if TYPE_CHECKING:
    from torch import Tensor

    from softonce.data.splits import Splits
    from softonce.run_folder import RunFolder
    from softonce.training.job import Job


def finish(job: Job, splits: Splits, notes: list[str]) -> TrainResult:
    """Fit the temperature on val, measure the best epoch, write the artefact and the report."""
    made = {"epochs": job.state.progress.epoch}  # fewer than asked for, if --patience ended it
    job.metadata = dataclasses.replace(job.metadata, training=job.metadata.training | made)
    network = job.as_deployed(job.whole())
    on_rank_zero(lambda: write_artefact(job.run.last, network.state_dict(), job.metadata))
    on_rank_zero(lambda: network.load_state_dict(read_artefact(job.run.artefact)[0]))
    copy_from_first(network)
    engine = TorchEngine(as_evaluated(network, job.device), job.metadata)
    with closing(job.val.of_pictures()) as val:  # of features that are known, the network's own
        val_logits, val_target = collect_logits(engine, val, label="calibrating")
    seed = job.plan.seed
    has_val = job.plan.val_fold != ALL  # what was trained on would make it too sure
    temperature = _choose_temperature(val_logits, val_target, seed) if has_val else 1.0
    validation = summarise(
        val_logits, val_target, splits.val, "val", temperature=temperature, seed=seed
    )
    if has_val:
        probed = {} if job.probe is None else job.probe.record(1)
        chosen = choices_of_val(made | probed | {"best_epoch": None}, temperature)
        validation = dataclasses.replace(validation, val_chose=chosen)
    evaluation = validation
    if splits.test is not None:
        with closing(dataclasses.replace(job.val.of_pictures(), scan=splits.test)) as test:
            evaluation = measure(engine, test, "test", temperature=temperature, seed=seed)
    open_ended = dataclasses.replace(evaluation, engine=engine)
    on_rank_zero(lambda: _write_results(job, splits, open_ended, validation, notes))
    return TrainResult(job.run.path, job.run.artefact, job.run.report, evaluation, validation)


def write_suspects(run: RunFolder, evaluation: Evaluation) -> None:
    """Write the list of images whose labels are probably wrong, if there are any."""
    suspects = evaluation.suspects()
    if suspects:
        write_text(run.suspects, suspects_to_csv(suspects))
        LOG.info(
            "%s of %s may be wrong: look at %s",
            format_count(len(suspects), "label"),
            evaluation.split,
            run.suspects,
        )


def _write_results(
    job: Job, splits: Splits, evaluation: Evaluation, validation: Evaluation, notes: list[str]
) -> None:
    from softonce.report.run import write_run_report  # matplotlib: half a second of every start

    tensors, metadata = read_artefact(job.run.artefact)
    at_end = job.metadata.training
    metadata = dataclasses.replace(
        metadata,
        temperature=evaluation.temperature,
        training=metadata.training
        | {name: at_end[name] for name in ("epochs", "neighbours") if name in at_end}
        | {"metrics": headline(evaluation)},
    )
    write_artefact(job.run.artefact, tensors, metadata)
    if splits.doubles:
        write_text(job.run.doubles, to_csv(splits.doubles))
    if job.plan.val_fold != ALL:
        write_suspects(job.run, validation)
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
    plan = job.plan
    parts = {
        f"label smoothing {plan.label_smoothing:g}": plan.label_smoothing,
        "class weights": job.step.objective.weight is not None,
        "mixup": plan.mixup_alpha,
        "cutmix": plan.cutmix_alpha,
    }
    return [name for name, is_on in parts.items() if is_on]


def _choose_temperature(logits: Tensor, target: Tensor, seed: int) -> float:
    """Return the temperature, and say what val shows of it."""
    found = calibrate(logits, target, seed=seed)
    if found.reason:
        LOG.log(
            logging.INFO if found.is_known else logging.WARNING,
            "val does not show that a temperature helps (%s): probabilities are left as they are",
            found.reason,
        )
    else:
        LOG.info(
            "temperature %.3g (fitted on val: %.3g, 99.5 %% interval %.3g to %.3g): it lowers the "
            "NLL of images without a part in fitting it by %.4f (95 %% interval %.4f to %.4f)",
            found.temperature,
            found.fitted,
            *found.interval,
            found.gain,
            *found.gain_interval,
        )
    return found.temperature
