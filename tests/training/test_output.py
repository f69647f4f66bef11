"""Where a run writes if nobody says so, and that it is the only one that writes there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from training.runs import small, weights

from softonce import TrainConfig, train
from softonce.cli.app import main
from softonce.errors import ConfigError, DataError
from softonce.run_folder import RunFolder, RunLock

HOLD = """
import sys, time
from pathlib import Path
from softonce.run_folder import RunFolder, RunLock
lock = RunLock(RunFolder(Path(sys.argv[1])))
lock.take()
print("taken", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_runs_are_numbered_by_their_data(photos: Path, tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO", logger="softonce")
    results = [train(small(photos, None, epochs=1)) for _ in range(2)]
    assert [result.run.as_posix() for result in results] == ["runs/photos-1", "runs/photos-2"]
    assert caplog.messages[0] == "writing to runs/photos-1; --output RUN names another folder"
    assert weights(results[0].run) == weights(results[1].run)
    (tmp_path / "runs" / "photos-1").rename(tmp_path / "kept")
    assert train(small(photos, None, epochs=1)).run.as_posix() == "runs/photos-1"
    train(TrainConfig(resume=results[1].run))


@pytest.mark.parametrize(("data", "error"), [("nothing", DataError), (None, ConfigError)])
def test_a_run_that_cannot_begin_leaves_no_folder(data, error, tmp_path: Path) -> None:
    with pytest.raises(error, match="expected"):
        train(TrainConfig(data))
    assert not (tmp_path / "runs").exists()


def test_a_strange_name_of_the_data_makes_a_plain_one(photos: Path, tmp_path: Path) -> None:
    strange = photos.rename(tmp_path / "my photos (new)")
    assert train(small(strange, None, epochs=1)).run.as_posix() == "runs/my-photos-new--1"


@pytest.fixture
def writer(photos: Path, tmp_path: Path) -> Iterator[int]:
    """Return the number of a process that holds the lock of a finished run."""
    train(small(photos, tmp_path / "run", epochs=1))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "run"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "taken\n"
        yield process.pid
        process.kill()


def test_a_second_writer_is_refused_while_the_first_lives(
    writer: int, photos: Path, tmp_path: Path, capsys
) -> None:
    before = weights(tmp_path / "run")
    message = re.compile(f"expected no other process that writes to .*run, found process {writer} ")
    for config in (
        TrainConfig(resume=tmp_path / "run"),
        small(photos, tmp_path / "run", overwrite=True, seed=1),
    ):
        with pytest.raises(ConfigError, match=message):
            train(config)
    assert main(["train", "--resume", str(tmp_path / "run")]) == 2
    assert message.search(capsys.readouterr().err)
    assert weights(tmp_path / "run") == before
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    assert RunFolder(tmp_path / "run").lock.exists()  # which does not hold
    train(TrainConfig(resume=tmp_path / "run"))
    assert weights(tmp_path / "run") == before
    assert not RunFolder(tmp_path / "run").lock.exists()


def test_a_child_that_outlives_a_killed_writer_does_not_hold_its_lock(tmp_path: Path) -> None:
    end = "import os\nsys.stdin.read() if os.fork() == 0 else os.kill(os.getpid(), 9)\n"
    script = HOLD.replace("time.sleep(600)\n", end)
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdin=subprocess.PIPE
    ) as writer:
        assert writer.wait() == -signal.SIGKILL
        assert RunFolder(tmp_path).lock.exists()
        with closing(RunLock(RunFolder(tmp_path))) as lock:
            lock.take()
