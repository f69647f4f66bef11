"""Thousands of harmed files over every reader: read, or refused in one line, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fuzz import campaign, readers
from fuzz.corpus import KINDS

from softonce.errors import DataError

EACH, ANEW = 250, 100
"""Files of each kind whose seeds are always the same, and of seeds that are drawn anew."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_harmed_file_is_read_or_refused(kind: str, tmp_path: Path) -> None:
    for first, count in ((0, EACH), (time.time_ns() % 10**9, ANEW)):
        # A process of its own: a library in C may take it along.
        command = [sys.executable, "-m", "fuzz.campaign", kind, str(first), str(count)]
        done = subprocess.run(
            [*command, str(tmp_path / str(first))],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=False,
        )
        sys.stdout.write(done.stdout)
        assert done.returncode == 0, (done.stderr[-2000:], done.stdout)


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (lambda: {}["a"], "KeyError"),
        (lambda: time.sleep(5), "TooSlowError"),
        (lambda: np.ones(10**7), "TooLargeError"),
        (lambda: _refuse("two\nlines"), "more than one line"),
    ],
)
def test_the_campaign_finds_each_kind_of_fault(fault, found: str, tmp_path: Path, monkeypatch):
    def reader(file: Path) -> None:
        if file.parent.name == "harmed":
            fault()

    monkeypatch.setitem(readers._READERS, "toml", (reader,))
    monkeypatch.setattr(campaign, "SECONDS", 1)
    monkeypatch.setattr(campaign, "MEMORY", 10**7)
    ended, faults = campaign.run("toml", range(1), tmp_path)
    assert not ended
    assert found in faults["toml 0 (train.toml)"]


def _refuse(message: str) -> None:
    raise DataError(message)


def test_what_is_read_and_what_is_refused_are_counted(tmp_path: Path) -> None:
    ended, faults = campaign.run("toml", range(12), tmp_path)
    assert not faults
    assert ended["refused"] > ended["read"]
    assert ended.total() == 36  # by three verbs
