"""An output that cannot be written: one line, status 2, and nothing is left."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from softonce.cli.app import main
from softonce.exporting import run
from softonce.formats import WRITTEN


@pytest.mark.parametrize("to", WRITTEN)
def test_a_disk_that_is_full_is_one_line(
    to: str, artefact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # of a file of 1 MB
    try:
        status = main(["export", str(artefact), "--to", to, "-o", str(_file(tmp_path, to))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    said = capsys.readouterr().err.splitlines()
    assert status == 2
    assert "File too large" in said[-1]
    assert said[-1].startswith("error: expected to write")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", WRITTEN)
def test_a_folder_that_cannot_be_made_is_one_line(
    to: str, artefact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    output = _file(tmp_path / "file", to)
    assert main(["export", str(artefact), "--to", to, "-o", str(output)]) == 2
    assert "expected a folder for the exported file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_sigterm_leaves_no_folder(artefact: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def stop(*_: object) -> None:
        assert [path.name[:10] for path in tmp_path.iterdir()] == [".softonce-"]
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    monkeypatch.setattr(run, "_write", stop)
    with pytest.raises(SystemExit) as ended:
        run.export(artefact, to="torch", output=tmp_path / "model.pt2")
    assert ended.value.code == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def _file(folder: Path, to: str) -> Path:
    return folder / f"model{WRITTEN[to].suffix}"
