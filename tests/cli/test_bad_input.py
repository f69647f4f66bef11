"""A user's mistake is one clear message and status 2; nothing is written, nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from training.runs import small

from softonce import train
from softonce.cli.app import main


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]):
    """Return `fails(*tokens)`: the message of a command that ends with status 2."""

    def run(*tokens: object) -> str:
        capsys.readouterr()
        status = main([str(token) for token in tokens])
        printed = capsys.readouterr()
        assert status == 2, printed
        assert "Traceback" not in printed.err
        assert printed.out == ""
        errors = [line for line in printed.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, printed.err
        return errors[0]

    return run


@pytest.fixture
def train_fails(fails, tmp_path: Path):
    """Return `train_fails(data, *options)`: as `fails`, and no run folder is left."""

    def run(data: object, *options: object) -> str:
        output = tmp_path / "run"
        quick = {"--model": "cifar_resnet20", "--epochs": 1, "--workers": 0, "--output": output}
        others = [part for pair in quick.items() if pair[0] not in options for part in pair]
        message = fails("train", data, *others, *options)
        assert not output.exists()
        return message

    return run


# the data


def test_a_missing_folder(train_fails, tmp_path: Path) -> None:
    assert f"expected a folder of images at {tmp_path / 'no'}" in train_fails(tmp_path / "no")


def test_one_class_only(train_fails, make_photos, tmp_path: Path) -> None:
    data = make_photos(tmp_path / "one", classes=("ants",))
    assert "expected at least 2 classes" in train_fails(data)


def test_an_empty_class(train_fails, photos: Path) -> None:
    (photos / "train" / "moths").mkdir()
    assert "moths" in train_fails(photos)


def test_val_with_an_unknown_class(train_fails, photos: Path) -> None:
    (photos / "val" / "wasps").rename(photos / "val" / "hornets")
    assert "hornets" in train_fails(photos)


def bomb(path: Path) -> None:
    Image.new("1", (30000, 30000)).save(path, format="PNG")


BAD_FILES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "bomb": bomb,
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_one_bad_file_is_left_out_and_named(
    kind: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = photos / "train" / "bees" / "03.jpg"
    BAD_FILES[kind](bad)
    output = tmp_path / "run"
    tokens = f"train {photos} --model cifar_resnet20 --size 16 --epochs 1 --workers 0"
    assert main([*tokens.split(), "--output", str(output)]) == 0
    assert f"{bad}" in capsys.readouterr().err
    assert bad.name in (output / "report.html").read_text()


def test_more_than_one_percent_of_bad_files(train_fails, photos: Path) -> None:
    for name in ("03.jpg", "04.jpg"):
        (photos / "train" / "bees" / name).write_bytes(b"")
    message = train_fails(photos)
    assert "2 of " in message
    assert "--max-bad-fraction" in message


# the options


def test_an_unknown_model_gets_the_nearest_names(train_fails, photos: Path) -> None:
    message = train_fails(photos, "--model", "resnet51")
    assert "found 'resnet51'; the nearest names are: resnet5" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--epochs", "0"), "expected --epochs of at least 1, found 0"),
        (("--label-smoothing", "1.5"), "expected --label-smoothing of 0 to 1, found 1.5"),
        (("--device", "cuda"), "expected --device cuda, found no such device"),
        (("--no-such-flag",), "--no-such-flag"),
        (("--epochs", "many"), "many"),
        (("--epochs", "2.5"), "expected a whole number for --epochs, found 2.5"),
        (("-b", "0.5"), "expected a whole number for --batch-size, found 0.5"),
        (("--opt", "lion"), "lion"),
    ],
)
def test_a_wrong_option(options: tuple[str, ...], message: str, train_fails, photos: Path) -> None:
    if "cuda" in options and torch.cuda.is_available():
        pytest.skip("this machine has one")
    assert message in train_fails(photos, *options)


def test_no_data(fails) -> None:
    assert "expected DATA, a folder of images, found none" in fails("train")


def test_an_unknown_name_in_the_toml_file(train_fails, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('label_smothing = 0.1\nmodel = "resnet18"\n')
    message = train_fails(photos, "--config", tmp_path / "run.toml")
    assert "found 'label_smothing'; the nearest names are: label_smoothing" in message


# the artefact


def test_an_artefact_that_is_cut_short(fails, photos: Path, tmp_path: Path) -> None:
    artefact = train(small(photos, tmp_path / "run", epochs=1)).artefact
    artefact.write_bytes(artefact.read_bytes()[:-1000])
    picture = next((photos / "val" / "ants").iterdir())
    for tokens in (("evaluate", artefact, photos), ("predict", artefact, picture)):
        assert f"{artefact}" in fails(*tokens)


@pytest.mark.parametrize("verb", ["evaluate", "predict", "inspect"])
def test_a_file_that_is_no_artefact(verb: str, fails, photos: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "model.safetensors"
    foreign.write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    more = () if verb == "inspect" else (photos,)
    assert f"{foreign}" in fails(verb, foreign, *more)


def test_no_images_to_predict(fails, photos: Path, tmp_path: Path) -> None:
    artefact = train(small(photos, tmp_path / "run", epochs=1)).artefact
    assert "expected images to classify, found none" in fails("predict", artefact)
