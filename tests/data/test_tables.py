"""Tables as people have them: columns of other names, other separators, encodings and paths."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.pictures import encoded, noise

from softonce import TrainConfig
from softonce.data.samples import Samples, list_samples
from softonce.data.sources import open_source
from softonce.data.sources.columns import Columns
from softonce.data.splits import list_splits
from softonce.errors import DataError, SoftonceError, UnknownNameError
from softonce.prediction.inputs import items_of_names

NAMES = [f"{number}.png" for number in range(6)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        (tmp_path / name).write_bytes(encoded(noise(9, 9, seed=number)))
    return tmp_path


def table(folder: Path, text: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows_of(header: Sequence[str], rows: Sequence[Sequence[Any]], mark: str = ",") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=mark, lineterminator="\n").writerows([header, *rows])
    return out.getvalue()


def listed(manifest: Path, **columns: str) -> Samples:
    return list_samples(open_source(manifest, Columns(**columns)), "all")


def pairs(samples: Samples) -> list[tuple[str, str]]:
    return [
        (Path(samples.where(index)).name, samples.classes[target])
        for index, target in enumerate(samples.target.tolist())
    ]


PAIRS = [(name, "ab"[number % 2]) for number, name in enumerate(NAMES)]


@pytest.mark.parametrize("path", ["path", "filename", "file_name", "image_id", "Image Path", "id"])
@pytest.mark.parametrize("label", ["label", "labels", "Class", "category", "target", "class_name"])
def test_columns_are_found_by_their_usual_names(folder: Path, path: str, label: str) -> None:
    text = rows_of([label, path], [(label, name) for name, label in PAIRS])
    assert pairs(listed(table(folder, text))) == PAIRS


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_separator_is_found(folder: Path, mark: str) -> None:
    assert pairs(listed(table(folder, rows_of(["path", "label"], PAIRS, mark)))) == PAIRS
    assert pairs(listed(table(folder, rows_of(["path", "label"], PAIRS, "\t"), "a.tsv"))) == PAIRS


def test_a_table_without_a_header_is_one_of_paths_and_labels(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "softonce"):
        found = listed(table(folder, rows_of(*PAIRS[:1], PAIRS[1:])))
    assert pairs(found) == PAIRS
    assert "has no header: its columns are taken as path, label" in caplog.text
    splits = [(*pair, "train" if number < 4 else "valid") for number, pair in enumerate(PAIRS)]
    source = open_source(table(folder, rows_of(splits[0], splits[1:])))
    assert source.splits() == ("train", "val")


@pytest.mark.parametrize(
    ("column", "values", "splits"),
    [
        ("is_valid", ["False", "False", "True"], ["train", "train", "val"]),
        ("is_valid", ["0", "0", "1"], ["train", "train", "val"]),
        ("valid", ["no", "0.0", "1.0"], ["train", "train", "val"]),
        ("is_test", ["false", "false", "true"], ["train", "train", "test"]),
        ("Split", ["Train", "TEST", "Validation"], ["train", "test", "val"]),
        ("set", ["training", "testing", "val"], ["train", "test", "val"]),
    ],
)
def test_splits_are_read_as_people_write_them(
    folder: Path, column: str, values: list[str], splits: list[str]
) -> None:
    rows = [(name, "a", value) for name, value in zip(NAMES, values, strict=False)]
    source = open_source(table(folder, rows_of(["path", "label", column], rows)))
    for name, split in zip(NAMES, splits, strict=False):
        assert name.encode() in set(source.list_split(split).names)


def test_columns_may_be_named_and_an_unknown_one_is_refused(folder: Path) -> None:
    rows = [(name, "wrong", label, "x", "") for name, label in PAIRS]
    path = table(folder, rows_of(["picture", "label", "species", "split", "used"], rows))
    assert listed(path, path="picture", label="species", split="used").classes == ("a", "b")
    with pytest.raises(DataError, match="as the split in line 2 .* found 'x'"):
        open_source(path, Columns("picture", "species"))
    with pytest.raises(UnknownNameError, match="--label-col .*found 'specis'; .* species"):
        open_source(path, Columns("picture", "specis"))
    with pytest.raises(DataError, match="expected a manifest for --path-col, .* leave them out"):
        open_source(folder, Columns("picture"))


def test_what_is_not_used_is_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [(name, label, 7, "p1") for name, label in PAIRS]
    path = table(folder, rows_of(["path", "label", "age", "patient_id"], rows))
    with caplog.at_level(logging.INFO, "softonce"):
        listed(path)
    assert "columns of " in caplog.text
    assert "that are not used: age, patient_id" in caplog.text
    assert "--group-col patient_id keeps them on one side of a split" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "softonce"):
        listed(path, group="patient_id")
    assert caplog.messages == [f"columns of {path} that are not used: age"]


PATHS: Mapping[str, list[str]] = {
    "windows": [f"sub\\{name}" for name in NAMES],
    "of another machine": [f"C:\\Users\\me\\{name}" for name in NAMES],
    "of another folder": [f"/data/train/{name}" for name in NAMES],
    "without a suffix": [name.removesuffix(".png") for name in NAMES],
    "another case": [name.upper() for name in NAMES],
}


@pytest.mark.parametrize("kind", PATHS)
def test_files_are_found_whose_paths_are_of_elsewhere(folder: Path, kind: str) -> None:
    (folder / "sub").mkdir()
    for name in NAMES:
        (folder / name).rename(folder / "sub" / name)
    rows = [(path, label) for path, (_, label) in zip(PATHS[kind], PAIRS, strict=True)]
    path = table(folder, rows_of(["path", "label"], rows))
    found = listed(path)
    assert pairs(found) == PAIRS
    assert all(found.read(index) for index in range(len(found)))
    assert [Path(item.path or "").name for item in items_of_names([path])] == NAMES


def test_two_files_of_one_name_are_not_guessed(folder: Path) -> None:
    for number, name in enumerate(("one", "two")):
        (folder / name).mkdir()
        (folder / NAMES[number]).rename(folder / name / "same.png")
    rows = [("x/same.png", "a"), ("x/2.png", "b")]
    found = listed(table(folder, rows_of(["path", "label"], rows)))
    assert [found.names[index] for index in range(2)] == [b"x/same.png", b"2.png"]


@pytest.mark.parametrize(
    ("codec", "label", "name"),
    [
        ("cp949", "고양이", "CP949"),
        ("latin-1", "café", "Latin-1"),
        ("utf-16", "a", "UTF-16"),
        ("utf-16-le", "a", "UTF-16"),
    ],
)
def test_other_encodings_are_told_with_what_to_do(
    folder: Path, codec: str, label: str, name: str
) -> None:
    text = rows_of(["path", "label"], [(file, label) for file in NAMES])
    with pytest.raises(
        DataError, match=f"expected UTF-8 in .*csv, found {name}.*: save it as UTF-8"
    ):
        listed(table(folder, text.encode(codec)))


def test_utf_8_with_its_mark_is_read(folder: Path) -> None:
    text = rows_of(["path", "label"], [(name, "né"[: 1 + n % 2]) for n, name in enumerate(NAMES)])
    assert listed(table(folder, text.encode("utf-8-sig"))).classes == ("n", "né")


def test_labels_that_look_like_several_are_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for mark in ("|", ";", ", "):
        caplog.clear()
        rows = list(zip(NAMES, ["a", f"a{mark}b", "b", "c", "d", "e"], strict=True))
        with caplog.at_level(logging.WARNING, "softonce"):
            listed(table(folder, rows_of(["path", "label"], rows)))
        assert f"look like several in one, such as {f'a{mark}b'!r}" in caplog.text
    caplog.clear()
    rows = list(zip(NAMES, ["Bath, UK", "Oslo", "Rome", "c", "d", "e"], strict=True))
    listed(table(folder, rows_of(["path", "label"], rows)))
    assert caplog.messages == []


def test_parquet_is_a_table_too(folder: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    names, labels = zip(*PAIRS, strict=True)
    parquet.write_table(
        pa.table({"filename": names, "label": [ord(label) for label in labels]}),
        folder / "data.parquet",
    )
    expected = [(name, str(ord(label))) for name, label in PAIRS]
    assert pairs(listed(folder / "data.parquet")) == expected
    with pytest.raises(DataError, match="expected a Parquet file at .*bad.parquet, found"):
        listed(table(folder, b"PAR1 no", "bad.parquet"))


def test_no_group_is_parted(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    from data.pictures import SMALL

    from softonce.data.splits import read_splits

    rows = []
    for number in range(60):
        name = f"more-{number}.png"
        (folder / name).write_bytes(encoded(noise(9, 9, seed=100 + number)))
        rows.append((name, "ab"[number % 2], f"p{number % 20}"))
    path = table(folder, rows_of(["path", "label", "patient"], rows))
    config = TrainConfig(path, size=16, group_col="patient", val_fraction=0.3)
    splits = read_splits(list_splits(path, Columns.of(config)), config, SMALL)
    groups = {name: group for name, _, group in rows}
    sides = [
        {groups[Path(part.samples.where(i)).name] for i in range(len(part))}
        for part in (splits.train, splits.val)
    ]
    assert sides[0]
    assert sides[1]
    assert not sides[0] & sides[1]

    given = [(*row, "val" if number < 20 else "train") for number, row in enumerate(rows)]
    path = table(folder, rows_of(["path", "label", "patient", "split"], given))
    with caplog.at_level(logging.WARNING, "softonce"):
        read_splits(list_splits(path, Columns(group="patient")), config, SMALL)
    assert "20 images of " in caplog.text
    assert "belong to groups of train, too" in caplog.text


def test_the_order_of_the_classes_may_be_given(folder: Path) -> None:
    path = table(folder, rows_of(["path", "label"], PAIRS))
    order = folder / "order.txt"
    order.write_text("b\n\na\n")
    found = list_splits(path, class_order=order)
    assert found.classes == ("b", "a")
    assert np.array_equal(found.train.target, 1 - list_splits(path).train.target)
    for text, wrong in (
        ("a\n", "missing 'b'"),
        ("a\nb\nc\n", "unknown 'c'"),
        ("a\nb\na", "twice 'a'"),
    ):
        order.write_text(text)
        with pytest.raises(DataError, match=f"each of the 2 classes once in .*, found .*{wrong}"):
            list_splits(path, class_order=order)
    with pytest.raises(SoftonceError, match="names of the classes in .*none.txt"):
        list_splits(path, class_order=folder / "none.txt")


def test_keys_that_come_late_in_jsonl_are_said(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("softonce.data.sources.tables._NUM_FIRST", 2)
    text = "".join(f'{{"path": "{name}", "label": "{label}"}}\n' for name, label in PAIRS)
    text += '{"path": "0.png", "label": "a", "split": "val"}\n'
    with caplog.at_level(logging.WARNING, "softonce"):
        listed(table(folder, text, "data.jsonl"))
    assert "that are in no row of the first 2 are not used: split" in caplog.text
