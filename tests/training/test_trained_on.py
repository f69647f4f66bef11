"""No picture that was trained on is scored as an unseen one, wherever it lies by now."""

from __future__ import annotations

import csv
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training.runs import small

from softonce import evaluate, train
from softonce.artefact import read_artefact, write_artefact
from softonce.data.membership import are_among
from softonce.errors import DataError
from softonce.evaluation import Evaluation


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, make_photos) -> tuple[Path, Path]:  # type: ignore[no-untyped-def]
    """Return a folder without val/, and the run that was trained on it."""
    folder = tmp_path_factory.mktemp("trained")
    photos = make_photos(folder / "photos")
    return photos, train(small(photos, folder / "run", epochs=1)).run


@pytest.fixture
def photos(trained: tuple[Path, Path], tmp_path: Path) -> Path:
    """Return a copy of the folder, to be changed."""
    return Path(shutil.copytree(trained[0], tmp_path / "elsewhere"))


def scored(evaluation: Evaluation) -> set[bytes]:
    samples = evaluation.scan.samples
    return {samples.read(index) for index in range(len(samples))}


def _add(photos: Path) -> None:
    path = photos / "ants" / "00.jpg"
    (photos / "ants" / "aaa.jpg").write_bytes(path.read_bytes() + b"another")


def _rename(photos: Path) -> None:
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))):
        path.rename(path.with_name(f"{999 - number}.jpg"))


def _move(photos: Path) -> None:
    for path in sorted(photos.rglob("*.jpg"))[::2]:
        (path.parent / "deep").mkdir(exist_ok=True)
        path.rename(path.parent / "deep" / path.name)


def _remove(photos: Path) -> None:
    for path in sorted((photos / "bees").glob("*.jpg"))[:5]:
        path.unlink()


def _copy(photos: Path) -> None:
    for path in sorted(photos.rglob("*.jpg")):
        shutil.copy(path, path.with_name(f"copy of {path.name}"))


CHANGES = [_add, _rename, _move, _remove, _copy]


def test_rows_of_all_images_say_which_were_trained_on(
    trained: tuple[Path, Path], photos: Path, tmp_path: Path
) -> None:
    for folder in (photos / "ants", photos / "bees"):
        _add_noise(folder / "new.jpg")
    out = tmp_path / "rows.csv"
    found = evaluate(trained[1], photos, split="all", predictions=out)
    with out.open() as file:
        rows = {row["path"]: row["split"] for row in csv.DictReader(file)}
    learned = are_among(
        found.scan.digests, read_artefact(trained[1] / "model.safetensors")[1].trained_on
    )
    paths = [found.scan.samples.where(index) for index in range(len(found.scan))]
    assert len(rows) == 38
    assert {
        path: "train" if known else "val" for path, known in zip(paths, learned, strict=True)
    } == rows
    assert 0 < sum(split == "val" for split in rows.values()) < 38


def _add_noise(path: Path) -> None:
    pixels = np.random.default_rng(len(path.parts[-2])).integers(0, 256, (32, 40, 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_trained_on_is_left_out_however_the_folder_has_changed(
    trained: tuple[Path, Path],
    photos: Path,
    change: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    val = scored(evaluate(trained[1], trained[0]))
    change(photos)
    there = {path.read_bytes() for path in photos.rglob("*.jpg")}
    original = {path.read_bytes() for path in trained[0].rglob("*.jpg")}
    with caplog.at_level(logging.INFO, "softonce"):
        found = evaluate(trained[1], photos)
    assert scored(found) == (val & there) | (there - original)
    assert found.num_trained_on == 0
    assert "images were trained on and are left out; --split all scores them too" in caplog.text


def test_the_parts_by_name_are_those_of_the_run(trained: tuple[Path, Path], photos: Path) -> None:
    _rename(photos)
    val, learned = (evaluate(trained[1], photos, split=split) for split in ("val", "train"))
    assert scored(val) == scored(evaluate(trained[1], trained[0]))
    assert not scored(val) & scored(learned)
    assert (val.num_trained_on, learned.num_trained_on) == (0, learned.figures.n)
    assert learned.title.startswith(f"{learned.figures.n} images of train, {learned.figures.n} of")


def test_a_split_that_the_user_has_made_is_scored_whole_and_counted(
    trained: tuple[Path, Path], photos: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    photos.rename(data / "test")
    _add(data / "test")
    found = evaluate(trained[1], data)
    num_trained = evaluate(trained[1], trained[0], split="train").figures.n
    assert found.figures.n == 37
    assert found.num_trained_on == num_trained
    assert found.title == f"37 images of test, {num_trained} of them trained on, 3 classes"
    assert evaluate(trained[1], trained[0], split="all").num_trained_on == num_trained


def test_other_pictures_are_scored_whole(
    trained: tuple[Path, Path],
    tmp_path: Path,
    make_photos: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = make_photos(tmp_path / "other", seed=7)
    with caplog.at_level(logging.INFO, "softonce"):
        found = evaluate(trained[1], other)
    assert (found.split, found.figures.n, found.num_trained_on) == ("all", 36, 0)
    assert "trained on" not in caplog.text
    with pytest.raises(DataError, match="expected images .* --split train, found none that .* was"):
        evaluate(trained[1], other, split="train")


def test_a_classifier_that_does_not_say_is_scored_with_a_warning(
    trained: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors, metadata = read_artefact(trained[1] / "model.safetensors")
    older = tmp_path / "older.safetensors"
    write_artefact(older, tensors, replace(metadata, trained_on=""))
    assert evaluate(older, trained[0]).figures.n == 36
    assert "does not say which images it was trained on" in caplog.text
