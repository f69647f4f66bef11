"""Manifests: what a row means, what is refused, and that names stay inside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data.pictures import encoded, noise, scanned

from softonce.data.samples import list_samples
from softonce.data.sources import absolute, open_source
from softonce.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(6):
        (tmp_path / "in" / f"{number}.png").write_bytes(encoded(noise(9, 9, seed=number)))
    return tmp_path


def csv_of(folder: Path, rows: list[str], header: str = "path,label") -> Path:
    path = folder / "data.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def jsonl_of(folder: Path, rows: list[object]) -> Path:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_csv_and_jsonl_list_the_same_in_the_order_of_the_file(folder: Path) -> None:
    pairs = [("in/3.png", "b"), ("in/0.png", "a"), ("in/1.png", "b, c")]
    csv_path = csv_of(folder, [f'{path},"{label}"' for path, label in pairs])
    jsonl_path = jsonl_of(folder, [{"path": path, "label": label} for path, label in pairs])
    for manifest in (csv_path, jsonl_path):
        samples = list_samples(open_source(manifest), "all")
        assert samples.classes == ("a", "b", "b, c")
        assert samples.target.tolist() == [1, 0, 2]
        assert [samples.where(i) for i in range(3)] == [str(folder / path) for path, _ in pairs]
        assert len(scanned(manifest)) == 3


def test_whole_numbers_are_in_the_order_of_their_values(folder: Path) -> None:
    rows = [{"path": f"in/{n}.png", "label": label} for n, label in enumerate([10, 9, "2"])]
    assert list_samples(open_source(jsonl_of(folder, rows)), "all").classes == ("2", "9", "10")


def test_a_split_column_makes_splits(folder: Path) -> None:
    splits = ["train", "train", "valid", "test"]
    rows = [f"in/{n}.png,{'ab'[n % 2]},{split}" for n, split in enumerate(splits)]
    source = open_source(csv_of(folder, rows, "path,label,split"))
    assert source.splits() == ("train", "val", "test")
    assert [len(list_samples(source, s, ("a", "b"))) for s in source.splits()] == [2, 1, 1]


def test_the_owner_of_a_manifest_may_name_any_file(folder: Path) -> None:
    (folder / "lists").mkdir()
    rows = ["../in/0.png,a", f"{folder}/in/1.png,b"]
    assert len(scanned(csv_of(folder / "lists", rows))) == 2


WRONG = {
    "other columns": ("a,b\nc,d\n", "a column for each path and label .* found 'a', 'b': name"),
    "no label's column": ("path,size\na,1\n", r"name that of the label \(--label-col NAME\)"),
    "empty": ("", "expected a row for each image in .*csv, found none"),
    "no label": ("path,label\na.png,\n", "expected a label in line 2 of .*csv, found ''"),
    "short row": ("path,label\na.png\n", "expected a label in line 2 of .*csv, found None"),
    "split": (
        "path,label,split\na.png,b,dev\n",
        "train, val or test, or true .* line 2 .* found 'dev'",
    ),
    "mixed": ("path,label,split\na.png,b,train\nb.png,b,\n", "in every row .* found 1 rows"),
    "quote": ('path,label\n"a.png,b\n', "expected CSV in .*csv, found: unexpected end"),
    "one class": ("path,label\na.png,b\n", "at least 2 classes in .*csv, found only 'b': give"),
    "long line": ("path,label\n" + "a" * 2**21, "lines of at most 1,048,576 characters"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_a_manifest_that_cannot_be_used_says_where(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        list_samples(open_source(tmp_path / "data.csv"), "all")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "expected a JSON object in line 1"),
        ("[" * 100_000, "expected a JSON object in line 1"),
        ("[1]", r"found \[1\]"),
        ('{"path": "a", "label": true}', "expected a label in line 1 .* found True"),
    ],
)
def test_a_line_that_is_no_row_says_where(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "data.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        open_source(tmp_path / "data.jsonl")


@pytest.mark.parametrize(("name", "text"), [("a.csv", "path,label\n"), ("a.jsonl", "\n")])
def test_a_manifest_without_rows_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=f"expected a row for each image in .*{name}, found none"):
        open_source(tmp_path / name)


def test_spaces_around_a_label_are_no_part_of_it(folder: Path) -> None:
    rows = ["in/0.png, ants", "in/1.png,ants ", "in/2.png,red ants"]
    found = list_samples(open_source(csv_of(folder, rows)), "all").classes
    assert found == ("ants", "red ants")


def test_a_manifest_behind_a_link_is_found_again(folder: Path, tmp_path: Path) -> None:
    manifest = csv_of(folder, ["in/0.png,a", "in/1.png,b"])
    blob = manifest.rename(tmp_path / "5f3a")  # as tools keep large files
    manifest.symlink_to(blob)
    assert absolute(manifest) == str(manifest)
    assert len(list_samples(open_source(absolute(manifest)), "all")) == 2


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a manifest at .*none.csv, found no such file"):
        open_source(tmp_path / "none.csv")
