"""Answers are read from the files that people have, and bad files are refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from auditing.trained import calibrated, softmax

from softonce import audit
from softonce.auditing.answers import Answers, Fields
from softonce.auditing.reading import read_answers
from softonce.auditing.shapes import scores_of
from softonce.errors import DataError, SoftonceError

LOGITS, TARGET = calibrated(3, 12)
PROBS = softmax(LOGITS)
NAMES = ("ants", "bees", "wasps")


def read(path: Path, text: str | None = None, **fields: str) -> Answers:
    if text is not None:
        path.write_text(text)
    return read_answers(path, Fields(**fields))


def rows(template: str) -> str:
    """Fill a line for each answer: p0, p1, p2, the label's name and number."""
    return "".join(
        template.format(*row, name=NAMES[label], number=label, probs=json.dumps(row))
        + "\n"
        for row, label in zip(PROBS.tolist(), TARGET.tolist(), strict=True)
    )  # fmt: skip


TABLES = {
    "prob.csv": "path,prob_ants,prob_bees,prob_wasps,label\n" + rows("a.jpg,{0},{1},{2},{name}"),
    "numbered.csv": "id,ants,bees,wasps,target\n" + rows("7,{0},{1},{2},{number}"),
    "semicolons.csv": "y_true;ants;bees;wasps\n" + rows("{name};{0};{1};{2}"),
    "tabs.tsv": "p_ants\tp_bees\tp_wasps\ttruth\n" + rows("{0}\t{1}\t{2}\t{name}"),
    "cell.csv": "label,probs\n" + rows('{number},"{probs}"'),
    "mapping.jsonl": rows('{{"ants": {0}, "bees": {1}, "wasps": {2}, "label": "{name}"}}'),
    "list.jsonl": rows('{{"label": {number}, "probabilities": {probs}}}'),
    "nested.jsonl": rows('{{"label": {number}, "answer": {{"outputs": [{{"data": {probs}}}]}}}}'),
    "hf.jsonl": rows(
        '{{"label": "{name}", "top": [{{"label": "wasps", "score": {2}}}, {{"label": "ants", '
        '"score": {0}}}, {{"label": "bees", "score": {1}}}]}}'
    ),
    "pairs.csv": "label,class_1,prob_1,class_2,prob_2,class_3,prob_3\n"
    + rows("{name},bees,{1},wasps,{2},ants,{0}"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_any_layout_hold_the_same_answers(name: str, tmp_path: Path) -> None:
    found = read(tmp_path / name, TABLES[name])
    assert np.allclose(found.values, PROBS, rtol=0, atol=1e-15)
    assert found.target is not None
    assert found.target.tolist() == TARGET.tolist()
    assert len(found.classes) == 3


def test_parquet_and_numpy_hold_the_same_answers(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    columns = {f"prob_{name}": PROBS[:, i] for i, name in enumerate(NAMES)}
    parquet.write_table(pa.table(columns | {"label": TARGET}), tmp_path / "a.parquet")
    parquet.write_table(pa.table({"probs": PROBS.tolist(), "y": TARGET}), tmp_path / "b.parquet")
    np.savez(tmp_path / "c.npz", probs=PROBS, labels=TARGET)
    for name in ("a.parquet", "b.parquet", "c.npz"):
        found = read(tmp_path / name)
        assert np.array_equal(found.values, PROBS)
        assert found.target.tolist() == TARGET.tolist()
        assert found.claim == "probabilities"
    np.save(tmp_path / "d.npy", LOGITS)
    assert read(tmp_path / "d.npy").target is None


def test_a_table_without_a_header_is_read(tmp_path: Path) -> None:
    found = read(tmp_path / "a.csv", rows("{0},{1},{2}"))
    assert np.allclose(found.values, PROBS)
    found = read(tmp_path / "b.csv", rows("{0},{1},{2},{number}"), label="3")
    assert found.values.shape == (12, 3) or found.values.shape == (12, 4)


def test_names_say_what_the_numbers_are(tmp_path: Path) -> None:
    for prefix, claim in (
        ("logit_", "logits"),
        ("log_prob_", "log-probabilities"),
        ("p.", "probabilities"),
    ):
        head = ",".join(f"{prefix}{name}" for name in NAMES)
        assert read(tmp_path / "a.csv", head + "\n" + rows("{0},{1},{2}")).claim == claim


def test_classes_that_an_answer_does_not_mention_are_missing(tmp_path: Path) -> None:
    text = """[[{"label": "a", "score": 0.7}, {"label": "b", "score": 0.2}],
               [{"label": "c", "score": 0.6}, {"label": "a", "score": 0.3}]]"""
    found = read(tmp_path / "a.json", text)
    assert found.classes == ("a", "b", "c")
    assert np.isnan(found.values).sum() == 2


def test_empty_cells_are_classes_that_are_not_mentioned(tmp_path: Path) -> None:
    found = read(tmp_path / "a.csv", "prob_a,prob_b,prob_c,label\n0.9,,0.1,a\n,0.5,0.3,b\n")
    assert found.values.shape == (2, 3)
    assert np.isnan(found.values).tolist() == [[False, True, False], [True, False, False]]


def test_a_path_into_json_is_followed(tmp_path: Path) -> None:
    line = '{"x": [0.1, 0.2], "y": {"z": [[0.9, 0.1]]}}\n'
    found = read(tmp_path / "a.jsonl", line, scores="y.z[0]")
    assert found.values.tolist() == [[0.9, 0.1]]


def test_every_shape_of_a_service_is_understood() -> None:
    top = [{"class": "b", "prob": 0.8, "logit": 1.0}, {"class": "a", "prob": 0.2, "logit": 0.0}]
    ours = {"predictions": [{"path": None, "class": "b", "prob": 0.8, "top": top}]}
    assert [each.values for each in scores_of(ours, "here")] == [{"b": 0.8, "a": 0.2}]
    ours["predictions"].append({"class": "a", "prob": 0.6, "top": [
        {"class": "a", "prob": 0.6}, {"class": "b", "prob": 0.4}]})  # fmt: skip
    assert [each.values for each in scores_of(ours, "here")][1] == {"a": 0.6, "b": 0.4}
    kserve = {"outputs": [{"name": "logits", "shape": [2, 2], "data": [1, 2, 3, 4]}]}
    found = scores_of(kserve, "here")
    assert [each.values for each in found] == [{"0": 1.0, "1": 2.0}, {"0": 3.0, "1": 4.0}]
    assert found[0].claim == "logits"
    labels = {"name": "labels", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}
    probs = {"name": "probs", "shape": [2, 2], "data": [0.5, 0.5, 0.25, 0.75]}
    found = scores_of({"outputs": [labels, kserve["outputs"][0], probs]}, "here")
    assert [each.values for each in found] == [{"0": 0.5, "1": 0.5}, {"0": 0.25, "1": 0.75}]
    assert scores_of({"predictions": [[0.5, 0.5]]}, "here")[0].values == {"0": 0.5, "1": 0.5}
    assert scores_of([0.5, 0.5], "here")[0].values == {"0": 0.5, "1": 0.5}
    decisions = {"choice": "a", "probabilities": [{"value": "a", "probability": 0.7},
                                                  {"value": "b", "probability": 0.3}]}  # fmt: skip
    assert scores_of(decisions, "here")[0].values == {"a": 0.7, "b": 0.3}


BAD = {
    "empty.csv": "",
    "header.csv": "prob_a,prob_b\n",
    "ragged.csv": "prob_a,prob_b\n0.5,0.5\n0.5\n",
    "wide.csv": "prob_a,prob_b\n0.5,0.5\n0.5,0.5,0.1\n",
    "text.csv": "prob_a,prob_b\n0.5,0.5\n0.5,much\n",
    "nan.csv": "prob_a,prob_b\n0.5,0.5\nnan,0.5\n",
    "inf.csv": "prob_a,prob_b\n0.5,0.5\ninf,0.5\n",
    "huge.csv": "prob_a,prob_b\n0.5,0.5\n1e308,-1e308\n",
    "twice.csv": "prob_a,prob_a\n0.5,0.5\n",
    "blank.csv": "prob_a,prob_b\n0.5,0.5\n,\n",
    "zeros.csv": "prob_a,prob_b\n0.0,0.0\n0,0\n",
    "label.csv": "prob_a,prob_b,label\n0.5,0.5,zebra\n",
    "nolabel.csv": "prob_a,prob_b,label\n0.5,0.5,\n",
    "one.csv": "prob_a,name\n0.5,x\n",
    "words.csv": "name,colour\nx,red\n",
    "html.json": "<html></html>",
    "nothing.json": '{"a": "b"}',
    "deep.json": "[" * 5000 + "]" * 5000,
    "ragged.jsonl": '{"probs": [0.5, 0.5]}\n{"probs": [0.5, 0.3, 0.2]}\n',
    "list.jsonl": "[0.5, 0.5]\n",
    "nan.jsonl": '{"probs": [0.5, NaN]}\n',
    "broken.jsonl": '{"probs": [0.5, \n',
    "noise.parquet": "PAR1 nothing PAR1",
    "noise.npy": "no array",
    "noise.npz": "PK no archive",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(BAD[name])
    with pytest.raises(SoftonceError, match="^expected .*found") as caught:
        audit(tmp_path / name, quiet=True)
    assert "\n" not in str(caught.value)


def test_a_line_of_gigabytes_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    with path.open("wb") as file:
        file.truncate(3 << 30)  # sparse: two gigabytes and more of zero bytes
    with pytest.raises(DataError, match="expected"):
        read(path)


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="expected arrays of NumPy"):
        read(tmp_path / "a.npy")
