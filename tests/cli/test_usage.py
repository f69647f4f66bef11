"""A mistake in the command line is one line with one right guess; a full disk is one line, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from softonce import __version__
from softonce.cli.app import main
from softonce.cli.commands import COMMANDS
from softonce.config.other_names import OTHER_VERBS

HELP = "; see softonce train --help"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train photos --imgsz 64", f"found --imgsz: --imgsz is --size here{HELP}"),
        ("train photos --learning-rate 1", f"--learning-rate is --lr here{HELP}"),
        ("train photos --learning_rate 1", f"--learning_rate is --lr here{HELP}"),
        ("train photos --img_size=64", f"--img_size is --size here{HELP}"),
        ("train photos --pretrained", f"--pretrained is --weights DEFAULT here{HELP}"),
        ("train photos --epoch 5", f"found --epoch: did you mean --epochs?{HELP}"),
        ("train photos --labelsmoothing 0", f"did you mean --label-smoothing?{HELP}"),
        ("train photos --qqq", f"expected an option of softonce train, found --qqq{HELP}"),
        ("trian photos", "found 'trian': did you mean train?; see softonce --help"),
        ("finetune photos", "found 'finetune': did you mean train?; see softonce --help"),
        ("val photos", "found 'val': did you mean evaluate?; see softonce --help"),
        (
            "frobnicate",
            f"expected a command of softonce ({', '.join(COMMANDS)}), found 'frobnicate'",
        ),
        ("help frobnicate", "found 'frobnicate'"),
    ],
)
def test_a_mistake_gets_one_right_guess(
    command: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert printed.err.lower().count("did you mean") + printed.err.count(" here") <= 1


def test_verbs_of_others_are_none_of_ours() -> None:
    assert not OTHER_VERBS.keys() & COMMANDS.keys()
    assert set(OTHER_VERBS.values()) <= COMMANDS.keys()


@pytest.mark.parametrize("words", [["help"], ["help", "train"], ["version"]])
def test_help_and_version_are_commands_too(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*words[1:], "--help"] if words[0] == "help" else ["--version"]
    assert main(words) == 0
    first = capsys.readouterr().out
    assert main(flags) == 0
    assert first == capsys.readouterr().out
    assert (__version__ in first) == (words == ["version"])


def test_an_option_may_be_spelled_with_underscores(tmp_path: Path, capsys) -> None:
    assert main(["train", str(tmp_path / "no"), "--batch_size", "8", "--output", "run"]) == 2
    assert "expected a folder of images" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize(
    "command", ["--help", "train --help", "--version", "explain SO101", "explain", "check ."]
)
def test_a_full_disk_under_the_output_is_one_line(command: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "softonce", *command.split()],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path,
            env=os.environ, timeout=120,
        )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        "error: expected to write to standard output, found: No space left on device; "
        "free some space or send the output elsewhere\n"
    )
