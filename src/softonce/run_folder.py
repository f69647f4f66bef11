"""The folder of a run: the names in it, who may write there, and what it holds."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TextIO

from softonce.console import LOG
from softonce.errors import (
    ArgumentError,
    ArtefactError,
    ConfigError,
    StorageError,
    describe_value,
)
from softonce.files import make_folder, names_in, write_text
from softonce.formats import format_of

RUNS = Path("runs")
"""Where runs lie that have no `--output`."""

LOCK, LAUNCH = ".lock", ".launch"
"""Marks that may lie in a folder before a run does."""

MAX_NAMES = 4  # of a folder's content in an error: it has one line


@dataclass(frozen=True)
class RunFolder:
    """The one list of the names in a run folder.

    Args:
        path: the folder.

    Example:
        >>> from pathlib import Path
        >>> RunFolder(Path("run")).artefact.as_posix()
        'run/model.safetensors'
    """

    path: Path

    @property
    def artefact(self) -> Path:
        """The classifier of the best epoch."""
        return self.path / "model.safetensors"

    @property
    def last(self) -> Path:
        """The classifier of the last epoch."""
        return self.path / "last.safetensors"

    @property
    def report(self) -> Path:
        """The HTML page."""
        return self.path / "report.html"

    @property
    def metrics(self) -> Path:
        """One row an epoch and split."""
        return self.path / "metrics.jsonl"

    @property
    def config(self) -> Path:
        """The plan, as TOML."""
        return self.path / "config.toml"

    @property
    def train_batch(self) -> Path:
        """The picture of the first training batch."""
        return self.path / "train_batch.png"

    @property
    def scan(self) -> Path:
        """What was found in the files of DATA; it outlives the run, and serves the next in here."""
        return self.path / "scan.safetensors"

    @property
    def doubles(self) -> Path:
        """Pictures that are there twice; absent without any."""
        return self.path / "doubles.csv"

    @property
    def suspects(self) -> Path:
        """Images whose labels are probably wrong; absent without any."""
        return self.path / "suspects.csv"

    @property
    def lr_find(self) -> Path:
        """The picture of `--lr find`."""
        return self.path / "lr_find.png"

    @property
    def profile(self) -> Path:
        """The trace of `--profile`."""
        return self.path / "profile.json"

    @property
    def bad_batch(self) -> Path:
        """The first batch whose loss was not finite."""
        return self.path / "bad_batch.safetensors"

    @property
    def checkpoints(self) -> Path:
        """The folder of the saved states."""
        return self.path / "checkpoints"

    @property
    def backbone(self) -> Path:
        """The network that a run with a frozen backbone began with; its states hold the head."""
        return self.checkpoints / "backbone.safetensors"

    @property
    def features(self) -> Path:
        """The folder of a frozen backbone's features, a .npy file a split."""
        return self.path / "features"

    @property
    def launch(self) -> Path:
        """Names the launch of torchrun that has made the folder, so that a restart finds it."""
        return self.path / LAUNCH

    @property
    def lock(self) -> Path:
        """Held by the process that writes here."""
        return self.path / LOCK

    @property
    def _starting(self) -> Path:
        """Stands in a run folder until an earlier run in it has been replaced."""
        return self.path / ".starting"

    def state(self, step: int) -> Path:
        """Return the path of the state that is saved after so many steps."""
        return self.checkpoints / f"step-{step:09d}.safetensors"

    def states(self) -> list[Path]:
        """Return the saved states, the newest first."""
        return sorted(self.checkpoints.glob("step-*.safetensors"), reverse=True)

    def check_free(self, *, overwrite: bool) -> None:
        """Check that a new run can be written here, before any work is done.

        Raises:
            ConfigError: if it is a file, or holds something and is not to be overwritten.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"expected a folder at --output {self.path}, found a file")
        names = set(names_in(self.path)) if self.path.is_dir() else set()
        if names - {LOCK, LAUNCH} and not overwrite:
            raise ConfigError(
                f"expected an empty folder at --output {self.path}, found files in it: go on with "
                f"--resume {self.path}, replace it with --overwrite, or name another"
            )

    def mark_start(self) -> None:
        """Note that the run in here is an earlier one, so that a restart does not go on with it."""
        if self.config.exists():
            write_text(self._starting, "")

    def is_begun(self) -> bool:
        """Return whether the run in here is the one that torchrun's first start of us has begun."""
        return self.config.exists() and not self._starting.exists()

    def remove_if_unused(self) -> None:
        """Take the folder away again if no run was begun in it."""
        if not self.config.exists():
            for mark in (self.lock, self.launch):
                mark.unlink(missing_ok=True)
            with suppress(OSError):  # somebody's own file is in it
                self.path.rmdir()
                if self.path.parent == RUNS:
                    RUNS.rmdir()  # which holds other runs as a rule

    def claim(self, config: str, *, overwrite: bool, keeps_features: bool = False) -> None:
        """Make the folder, take an earlier run out of it, and write the configuration into it.

        Args:
            config: the text of `config.toml`.
            overwrite: whether what is in here may be replaced.
            keeps_features: whether features of an earlier start may serve this one, too.

        Raises:
            ConfigError: as `check_free`.
            StorageError: if it cannot be written.
        """
        self.check_free(overwrite=overwrite)
        make_folder(self.path)
        results = (
            self.metrics, self.artefact, self.last, self.report, self.train_batch, self.lr_find,
            self.profile, self.bad_batch, *self.states(),
            self.doubles, self.suspects, *self.checkpoints.glob(self.backbone.name),
        )  # fmt: skip
        try:
            for path in results:
                path.unlink(missing_ok=True)
            if not keeps_features:
                shutil.rmtree(self.features, ignore_errors=True)
            self.save(config)
            self._starting.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"expected to replace what is at --output {self.path}, found: "
                f"{error.strerror or error}; choose another place"
            ) from error

    def save(self, config: str) -> None:
        """Write what `--resume` goes on with; what was there is replaced at once."""
        write_text(self.config, config)

    def check_exists(self) -> None:
        """Check that there is a run to resume.

        Raises:
            ConfigError: if there is none.
        """
        if self.config.is_file():
            return
        found = "nothing" if not self.path.exists() else f"no {self.config.name} in it"
        raise ConfigError(
            f"expected the folder of a run at --resume {self.path}, found {found}: "
            "name what --output named"
        )


