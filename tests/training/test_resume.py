"""A run that is killed and resumed ends with the bits of one that never stopped."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training.runs import marked, rows, small, weights

from softonce import EvaluateConfig, TrainConfig, evaluate, train
from softonce.config.toml import from_toml
from softonce.data.samples import Samples
from softonce.errors import CheckpointError, ConfigError, StorageError, TrainingError
from softonce.run_folder import RunFolder
from softonce.training import checkpoint, head_loss, job, loop, start, trials
from softonce.training import run as runner
from softonce.training.metrics_file import MetricsFile
from softonce.training.step import TrainStep

REGULARISED = {
    "mixup_alpha": 0.2,
    "cutmix_alpha": 1.0,
    "auto_augment": "ta_wide",
    "random_erase": 0.5,
    "alternating_flip": True,
    "stochastic_depth": 0.3,
    "label_smoothing": 0.1,
    "class_weights": ("ants=2",),
    "model_ema": True,
    "model_ema_warmup": True,
    "model_ema_steps": 2,
    "grad_accum_steps": 3,
    "grad_checkpointing": True,
    "epochs": 3,
}
VARIANTS = {
    "plain": {},
    "average": {"model_ema": True, "model_ema_decay": 0.9, "opt": "adamw"},
    "worker processes": {"workers": 2, "augment": "resized-crop", "random_erase": 0.5},
    "everything in memory": REGULARISED | {"sampler": "balanced"},
    "everything from files": REGULARISED | {"workers": 1, "augment": "resized-crop"},
    "head first": {"head_epochs": 1, "layer_decay": 0.5, "opt": "rmsprop", "lr": 1e-3},
    "many logits": REGULARISED | {"grad_checkpointing": False, "amp": True},
}


PROOFS = ("average", "everything in memory", "everything from files")
"""Variants that only `make prove` runs."""


class Killed(BaseException):
    """Nothing in the product catches it, as nothing can catch SIGKILL."""


@pytest.fixture
def _saved_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "MAX_SAVING_SHARE", float("inf"))


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch):
    """Return `kill_at(number)`: the process dies in that call of the step, counted from now.

    The workers of who died this way are left to the collector, which waits for each of them.
    """
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.2)
    real = TrainStep.__call__

    def arm(number: int) -> None:
        left = [number]

        def step(self, *args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return real(self, *args, **kwargs)

        monkeypatch.setattr(TrainStep, "__call__", step)

    yield arm
    monkeypatch.setattr(TrainStep, "__call__", real)


@pytest.mark.usefixtures("_saved_at_every_step")
@pytest.mark.parametrize("name", [marked(name, PROOFS) for name in VARIANTS])
def test_a_run_killed_three_times_ends_with_the_same_bits(
    name: str, photos: Path, tmp_path: Path, kill_at, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "many logits":
        monkeypatch.setattr(head_loss, "MANY_LOGITS", 1)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(small(photos, whole, **VARIANTS[name]))
    kill_at(2)
    with pytest.raises(Killed):
        train(small(photos, killed, **VARIANTS[name]))
    for number in (3, 4):  # in the first epoch, and in the second
        kill_at(number)
        with pytest.raises(Killed):
            train(TrainConfig(resume=killed))
    kill_at(10**9)
    train(TrainConfig(resume=killed))
    assert weights(killed) == weights(whole)
    assert rows(killed) == rows(whole)


@pytest.mark.usefixtures("_saved_at_every_step")
def test_the_comparison_can_fail(photos: Path, tmp_path: Path) -> None:
    train(small(photos, tmp_path / "one", epochs=1))
    train(small(photos, tmp_path / "other", epochs=1, seed=1))
    assert weights(tmp_path / "one") != weights(tmp_path / "other")


def test_a_run_killed_before_its_first_state_starts_again(
    photos: Path, tmp_path: Path, kill_at
) -> None:
    kill_at(1)
    with pytest.raises(Killed):
        train(small(photos, tmp_path / "run", checkpoint_seconds=1e9))
    assert (tmp_path / "run" / "config.toml").exists()
    kill_at(10**9)
    train(TrainConfig(resume=tmp_path / "run"))
    train(small(photos, tmp_path / "whole"))
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


@pytest.mark.parametrize("asked", [{"time_budget": "3s"}, {"lr": "find"}, {"batch_size": "auto"}])
def test_a_run_killed_while_it_measures_starts_again(
    asked: dict[str, str], photos: Path, tmp_path: Path, kill_at
) -> None:
    train(small(photos, tmp_path / "run", epochs=1, lr=0.01))
    kill_at(1)
    options = asked | ({"epochs": None} if "time_budget" in asked else {})
    with pytest.raises(Killed):
        train(small(photos, tmp_path / "run", overwrite=True, **options))
    there = sorted(path.name for path in (tmp_path / "run").glob("*.*"))
    assert there == ["config.toml", "scan.safetensors"]
    kill_at(10**9)
    train(TrainConfig(resume=tmp_path / "run"))
    found = from_toml(tmp_path / "run" / "config.toml", TrainConfig)
    assert isinstance(found.lr, float)
    assert (found.batch_size, found.time_budget) == (16 if "batch_size" in asked else 8, None)
    assert len(rows(tmp_path / "run")) == 2 * found.epochs


def test_what_was_measured_is_not_measured_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(trials, "_find_epochs", lambda *_: 3)
        patched.setattr(runner, "fit", die)
        with pytest.raises(Killed):
            train(small(photos, tmp_path / "run", time_budget="10m", epochs=None))
    monkeypatch.setattr(trials, "_find_epochs", die)
    train(TrainConfig(resume=tmp_path / "run"))
    train(small(photos, tmp_path / "three", epochs=3))
    assert weights(tmp_path / "run") == weights(tmp_path / "three")


@pytest.mark.usefixtures("_saved_at_every_step")
def test_an_epoch_whose_steps_were_all_made_before_has_no_speed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    seconds = []

    def die(running: job.Job, _: object) -> None:
        seconds.append(running.saver.seconds())
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_evaluate", die)
        with pytest.raises(Killed):
            train(small(photos, tmp_path / "run"))
    caplog.set_level(logging.INFO, logger="softonce")
    train(TrainConfig(resume=tmp_path / "run"))
    lines = [line for line in caplog.messages if line.startswith("epoch")]
    assert [line.endswith("img/s") for line in lines] == [False, True]
    found = [row for row in MetricsFile(tmp_path / "run" / "metrics.jsonl").rows() if "lr" in row]
    assert ["images_per_second" in row for row in found] == [False, True]
    assert found[0]["seconds"] > 0.9 * seconds[0]  # a run's clock goes on where it was


def test_the_state_of_an_optimizer_follows_its_parameters() -> None:
    """As a fused one's counter of steps does, which its kernel wants on the device."""
    saved = torch.nn.Parameter(torch.ones(2, 2))
    saved.grad = torch.ones_like(saved)
    before = torch.optim.AdamW([saved], fused=True)
    before.step()
    tensors = {f"optimizer.0.{name}": value for name, value in before.state[saved].items()}
    weight = torch.nn.Parameter(torch.ones(2, 2, device="meta"))
    optimizer = torch.optim.AdamW([weight], capturable=True)
    checkpoint._restore_optimizer(optimizer, tensors, {})
    assert {value.device.type for value in optimizer.state[weight].values()} == {"meta"}


