"""Datasets of Hugging Face, as files of this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from data.pictures import encoded, noise, scanned

from softonce.data.samples import list_samples
from softonce.data.sources import absolute, open_source, short_name
from softonce.data.sources import hf_dataset as module
from softonce.data.splits import list_splits
from softonce.errors import DataError

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

FEATURES = {
    "picture": {"_type": "Image"},
    "kind": {"names": ["wasp", "ant"], "_type": "ClassLabel"},
    "note": {"dtype": "string", "_type": "Value"},
}


def table(num: int, *, features: dict[str, Any] | None = FEATURES, start: int = 0) -> Any:
    images = [
        {"bytes": encoded(noise(9, 9, seed=start + n)), "path": f"{n}.png"} for n in range(num)
    ]
    found = pa.table({"note": ["x"] * num, "picture": images, "kind": [n % 2 for n in range(num)]})
    if features is None:
        return found.rename_columns(["note", "image", "label"])
    record = json.dumps({"info": {"features": features}})
    return found.replace_schema_metadata({"huggingface": record})


def write(folder: Path, layout: str, **splits: Any) -> str:
    """Write the files as the hub has them, or as `save_to_disk` writes them."""
    for split, rows in splits.items():
        for number, part in enumerate((rows.slice(0, 3), rows.slice(3))):
            if layout == "hub":
                path = folder / "data" / f"{split}-{number:05d}-of-00002.parquet"
            else:
                path = folder / split / f"data-{number:05d}-of-00002.arrow"
            path.parent.mkdir(parents=True, exist_ok=True)
            if layout == "hub":
                parquet.write_table(part, path)
            else:
                with (
                    pa.OSFile(str(path), "wb") as file,
                    pa.ipc.new_stream(file, part.schema) as out,
                ):
                    out.write_table(part)
    return f"hf-dataset:{folder}"


@pytest.mark.parametrize("layout", ["hub", "disk"])
def test_splits_classes_and_images_are_those_of_the_files(tmp_path: Path, layout: str) -> None:
    data = write(tmp_path, layout, train=table(8), validation=table(4, start=50))
    found = list_splits(data)
    assert found.classes == ("wasp", "ant")
    assert found.val is not None
    assert (found.train.target.tolist(), found.val.target.tolist()) == ([0, 1] * 4, [0, 1] * 2)
    assert [found.train.read(n) for n in range(8)] == [
        encoded(noise(9, 9, seed=n)) for n in range(8)
    ]
    assert found.train.where(5) == f"{tmp_path}/train/5"
    assert len(scanned(data, split="train")) == 8


def test_without_features_the_usual_names_are_taken(tmp_path: Path) -> None:
    data = write(tmp_path, "hub", train=table(6, features=None))
    assert list_samples(open_source(data), "train").classes == ("0", "1")


def test_a_name_is_looked_for_in_the_cache_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    write(tmp_path / "datasets--you--bugs" / "snapshots" / "abc", "hub", train=table(6))
    assert open_source("hf-dataset:you/bugs").splits() == ("train",)
    assert absolute("hf-dataset:you/bugs") == "hf-dataset:you/bugs"
    assert short_name("hf-dataset:you/bugs") == "bugs"
    with pytest.raises(DataError, match="found neither a folder you/birds nor .*: download it"):
        open_source("hf-dataset:you/birds")


def test_what_cannot_be_used_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected Parquet or Arrow files in .*empty, found none"):
        open_source(f"hf-dataset:{tmp_path}/empty")
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "train.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="expected files of one dataset in .*bad, found: "):
        open_source(f"hf-dataset:{bad}")
    text = pa.table({"text": ["a"], "label": [0]})
    (tmp_path / "text").mkdir()
    parquet.write_table(text, tmp_path / "text" / "train.parquet")
    with pytest.raises(DataError, match="found 0 columns of images, and text, label"):
        open_source(f"hf-dataset:{tmp_path}/text")
    secret = table(4).set_column(2, "kind", pa.array([-1] * 4))
    with pytest.raises(DataError, match="expected labels of 0 to 1 .* kept secret"):
        open_source(write(tmp_path / "secret", "hub", train=table(4), test=secret))
    monkeypatch.setattr(module, "MAX_BYTES_IN_MEMORY", 10)
    with pytest.raises(DataError, match="GiB of Parquet files .* save_to_disk"):
        open_source(write(tmp_path / "large", "hub", train=table(4)))


def test_an_image_that_is_only_a_path_is_a_bad_file(tmp_path: Path) -> None:
    rows = table(6).to_pylist()
    rows[2]["picture"] = {"bytes": None, "path": "/elsewhere/2.png"}
    changed = pa.Table.from_pylist(rows, schema=table(6).schema)
    found = scanned(write(tmp_path, "hub", train=changed), split="train", max_bad_fraction=0.5)
    assert [file.reason for file in found.bad_files] == [
        "the dataset holds a path (/elsewhere/2.png), not the image: embed the images"
    ]