@dataclass
class RunLock:
    """Lets one process write to a run folder at a time; the processes of torchrun are one writer.

    The system releases it when the process ends, however it ends. Its children do not inherit it,
    so that a worker that outlives a killed run does not keep the run from going on.

    Args:
        folder: the run folder.
    """

    folder: RunFolder
    _file: TextIO | None = field(default=None, init=False)

    def take(self) -> None:
        """Make the folder if need be, and take its lock, unless this object has it.

        Raises:
            ConfigError: if another process has it.
            StorageError: if the folder cannot be written.
        """
        if self._file is None:
            make_folder(self.folder.path)
            self._file = self._lock_file()

    def _lock_file(self) -> TextIO:
        import fcntl

        file = _open_lock(self.folder.lock)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX allows either
            writer = file.read().strip() or "another process"
            file.close()
            raise ConfigError(
                f"expected no other process that writes to {self.folder.path}, found {writer}: "
                "wait until it ends, or name another --output"
            ) from None
        except OSError as error:
            LOG.warning(
                "the file system of %s cannot lock (%s): see to it that no other process writes "
                "there",
                self.folder.path,
                error.strerror or error,
            )
        if os.fstat(file.fileno()).st_nlink == 0:  # who had it has just taken the file away
            file.close()
            return self._lock_file()
        file.truncate(0)
        file.write(f"process {os.getpid()} of {socket.gethostname()}\n")
        file.flush()
        return file

    def close(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            self.folder.lock.unlink(missing_ok=True)
            self._file.close()
            self._file = None


def _open_lock(path: Path) -> TextIO:
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"expected a folder to write to at {path.parent}, found: {error.strerror or error}; "
            "choose another place"
        ) from error
    file.seek(0)
    return file


def new_folder(name: str) -> RunFolder:
    """Make the first of runs/NAME-1, runs/NAME-2, ... that is not there yet.

    Raises:
        StorageError: if it cannot be made.
    """
    make_folder(RUNS)
    for number in count(1):
        folder = RunFolder(RUNS / f"{name}-{number}")
        try:
            folder.path.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise StorageError(
                f"expected to make {folder.path}, found: {error.strerror or error}; "
                "name a place with --output"
            ) from error
        return folder
    raise AssertionError  # numbers do not end


def model_file(path: str | Path) -> Path:
    """Return the model file that a path names: of a run folder, its artefact.

    A link without a suffix by which its format is known, such as `current`, is followed.

    Args:
        path: a model file, which may be missing, or the folder of a run.

    Raises:
        ArgumentError: if it is not a path.
        ArtefactError: if it is a folder that holds no artefact.

    Example:
        >>> model_file("model.onnx")
        PosixPath('model.onnx')
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(
            "expected the path of a model file or of the folder of a run, "
            f"found {describe_value(path)}: load takes what train wrote"
        )
    path = Path(path)
    if not os.path.isdir(path):  # noqa: PTH112 - Path's raises if a name is too long to be one
        return _end_of_link(path)
    artefact = RunFolder(path).artefact
    if artefact.is_file():
        return artefact
    names = [name for name in names_in(path) if not name.startswith(".")]
    shown = ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
    raise ArtefactError(
        f"expected a model file, or the folder of a run, at {path}, found a folder without "
        f"{artefact.name} ({shown or 'it is empty'}): name the classifier first, then the images; "
        "a run writes the file after its first epoch"
    )


def _end_of_link(path: Path) -> Path:
    if format_of(path) is None and os.path.islink(path):  # noqa: PTH114 - as above
        end = path.resolve()
        return path if format_of(end) is None else end
    return path
