"""The demo writes the digits, prints what it runs, and keeps its promise."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from softonce import softmax
from softonce.cli import demo
from softonce.cli.app import build_app, main
from softonce.floors import double_softmax_floor


def test_the_digits_are_written_once_each(tmp_path: Path) -> None:
    demo.write_digits(tmp_path)
    files = list(tmp_path.rglob("*.png"))
    test = [path for path in files if path.parts[-3] == "test"]
    assert len(files) == 1797
    assert len({path.name for path in files}) == 1797
    assert len(test) == 364
    assert {path.parent.name for path in test} == set("0123456789")
    with Image.open(files[0]) as picture:
        assert (picture.mode, picture.size) == ("L", (8, 8))


def test_the_photographs_are_cut_into_tiles_that_do_not_overlap(tmp_path: Path) -> None:
    demo.write_photographs(tmp_path)
    files = list(tmp_path.rglob("*.jpg"))
    assert len(files) == 2 * (427 // demo.TILE) * (640 // demo.TILE)
    for name in demo.PHOTOGRAPHS:
        splits = [{p.name for p in files if p.parts[-3:-1] == (s, name)} for s in ("train", "test")]
        assert not splits[0] & splits[1]
        assert 3 * len(splits[1]) < len(splits[0]) < 5 * len(splits[1])
    with Image.open(files[0]) as picture:
        assert (picture.mode, picture.size) == ("RGB", (demo.TILE, demo.TILE))


def test_the_demonstrated_mistake_is_bounded_by_the_floor() -> None:
    import torch

    logits = 50 * torch.eye(10)
    loss = demo.double_softmax_loss(logits, torch.arange(10))
    assert loss.item() == pytest.approx(double_softmax_floor(10), rel=1e-6)
    assert torch.equal(softmax(logits, dim=1).argmax(dim=1), torch.arange(10))


def test_curves_become_a_png(tmp_path: Path) -> None:
    path = tmp_path / "losses.png"
    demo.draw_losses({"one": [2.0, 0.1], "two": [2.2, 1.5]}, 1.461, path)
    with Image.open(path) as picture:
        assert picture.size == (1050, 600)


def test_a_short_demo_runs_every_command_that_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--epochs", "1", "--output", str(tmp_path / "out"), "--quiet"]) == 0
    printed = capsys.readouterr().out
    commands = re.findall(r"^\$ softonce (.*)$", printed, re.MULTILINE)
    assert [shlex.split(command)[0] for command in commands] == [
        "train", "evaluate", "predict", "inspect", "train", "predict",
    ]  # fmt: skip
    for command in commands:
        build_app().parse_args(shlex.split(command), exit_on_error=False, print_error=False)
    for label in ("picture", "artefact", "report"):
        (path,) = re.findall(rf"^{label}: (.*)$", printed.split("second softmax:")[1], re.MULTILINE)
        assert Path(path).is_file()


@pytest.mark.slow
def test_the_whole_demo_reaches_98_percent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--output", str(tmp_path / "out"), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert float(re.search(r"top-1 +([\d.]+)%", printed)[1]) >= 98.0
    one, two = map(float, re.search(r"nats: ([\d.]+) with .* ([\d.]+) with two", printed).groups())
    assert one < 0.1
    assert double_softmax_floor(10) - 5e-4 <= two < 1.6  # three decimals are printed
