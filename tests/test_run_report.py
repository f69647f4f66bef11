"""What the page of a run says of the run: what val has chosen, what was drawn from its rows."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from training.runs import small

from softonce import EvaluateConfig, ExportConfig, evaluate, export, train
from softonce.report import run
from softonce.report.run import write_evaluation_report

SAME = ", and the figures are of the same images: expect somewhat worse ones of new images."


@pytest.mark.parametrize(
    ("split", "epochs", "temperature", "sentence"),
    [
        ("val", 9, 1.5, f"Val chose the epoch (4 of 9) and fitted the temperature (1.5){SAME}"),
        ("val", 9, 1.0, f"Val chose the epoch (4 of 9){SAME}"),
        ("val", 1, 0.8, f"Val fitted the temperature (0.8){SAME}"),
        ("val", 1, 1.0, ""),
        ("test", 9, 1.5, "(1.5); the figures are of test, which had no part in that."),
        ("test", 1, 1.0, ""),
    ],
)
def test_what_val_has_chosen_is_told_and_nothing_else(
    split: str, epochs: int, temperature: float, sentence: str
) -> None:
    evaluation = SimpleNamespace(split=split, temperature=temperature)
    metadata = SimpleNamespace(training={"best_epoch": 4, "epochs": epochs})
    told = run._selection(evaluation, metadata)  # type: ignore[arg-type] # all that it looks at
    assert sentence in told
    assert bool(sentence) == bool(told)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_photos) -> tuple[Path, Path]:
    """Return (data, run) of a network that has learned little, so that it makes mistakes."""
    root = tmp_path_factory.mktemp("made")
    make_photos(root / "photos" / "train")
    make_photos(root / "photos" / "val", per_class=5)
    options = {"lr": 1e-4, "mixup_alpha": 0.2, "label_smoothing": 0.1}
    train(small(root / "photos", root / "run", **options))
    return root / "photos", root / "run"


def test_the_page_of_a_run_shows_what_the_run_was(made: tuple[Path, Path]) -> None:
    page = (made[1] / "report.html").read_text(encoding="utf-8")
    assert "and contains label smoothing 0.1, mixup." in page
    assert "The loss of val is the negative log-likelihood" in page
    assert "Val chose the epoch (" in page
    assert "Train holds 12 images of each class." in page
    assert 'alt="Training images with their classes: ' in page
    assert page.count('class="lit"') >= 5
    assert "a class activation map of 4 x 4 places" in page
    assert re.search(r"<h3>\w+ taken for \w+: \d+ images</h3>", page)


def evaluated(data: Path, model: Path, folder: Path, **options: str) -> str:
    found = evaluate(EvaluateConfig((model, data), **options))  # type: ignore[arg-type] # as given
    write_evaluation_report(found, "title", folder / "page.html")
    return (folder / "page.html").read_text(encoding="utf-8")


def test_a_page_tells_if_training_has_met_the_images(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    data, artefact = made[0], made[1] / "model.safetensors"
    learned = evaluated(data, artefact, tmp_path, split="train")
    assert "The network was trained on these images" in learned
    validated = evaluated(data, artefact, tmp_path)
    assert "Training chose the epoch" in validated
    assert "on its val images. If these are the same, expect somewhat worse" in validated
    assert "trained on these" not in validated


def test_a_page_of_mirrored_images_is_lit_too(made: tuple[Path, Path], tmp_path: Path) -> None:
    page = evaluated(made[0], made[1] / "model.safetensors", tmp_path, tta="flip")
    assert page.count('class="lit"') >= 5


def test_a_page_of_an_exported_file_tells_why_it_is_not_lit(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    exported = tmp_path / "model.onnx"
    export(ExportConfig(made[1] / "model.safetensors", to="onnx", output=exported))
    page = evaluated(made[0], exported, tmp_path)
    assert "Where the network looked is not shown: an exported file gives logits only" in page
    assert 'class="lit"' not in page
