"""An audit as a whole: findings, status, labels, the repaired file, the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from auditing.trained import Values, calibrated, sigmoid, softmax

import softonce
from softonce.auditing.answers import Answers
from softonce.auditing.ordering import assign, find_order
from softonce.cli.app import main
from softonce.errors import ArgumentError, ConfigError

N = 240


def unsure(num_classes: int = 5) -> tuple[Values, np.ndarray]:
    """Return logits of a calibrated network that is often wrong, and its labels."""
    rng = np.random.default_rng(3)
    logits = 2.0 * rng.normal(size=(N, num_classes))
    drawn = (softmax(logits).cumsum(axis=1) < rng.random((N, 1))).sum(axis=1)
    return logits, drawn


def write(
    path: Path, values: Values, target: np.ndarray | None = None, prefix: str = "prob_"
) -> Path:
    names = [f"{prefix}c{index}" for index in range(values.shape[1])]
    labels = [] if target is None else ["label"]
    rows = [",".join([*names, *labels])]
    for number, row in enumerate(values.tolist()):
        label = [] if target is None else [f"c{target[number]}"]
        rows.append(",".join([*map(repr, row), *label]))
    path.write_text("\n".join(rows) + "\n")
    return path


def names(found: softonce.Audit) -> dict[str, str]:
    return {finding.name: finding.level for finding in found.findings}


def test_a_second_softmax_is_a_fault_and_once_repaired_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logits, target = calibrated(10)
    served = write(tmp_path / "a.csv", softmax(softmax(logits)), target)
    fixed, page = tmp_path / "fixed.csv", tmp_path / "page.html"
    assert main(["audit", str(served), "--write", str(fixed), "--report", str(page)]) == 1
    shown = capsys.readouterr().out
    assert "fault" in shown
    assert "two softmaxes" in shown
    assert fixed.read_text().splitlines()[0] == served.read_text().splitlines()[0]
    assert main(["audit", str(fixed), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["softmaxes"] == 1
    assert not record["fault"]
    again = softonce.audit(fixed, quiet=True)
    assert np.abs(again.answers.values - softmax(logits)).max() < 1e-6
    text = page.read_text()
    assert "two softmaxes" in text
    assert text.count("<svg") == 2
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org", "")


FAULTS = {
    "percent": (lambda z: 100 * softmax(z), "percentages"),
    "logits": (lambda z: z, "logits"),
    "logarithms": (lambda z: np.log(softmax(z)), "log-probabilities"),
    "sigmoids": (sigmoid, "sigmoids"),
    "second sigmoid": (lambda z: sigmoid(sigmoid(3 * z)), "second-sigmoid"),
    "second softmax": (lambda z: softmax(softmax(4 * z)), "second-softmax"),
    "third softmax": (lambda z: softmax(softmax(softmax(4 * z))), "third-softmax"),
    "softmax of sigmoids": (lambda z: softmax(sigmoid(5 * z)), "softmax-of-sigmoids"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_by_its_name(fault: str, tmp_path: Path) -> None:
    logits, target = unsure()
    make, name = FAULTS[fault]
    found = softonce.audit(write(tmp_path / "a.csv", make(logits), target), quiet=True)
    assert [finding.name for finding in found.faults] == [name]


def test_an_honest_classifier_has_no_fault(tmp_path: Path) -> None:
    logits, target = unsure()
    found = softonce.audit(write(tmp_path / "a.csv", softmax(logits), target), quiet=True)
    assert found.faults == []
    assert found.temperature == 1
    assert found.labelled.repaired is None
    for prefix, values in (("logit_", logits), ("log_prob_", np.log(softmax(logits)))):
        assert (
            softonce.audit(write(tmp_path / "b.csv", values, target, prefix), quiet=True).faults
            == []
        )


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_a_temperature_is_found_and_repaired(temperature: float, tmp_path: Path) -> None:
    logits, target = unsure()
    path = write(tmp_path / "a.csv", softmax(logits / temperature), target)
    found = softonce.audit(path, quiet=True)
    assert names(found)["temperature"] == "warning"
    assert found.labelled.calibration.fitted == pytest.approx(1 / temperature, rel=0.25)
    assert found.labelled.repaired.ece < found.labelled.served.ece
    found.write(tmp_path / "fixed.csv")
    fixed = softonce.audit(tmp_path / "fixed.csv", quiet=True)
    assert fixed.temperature == 1
    expected = softmax(logits / temperature / found.temperature)
    assert np.abs(fixed.answers.values - expected).max() < 1e-9


def test_an_expectation_and_a_limit_are_faults_if_they_are_broken(tmp_path: Path) -> None:
    logits, target = unsure()
    path = write(tmp_path / "a.csv", softmax(3 * logits), target)
    assert softonce.audit(path, quiet=True).faults == []
    assert [f.name for f in softonce.audit(path, expect="logits", quiet=True).faults] == [
        "probabilities"
    ]
    assert [f.name for f in softonce.audit(path, max_ece=0.05, quiet=True).faults] == [
        "calibration"
    ]
    assert softonce.audit(path, max_ece=0.9, quiet=True).faults == []
    with pytest.raises(ConfigError, match="expected labels for --max-ece"):
        softonce.audit(write(path, softmax(logits)), max_ece=0.05, quiet=True)


def test_permuted_classes_are_found_on_answers_without_a_part_in_finding_them(
    tmp_path: Path,
) -> None:
    logits, target = calibrated(10)
    shifted = softmax(logits)[:, (np.arange(10) + 1) % 10]
    found = softonce.audit(write(tmp_path / "a.csv", shifted, target), quiet=True)
    assert [finding.name for finding in found.faults] == ["classes-permuted"]
    assert "1 after its own" in found.faults[0].evidence


def test_numbers_sorted_as_text_are_recognised() -> None:
    names = [str(index) for index in range(12)]
    as_text = np.array(sorted(range(12), key=str))
    target = np.arange(600) % 12
    found = find_order(np.argsort(as_text)[target], target, names)
    assert found is not None
    assert "sorted as text" in found.words


def test_a_bad_classifier_is_no_permuted_one() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(5, size=500)
    assert find_order(rng.integers(5, size=500), target, list("abcde")) is None
    confused = np.where((target == 1) & (rng.random(500) < 0.7), 2, target)
    assert find_order(confused, target, list("abcde")) is None


def test_the_assignment_is_the_best_one() -> None:
    from scipy.optimize import linear_sum_assignment

    for seed in range(20):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 12))
        cost = rng.normal(size=(n, n + int(rng.integers(3))))
        assert assign(cost) == linear_sum_assignment(cost)[1].tolist()


def test_saturated_answers_that_are_wrong_are_a_warning(tmp_path: Path) -> None:
    logits, target = unsure()
    path = write(tmp_path / "a.csv", softmax(400 * logits), target)
    found = softonce.audit(path, quiet=True)
    assert names(found)["saturation"] == "warning"
    assert "are wrong" in next(f.evidence for f in found.findings if f.name == "saturation")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".npz", ".json"])
def test_a_repaired_file_keeps_its_format(suffix: str, tmp_path: Path) -> None:
    logits, _ = calibrated(4)
    once, served = softmax(logits), softmax(softmax(logits))
    path = tmp_path / f"a{suffix}"
    if suffix == ".csv":
        write(path, served)
    elif suffix == ".jsonl":
        lines = [
            json.dumps({"id": i, "out": {"probs": row}}) for i, row in enumerate(served.tolist())
        ]
        path.write_text("\n".join(lines) + "\n")
    elif suffix == ".json":
        path.write_text(json.dumps({"predictions": served.tolist(), "model": "x"}))
    elif suffix == ".npz":
        np.savez(path, probs=served, other=np.arange(3))
    else:
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as parquet

        parquet.write_table(pa.table({"id": list(range(200)), "probs": served.tolist()}), path)
    found = softonce.audit(path, quiet=True)
    assert found.recognition.softmaxes.extra == 1
    fixed = tmp_path / f"fixed{suffix}"
    found.write(fixed)
    again = softonce.audit(fixed, quiet=True)
    assert np.abs(again.answers.values - once).max() < 1e-6
    assert again.faults == []
    if suffix == ".json":
        assert json.loads(fixed.read_text())["model"] == "x"
    if suffix == ".npz":
        assert np.load(fixed)["other"].tolist() == [0, 1, 2]


def test_what_cannot_be_repaired_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", softmax(unsure()[0]))
    found = softonce.audit(path, quiet=True)
    with pytest.raises(ArgumentError, match=r"ends in \.csv"):
        found.write(tmp_path / "b.jsonl")
    with pytest.raises(ArgumentError, match="expected a file of answers"):
        softonce.Audit("here", Answers(found.answers.values, found.answers.classes, "here"),
                       found.recognition, ()).write(tmp_path / "b.csv")  # fmt: skip


def test_a_target_that_is_nothing_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (
        ["none.csv"],
        ["none.onnx", "photos"],
        ["ftp://x/y"],
        ["none.txt", "photos"],
        [str(tmp_path)],
    ):
        assert main(["audit", *words]) == 2
        error = capsys.readouterr().err.strip()
        assert error.count("\n") == 0
        assert "expected" in error
