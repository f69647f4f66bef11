"""How a run starts: anew, again from nothing, or where it was stopped."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from softonce.config import TrainConfig
from softonce.config.toml import from_toml
from softonce.console import LOG
from softonce.data.sources import absolute, short_name
from softonce.distributed import gather_json, is_restartable, is_restarted, on_rank_zero, rank
from softonce.errors import ConfigError
from softonce.files import write_text
from softonce.plurals import format_count
from softonce.run_folder import RUNS, RunFolder, RunLock, new_folder
from softonce.training.checkpoint import newest_state
from softonce.training.metrics_file import MetricsFile
from softonce.training.recipes import in_epochs
from softonce.training.sinks import import_tensorboard
from softonce.training.trials import is_unmeasured

if TYPE_CHECKING:
    from collections.abc import Iterator

# These may differ when a run is resumed: they change no weight.
_FREE_AT_RESTART = ("workers", "checkpoint_seconds", "quiet", "track", "profile")
_FREE_ON_RESUME = (
    *_FREE_AT_RESTART,
    "data",
    "output",
    "resume",
    "config",
    "cache_dir",
    "overwrite",
)


@dataclass(frozen=True)
class Start:
    """What to run, and from where.

    Args:
        config: as asked, or of the run that goes on.
        data: where the images are.
        folder: the run folder.
        state: the saved state to go on from; None starts at the first step.
        extends: whether more epochs are asked for than the run was begun with.
    """

    config: TrainConfig
    data: str
    folder: RunFolder
    state: Path | None = None
    extends: bool = False

    @cached_property
    def lock(self) -> RunLock:
        """The lock of the run folder; a folder that is new gets it when it is claimed."""
        return RunLock(self.folder)


@contextmanager
def own_output(config: TrainConfig) -> Iterator[TrainConfig]:
    """Give the configuration an output if it has none: runs/DATA-N, the first that is free.

    All processes choose the same, also after torchrun has started them again. A folder in which
    nothing was written is taken away at the end.
    """
    if config.resume is not None or config.output is not None:
        yield config
        return
    data = _data_of(config)
    chosen = on_rank_zero(lambda: str(_choose_folder(data).path))
    folder = RunFolder(Path(gather_json(chosen)[0]))
    LOG.info("writing to %s; --output RUN names another folder", folder.path)
    try:
        yield dataclasses.replace(config, output=folder.path)
    finally:
        if rank() == 0:
            folder.remove_if_unused()


def _choose_folder(data: str) -> RunFolder:
    name = re.sub(r"[^\w.-]+", "-", short_name(absolute(data))) or "run"
    launch = f"{os.environ.get('TORCHELASTIC_RUN_ID')} {socket.gethostname()} {os.getppid()}"
    if is_restarted():
        for path in RUNS.glob(f"{name}-*"):
            folder = RunFolder(path)
            if folder.launch.exists() and folder.launch.read_text(encoding="utf-8") == launch:
                return folder
    folder = new_folder(name)
    if is_restartable():
        write_text(folder.launch, launch)
    return folder


def find_start(config: TrainConfig) -> Start:
    """Decide from where to run, before any image is read.

    Raises:
        ConfigError: if there is nothing to train on or nowhere to write, or `--resume` names no
            run, or one whose states are lost.
    """
    if config.track == "tensorboard":
        import_tensorboard()
    if config.resume is None and is_restarted() and _output_of(config).is_begun():
        config = as_resumed(config)
    if config.resume is not None:
        return _resume(config, RunFolder(config.resume))
    output = _output_of(config)
    if is_restartable():
        output.mark_start()
    output.check_free(overwrite=config.overwrite)
    return Start(config, _data_of(config), output)


def _output_of(config: TrainConfig) -> RunFolder:
    assert config.output is not None  # noqa: S101 - chosen before
    return RunFolder(config.output)


def _data_of(config: TrainConfig) -> str:
    if config.data is None:
        raise ConfigError("expected DATA, a folder of images, found none")
    return str(config.data)


def as_resumed(config: TrainConfig) -> TrainConfig:
    """Return the configuration that goes on with the run in `--output`, begun with this one."""
    free = {name: getattr(config, name) for name in _FREE_AT_RESTART}
    return TrainConfig(resume=config.output, **free)


def _resume(config: TrainConfig, folder: RunFolder) -> Start:
    """Return where the run that `--resume` names goes on: at a saved state, or again from nothing.

    Raises:
        ConfigError: if there is no such run, or an option would make it another one.
    """
    run = folder.path
    if config.overwrite or config.output not in (None, run):
        raise ConfigError(
            f"expected --resume {run} alone, which goes on in that folder, found "
            f"{'--overwrite' if config.overwrite else f'--output {config.output}'} too"
        )
    folder.check_exists()
    saved = from_toml(folder.config, TrainConfig)
    if config.cache_dir is not None and not (saved.cache or saved.cache_dir):
        raise ConfigError(
            f"expected no --cache-dir, as {run} was begun without a cache, found "
            f"{config.cache_dir}: leave it out; boxes cut from cached pictures differ"
        )
    _check_same(config, saved, folder)
    free = {name: getattr(config, name) for name in _FREE_ON_RESUME}
    free |= {name: getattr(config, name) or getattr(saved, name) for name in ("data", "cache_dir")}
    free["output"] = run
    if saved.epochs is not None:  # how many fit has been found
        free["time_budget"] = None
    extends = config.epochs is not None
    if config.epochs is not None:
        saved = _extend(saved, config.epochs, folder)
    config = dataclasses.replace(saved, **free)
    state = None if is_unmeasured(config) else newest_state(folder)
    if state is None:
        _check_unfinished(folder)
        LOG.info("%s has no saved state yet: starting it again", run)
        config = dataclasses.replace(config, resume=None, overwrite=True)
    return Start(config, _data_of(config), folder, state, extends and state is not None)


def _extend(saved: TrainConfig, epochs: int, folder: RunFolder) -> TrainConfig:
    """Return the configuration of a run that is to have more epochs.

    What the recipe counts in epochs and is over by then, as the warm-up, stays as it was.
    """
    if saved.epochs is None or epochs <= saved.epochs:
        planned = "the time" if saved.epochs is None else format_count(saved.epochs, "epoch")
        raise ConfigError(
            f"expected more epochs than the {planned} of {folder.path} with --resume, found "
            f"--epochs {epochs}: leave it out to go on as planned, or raise it to extend the run"
        )
    step_size = in_epochs(saved.recipe, saved.epochs)["lr_step_size"]
    asked = None if saved.lr_step_size == step_size else saved.lr_step_size
    return dataclasses.replace(saved, epochs=epochs, lr_step_size=asked)


def _check_same(config: TrainConfig, saved: TrainConfig, folder: RunFolder) -> None:
    fields = [
        field
        for field in dataclasses.fields(TrainConfig)
        if field.name not in (*_FREE_ON_RESUME, "epochs")
    ]
    rows = [(f, getattr(config, f.name), getattr(saved, f.name)) for f in fields]
    # On the command line the saved options stand in for those that were not given.
    stand_in = not any(asked is None and before is not None for _, asked, before in rows)
    for field, asked, before in rows:
        if asked != before and (stand_in or asked != field.default):
            flag = f"--{field.name.replace('_', '-')}"
            raise ConfigError(
                f"expected {f'no {flag}' if before is None else f'{flag} {before}'}, as in "
                f"{folder.config}, found {asked}: leave it out, or start a new run with --config "
                f"{folder.config} --output ANOTHER"
            )


def _check_unfinished(folder: RunFolder) -> None:
    """Raise a `ConfigError` if `--resume` would begin again a run that has come far.

    A run that was killed before its first state has at most the two rows of one epoch.
    """
    num_rows = len(MetricsFile(folder.metrics).rows())
    if folder.states() or num_rows > 2 or folder.last.exists():
        raise ConfigError(
            f"expected a saved state that can be read in {folder.checkpoints}, found none, though "
            f"the run was under way: restore it, or start a new run with --config {folder.config} "
            "--output ANOTHER"
        )
