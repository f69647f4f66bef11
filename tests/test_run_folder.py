"""A run folder: its names, and who may write there."""

from __future__ import annotations

from pathlib import Path

import pytest

from softonce.errors import ConfigError
from softonce.run_folder import LAUNCH, LOCK, RunFolder, model_file

NAMES = [name for name, member in vars(RunFolder).items() if isinstance(member, property)]


def test_an_earlier_run_is_taken_out_whole(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.checkpoints.mkdir(parents=True)
    folder.features.mkdir()
    (folder.features / "train-0.npy").write_text("of the earlier run")
    folders = ("checkpoints", "features")
    for path in [getattr(folder, name) for name in NAMES if name not in folders]:
        path.write_text("of the earlier run")
    folder.state(7).write_text("of the earlier run")
    (folder.path / "notes.txt").write_text("somebody's own")
    folder.claim("epochs = 3\n", overwrite=True)
    left = {path.name for path in folder.path.rglob("*")}
    assert left == {"config.toml", "checkpoints", "notes.txt", "scan.safetensors", LOCK, LAUNCH}
    assert folder.config.read_text() == "epochs = 3\n"


def test_what_is_there_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("somebody's own")
    with pytest.raises(ConfigError, match="expected an empty folder at --output .*--resume"):
        RunFolder(tmp_path).claim("", overwrite=False)
    with pytest.raises(ConfigError, match="expected a folder at --output .*, found a file"):
        RunFolder(tmp_path / "notes.txt").claim("", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_newest_state_is_the_first(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    for step in (9, 10, 1_000_000, 200):
        folder.state(step).touch()
    assert folder.states() == [folder.state(step) for step in (1_000_000, 200, 10, 9)]


def test_a_link_without_a_suffix_is_followed_and_another_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "v2").mkdir()
    model = tmp_path / "v2" / "Model.ONNX"
    model.touch()
    for name in ("current", "current.onnx", "current.safetensors"):
        (tmp_path / name).symlink_to(model)
    assert model_file(tmp_path / "current") == model
    assert model_file(tmp_path / "current.onnx") == tmp_path / "current.onnx"
    assert model_file(tmp_path / "current.safetensors") == tmp_path / "current.safetensors"
    (tmp_path / "notes").symlink_to(tmp_path / "notes.txt")
    assert model_file(tmp_path / "notes") == tmp_path / "notes"