def test_a_cache_is_refused_where_the_run_has_none(stopped: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="begun without a cache"):
        train(TrainConfig(resume=stopped, cache_dir=tmp_path / "cache"))


def test_a_folder_that_cannot_be_made_is_one_clear_error(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="expected a folder to write to at .*file/run, found"):
        train(small(photos, tmp_path / "file" / "run"))


def test_a_state_without_a_folder_is_one_clear_error(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    RunFolder(tmp_path / "run").checkpoints.touch()
    with pytest.raises(StorageError, match="expected a folder to write to at .*run/checkpoints"):
        train(small(photos, tmp_path / "run", overwrite=True))


def test_paths_may_be_text(photos: Path, tmp_path: Path) -> None:
    train(small(photos, str(tmp_path / "run"), epochs=1))
    before = weights(tmp_path / "run")
    train(TrainConfig(resume=str(tmp_path / "run")))
    assert weights(tmp_path / "run") == before


def test_an_average_of_no_step_yet_is_not_evaluated(photos: Path, tmp_path: Path) -> None:
    train(small(photos, tmp_path / "late", model_ema=True, model_ema_steps=99))
    train(small(photos, tmp_path / "none"))
    assert rows(tmp_path / "late") == rows(tmp_path / "none")


def test_a_finished_run_can_be_resumed_and_stays_as_it_is(photos: Path, tmp_path: Path) -> None:
    train(small(photos, tmp_path / "run"))
    before = weights(tmp_path / "run")
    train(TrainConfig(resume=tmp_path / "run"))
    assert weights(tmp_path / "run") == before


def test_the_saved_configuration_makes_the_same_run(photos: Path, tmp_path: Path) -> None:
    from softonce.cli.app import main

    train(small(photos, tmp_path / "run", lr=0.03, hflip=0.0))
    again = ["--config", str(tmp_path / "run" / "config.toml"), "--output", str(tmp_path / "again")]
    assert main(["train", *again, "--quiet"]) == 0
    assert weights(tmp_path / "again") == weights(tmp_path / "run")


# what cannot be resumed


@pytest.fixture
def stopped(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at) -> Path:
    """Return a run folder with two saved states."""
    monkeypatch.setattr(job, "MAX_SAVING_SHARE", float("inf"))
    kill_at(4)
    with pytest.raises(Killed):
        train(small(photos, tmp_path / "run"))
    kill_at(10**9)
    return tmp_path / "run"


def states(run: Path) -> list[Path]:
    return sorted(RunFolder(run).checkpoints.iterdir())


def test_two_states_are_kept(stopped: Path) -> None:
    assert [path.name for path in states(stopped)] == [
        "step-000000002.safetensors",
        "step-000000003.safetensors",
    ]


def test_a_cut_state_is_named_and_the_one_before_it_used(
    stopped: Path, photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newest = states(stopped)[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    train(TrainConfig(resume=stopped))
    assert f"{newest}" in caplog.text
    assert "going back to the state before it" in caplog.text
    train(small(photos, tmp_path / "whole"))
    assert weights(stopped) == weights(tmp_path / "whole")


def test_a_state_of_another_architecture_is_refused(stopped: Path) -> None:
    config = stopped / "config.toml"
    config.write_text(config.read_text().replace("cifar_resnet20", "cifar_resnet32"))
    with pytest.raises(CheckpointError, match="expected the state of this network .* Missing key"):
        train(TrainConfig(resume=stopped))


def test_a_state_of_other_data_is_refused(stopped: Path, photos: Path) -> None:
    next((photos / "train" / "ants").iterdir()).unlink()
    with pytest.raises(CheckpointError, match="found other files or labels"):
        train(TrainConfig(resume=stopped))


def test_another_option_is_refused_on_resume(stopped: Path, photos: Path) -> None:
    from softonce.cli.app import main

    assert main(["train", "--resume", str(stopped), "--lr", "0.7"]) == 2
    with pytest.raises(ConfigError, match="expected no --patience, as in .*config.toml, found 5"):
        train(TrainConfig(photos, resume=stopped, patience=5))
    for more in ({"output": stopped.with_name("other")}, {"overwrite": True}):
        with pytest.raises(ConfigError, match="expected --resume .* alone, .* found --o"):
            train(TrainConfig(resume=stopped, **more))


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_a_run_whose_states_are_lost_is_not_begun_again(
    how: str, photos: Path, tmp_path: Path
) -> None:
    train(small(photos, tmp_path / "run"))
    before = weights(tmp_path / "run")
    for path in states(tmp_path / "run"):
        path.unlink() if how == "gone" else path.write_bytes(b"")
    with pytest.raises(ConfigError, match="expected a saved state that can be read in .*checkpoi"):
        train(TrainConfig(resume=tmp_path / "run"))
    assert weights(tmp_path / "run") == before


def test_a_restart_is_refused_as_the_first_start_was(
    stopped: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a launch")
    for count in "01":
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", count)
        with pytest.raises(ConfigError, match="expected an empty folder at --output"):
            start.find_start(small(photos, stopped, lr=0.5))


def test_relative_weights_are_found_from_elsewhere(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at
) -> None:
    train(small(photos, tmp_path / "first", epochs=1))
    monkeypatch.chdir(tmp_path)
    kill_at(1)
    with pytest.raises(Killed):
        train(small(photos, tmp_path / "run", lr="find", weights="first/model.safetensors"))
    kill_at(10**9)
    monkeypatch.chdir(photos)
    train(TrainConfig(resume=tmp_path / "run"))


def test_data_may_have_moved_on_resume(stopped: Path, photos: Path, tmp_path: Path) -> None:
    moved = photos.rename(tmp_path / "moved")
    train(TrainConfig(moved, resume=stopped))
    train(small(moved, tmp_path / "whole"))
    assert weights(stopped) == weights(tmp_path / "whole")


@pytest.mark.parametrize(("number", "error"), [(2, KeyboardInterrupt), (15, SystemExit)])
def test_a_signal_during_the_last_validation_is_obeyed(
    number: int, error: type, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = loop._evaluate

    def evaluate(running: job.Job, network: torch.nn.Module):
        if running.state.progress.epoch == 1:
            os.kill(os.getpid(), number)
        return real(running, network)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "_evaluate", evaluate)
        with pytest.raises(error):
            train(small(photos, tmp_path / "run"))
    assert not (tmp_path / "run" / "last.safetensors").exists()
    train(TrainConfig(resume=tmp_path / "run"))
    train(small(photos, tmp_path / "whole"))
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="expected the folder of a run at --resume .* no config.toml"
    ):
        train(TrainConfig(resume=tmp_path))


def test_a_full_disk_keeps_the_state_before(
    stopped: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in states(stopped)}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left on device; nothing was replaced"):
            train(TrainConfig(resume=stopped))
    assert {path: path.read_bytes() for path in states(stopped)} == before
    train(TrainConfig(resume=stopped))
    train(small(photos, tmp_path / "whole"))
    assert weights(stopped) == weights(tmp_path / "whole")


def test_a_loss_that_is_no_number_leaves_a_sound_state(photos: Path, tmp_path: Path) -> None:
    def diverging(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return logits.sum() * float("nan")

    with pytest.raises(TrainingError, match="expected a finite loss, found nan first in step 0"):
        train(small(photos, tmp_path / "run"), loss=diverging)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert not list((tmp_path / "run").rglob("step-*"))


# real signals, a real process


def start_process(photos: Path, run: Path, workers: str = "--workers 0") -> subprocess.Popen[str]:
    command = (
        f"train {photos} --model cifar_resnet20 --size 16 --epochs 40 --batch-size 8 {workers}"
        f" --recipe none --checkpoint-seconds 0 --output {run}"
    )
    return subprocess.Popen(
        [sys.executable, "-m", "softonce", *command.split()],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_a_state(process: subprocess.Popen[str], run: Path) -> None:
    while not list(run.rglob("step-*.safetensors")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    ("workers", "send"),
    [("--workers 0", os.kill), ("--workers 2 --augment resized-crop", os.killpg)],
    ids=["alone", "its workers too"],
)
def test_a_polite_signal_saves_and_leaves(
    workers: str,
    send: Callable[[int, int], None],
    number: signal.Signals,
    status: int,
    photos: Path,
    tmp_path: Path,
) -> None:
    with start_process(photos, tmp_path / "run", workers) as process:
        wait_for_a_state(process, tmp_path / "run")
        send(process.pid, number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert f"go on with: softonce train --resume {tmp_path / 'run'}" in errors
    assert "Traceback" not in errors


def test_sigkill_at_a_random_instant_changes_no_bit(photos: Path, tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    with start_process(photos, run) as process:
        wait_for_a_state(process, run)
        time.sleep(random.uniform(0, 0.5))
        process.kill()
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    train(TrainConfig(resume=run))
    train(small(photos, whole, epochs=40))
    assert weights(run) == weights(whole)
    assert rows(run) == rows(whole)


# what is read again


@pytest.mark.parametrize("size", [16, 72], ids=["in memory", "from files"])
def test_a_resumed_run_reads_no_file_before_its_steps_do(
    size: int, photos: Path, tmp_path: Path, kill_at, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in photos.rglob("*.jpg"):
        os.utime(path, ns=(1, 1))
    options = {"size": size, "resize": size, "augment": "none", "hflip": 0.0}
    train(small(photos, tmp_path / "whole", **options))
    kill_at(4)
    with pytest.raises(Killed):
        train(small(photos, tmp_path / "run", **options))
    kill_at(10**9)
    reads: list[str] = []
    real_read, real_fit = Samples.read, runner.fit

    def read(self: Samples, index: int) -> bytes:
        reads.append(self.where(index))
        return real_read(self, index)

    def fit(job: loop.Job) -> None:
        assert reads == []
        real_fit(job)

    monkeypatch.setattr(Samples, "read", read)
    monkeypatch.setattr(runner, "fit", fit)
    train(TrainConfig(resume=tmp_path / "run"))
    assert len(reads) > 0
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


def test_a_picture_that_changed_in_a_stopped_run_is_noticed(stopped: Path, photos: Path) -> None:
    shutil.copy(photos / "train/ants/01.jpg", photos / "train/ants/00.jpg")
    with pytest.raises(CheckpointError, match="expected the training data that .* other files"):
        train(TrainConfig(resume=stopped))


@pytest.mark.parametrize("size", [16, 72], ids=["in memory", "from files"])
def test_an_evaluation_of_the_runs_data_reads_each_file_once(
    size: int, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its logits need the pictures; whether these are whole, the run has found out."""
    for path in photos.rglob("*.jpg"):
        os.utime(path, ns=(1, 1))
    train(small(photos, tmp_path / "run", epochs=1, size=size, resize=size))
    reads: list[str] = []
    real = Samples.read

    def read(self: Samples, index: int) -> bytes:
        reads.append(self.where(index))
        return real(self, index)

    monkeypatch.setattr(Samples, "read", read)
    asked = EvaluateConfig((tmp_path / "run", photos), split="train", workers=0)
    found = evaluate(asked)
    assert sorted(reads) == sorted(map(str, (photos / "train").rglob("*.jpg")))
    (tmp_path / "run" / "scan.safetensors").unlink()
    again = evaluate(asked)
    assert len(reads) == (72 if size == 16 else 108)
    assert torch.equal(found.logits, again.logits)
