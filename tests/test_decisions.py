"""Withheld answers and sets of classes: what they promise, and who follows them."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import binom
from serving.service_beside import raw, running
from training.runs import small

import softonce
from softonce.artefact import Metadata, read_metadata
from softonce.calibrate.abstention import binomial_tail, coverage_curve, fit_abstention
from softonce.calibrate.conformal import NUM_FREE, PENALTY, fit_sets
from softonce.calibrate.novelty import fit_novelty
from softonce.cli.app import main
from softonce.decisions import (
    Abstention,
    Decisions,
    Novelty,
    decide,
    energies,
    in_set,
    set_scores,
)
from softonce.engines import open_engine
from softonce.errors import ArgumentError, ConfigError, DataError
from softonce.prediction.annotated import caption
from softonce.prediction.results import Predictions
from softonce.preprocessing import Preprocessing

METHODS = ("lac", "aps", "raps")


def drawn(seed: int, n: int, num_classes: int = 6, scale: float = 1.5):
    """Probabilities, and targets drawn from them: calibrated."""
    random = np.random.default_rng(seed)
    terms = np.exp(random.normal(size=(n, num_classes)) * scale)
    probs = terms / terms.sum(axis=1, keepdims=True)
    target = (probs.cumsum(axis=1) < random.random((n, 1))).sum(axis=1).clip(max=num_classes - 1)
    return probs, target


# sets


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.97])
def test_sets_cover_other_samples_as_often_as_promised(method: str, coverage: float) -> None:
    covered = []
    for seed in range(60):
        probs, target = drawn(seed, 400)
        rule = fit_sets(probs[:200], target[:200], coverage=coverage, method=method)
        held = in_set(rule, probs[200:])
        covered.append(held[np.arange(200), target[200:]].mean())
    # Of one draw the deviation is that of two halves; the mean of 60 draws has the 60th part.
    half = 4 * math.sqrt(2 * coverage * (1 - coverage) / 200 / 60)
    assert coverage - half < np.mean(covered) < coverage + 1 / 201 + half


class NeverBreaksTies(np.random.RandomState):
    """The random numbers of APS as 1, for a judge whose sets are then ours."""

    def uniform(self, *args, size=None, **kwargs):
        return np.ones(size)


class Fixed:
    """A fitted classifier for scikit-learn whose features are probabilities."""

    def __init__(self, num_classes: int) -> None:
        self.classes_ = np.arange(num_classes)

    def fit(self, *_):
        return self

    def predict_proba(self, probs):
        return probs

    def predict(self, probs):
        return probs.argmax(axis=1)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def judged(probs: NDArray, target: NDArray, asked: NDArray, method: str, coverage: float):
    from mapie.classification import SplitConformalClassifier

    judge = SplitConformalClassifier(
        Fixed(probs.shape[1]),
        confidence_level=coverage,
        conformity_score=method,
        prefit=True,
        random_state=NeverBreaksTies(0),
    ).conformalize(probs, target)
    options = {} if method == "lac" else {"include_last_label": True}
    return judge.predict_set(asked, conformity_score_params=options)[1][:, :, 0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("coverage", [0.8, 0.9])
@pytest.mark.parametrize("method", ["lac", "aps"])
def test_sets_are_those_of_mapie(method: str, coverage: float) -> None:
    probs, target = drawn(5, 500)
    rule = fit_sets(probs[:300], target[:300], coverage=coverage, method=method)
    expected = judged(probs[:300], target[:300], probs[300:], method, coverage)
    assert np.array_equal(in_set(rule, probs[300:]), expected)


def test_scores_are_those_of_the_papers() -> None:
    probs = np.array([[0.2, 0.5, 0.3]])
    assert set_scores("lac", probs, penalty=0, num_free=0)[0] == pytest.approx([0.8, 0.5, 0.7])
    assert set_scores("aps", probs, penalty=0, num_free=0)[0] == pytest.approx([0.8, 0, 0.5])
    found = set_scores("raps", probs, penalty=0.1, num_free=1)[0]
    assert found == pytest.approx([0.8 + 0.2, 0, 0.5 + 0.1])


def test_raps_ends_the_tails_that_aps_has() -> None:
    probs, target = drawn(3, 600, num_classes=60, scale=1.0)
    aps, raps = (fit_sets(probs, target, coverage=0.9, method=m) for m in ("aps", "raps"))
    assert (raps.penalty, raps.num_free) == (PENALTY, NUM_FREE)
    assert in_set(raps, probs).sum(axis=1).max() < in_set(aps, probs).sum(axis=1).max()


@pytest.mark.parametrize("method", ["aps", "raps"])
def test_the_most_probable_class_is_always_in_such_a_set(method: str) -> None:
    probs, target = drawn(4, 300)
    held = in_set(fit_sets(probs, target, coverage=0.5, method=method), probs)
    assert held[np.arange(300), probs.argmax(axis=1)].all()


def test_too_few_images_for_a_coverage_are_refused() -> None:
    probs, target = drawn(0, 8)
    with pytest.raises(DataError, match="expected at least 9 images for sets of 0.9 coverage"):
        fit_sets(probs, target, coverage=0.9)
    assert fit_sets(*drawn(0, 9), coverage=0.9).n == 9


# abstention


@pytest.mark.parametrize(("k", "n", "prob"), [(0, 1, 0.5), (3, 40, 0.1), (700, 9000, 0.08)])
def test_the_tail_is_that_of_scipy(k: int, n: int, prob: float) -> None:
    assert binomial_tail(k, n, prob) == pytest.approx(binom.cdf(k, n, prob), rel=1e-9)


def sure_or_not(seed: int, n: int) -> tuple[NDArray, NDArray]:
    """Confidences, and whether each answer is right: as often as it says."""
    random = np.random.default_rng(seed)
    confidence = 1 - random.beta(0.7, 3, size=n)
    return confidence, random.random(n) < confidence


def test_promised_accuracies_are_reached_by_the_true_ones_in_95_percent_of_draws() -> None:
    others, _ = sure_or_not(999, 100_000)
    kept = []
    for seed in range(100):
        rule = fit_abstention(*sure_or_not(seed, 600), accuracy=0.9)
        kept.append(others[others >= rule.threshold].mean() >= 0.9)  # each is right as it says
    assert np.mean(kept) >= 0.95


def test_more_images_give_more_answers() -> None:
    few, many = (fit_abstention(*sure_or_not(1, n), accuracy=0.9) for n in (1000, 20_000))
    assert few.coverage < many.coverage
    assert many.threshold < few.threshold


@pytest.mark.parametrize("n", [1, 50])
def test_what_cannot_be_promised_is_refused(n: int) -> None:
    with pytest.raises(DataError, match="expected images that show at which probability 0.99"):
        fit_abstention(*sure_or_not(2, n), accuracy=0.99)


def test_the_curve_counts_equal_answers_together() -> None:
    confidence = np.array([0.9, 0.5, 0.9, 0.7])
    curve = coverage_curve(confidence, np.array([True, False, False, True]))
    assert curve == [(0.9, 0.5, 0.5), (0.7, 0.75, pytest.approx(2 / 3)), (0.5, 1.0, 0.5)]


# images unlike those of training


def test_energies_are_those_of_the_paper() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 7)) * 30
    assert energies(logits) == pytest.approx(-logsumexp(logits, axis=1), rel=1e-12)
    large = np.array([[1e4, 0.0]], np.float32)
    assert energies(large).tolist() == [-1e4]


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_no_more_images_are_marked_than_was_allowed(share: float) -> None:
    random, marked = np.random.default_rng(0), []
    for _ in range(200):
        energy = random.standard_t(3, size=400)
        rule = fit_novelty(energy[:200], false_alarms=share)
        marked.append((energy[200:] > rule.limit).mean())
    half = 4 * math.sqrt(2 * share * (1 - share) / 200 / 200)
    assert share - 1 / 201 - half < np.mean(marked) < share + half


def test_too_few_images_for_a_share_of_false_alarms_are_refused() -> None:
    energy = np.arange(18.0)
    with pytest.raises(DataError, match="expected at least 19 images for 0.05 false alarms"):
        fit_novelty(energy, false_alarms=0.05)
    rule = fit_novelty(np.arange(19.0), false_alarms=0.05)
    assert (rule.limit, rule.n) == (18.0, 19)


# who follows them

RULE = Abstention(threshold=0.8, accuracy=0.9, confidence=0.95, coverage=0.7, n=300)


def test_without_rules_nothing_is_added() -> None:
    assert decide(Decisions(), np.eye(2), np.eye(2), ["a", "b"]) == [{}, {}]
    record = metadata().to_dict()
    assert "decisions" not in record
    assert Metadata.from_dict(record).decisions == Decisions()


def metadata(**options) -> Metadata:
    preprocessing = Preprocessing(size=16)
    classes = ("a", "b")
    return Metadata(arch="x", arch_args={}, classes=classes, preprocessing=preprocessing, **options)


def test_rules_come_back_from_a_record() -> None:
    sets = fit_sets(*drawn(1, 50), coverage=0.9, method="raps")
    novelty = Novelty(limit=-3.5, false_alarms=0.05, n=50)
    held = metadata(decisions=Decisions(abstention=RULE, sets=sets, novelty=novelty))
    assert Metadata.from_dict(json.loads(held.to_json())) == held
    assert set(Decisions(abstention=RULE).in_words()) == {"abstention"}


@pytest.mark.parametrize(
    "record",
    [{"other": {}}, {"sets": 3}, {"abstention": vars(RULE) | {"n": "many"}},
     {"abstention": {"threshold": 1.0}}],
)  # fmt: skip
def test_a_damaged_rule_is_refused(record) -> None:
    with pytest.raises(ArgumentError):
        Decisions.from_dict(record)


RULES = {"accuracy": 0.5, "coverage": 0.9, "method": "aps", "false_alarms": 0.1}


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory, make_photos) -> tuple[Path, Path]:
    """Return (photos, run) of a network whose file holds both rules."""
    root = tmp_path_factory.mktemp("decided")
    make_photos(root / "photos" / "train")
    make_photos(root / "photos" / "val", per_class=2)
    make_photos(root / "photos" / "test", per_class=20)
    softonce.train(small(root / "photos", root / "run", epochs=3, lr=0.02))
    found = softonce.decide(root / "run", root / "photos", **RULES)
    assert found == read_metadata(root / "run" / "model.safetensors").decisions
    assert (found.abstention.n, found.sets.n, found.novelty.n) == (60, 60, 60)
    return root / "photos", root / "run"


def test_predictions_follow_the_rules(decided, capsys) -> None:
    photos, run = decided
    clf = softonce.Classifier.load(run)
    rule = clf.metadata.decisions
    rows = clf(photos / "test")
    for row in rows:
        assert row.abstain == (row.prob < rule.abstention.threshold)
        assert row.set[0] == row.pred
        assert row.unlike == (energies(row.logits[None])[0] > rule.novelty.limit)
        assert row.to_dict()["set"] == list(row.set)
        assert row.to_dict()["unlike"] == row.unlike
    assert "set: " in repr(rows)
    marked = [row for row in rows if row.unlike]
    assert 0 < len(marked) <= 6  # of 60, 10 % false alarms
    assert "unlike training images" in repr(Predictions(tuple(marked), classes=rows.classes))
    assert all(", unlike)" in repr(row) for row in marked)
    names = [str(photos / "test" / "ants"), str(run / "config.toml")]
    assert main(["predict", str(run), *names, "--format", "jsonl"]) == 1
    *records, bad = map(json.loads, capsys.readouterr().out.splitlines())
    by_path = {row.path: row for row in rows}
    for record in records:
        row = by_path[record["path"]]
        assert (record["abstain"], tuple(record["set"])) == (row.abstain, row.set)
        assert record["unlike"] == row.unlike
    assert (bad["abstain"], bad["set"], bad["unlike"]) == (None, None, None)
    assert main(["predict", str(run), *names, "--format", "csv", "--top-k", "1"]) == 1
    cells = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(cells[0]) == ["path", "class_1", "prob_1", "abstain", "set", "unlike", "error"]
    assert cells[0]["set"].split("|") == records[0]["set"]
    assert cells[0]["abstain"] == str(records[0]["abstain"]).lower()
    assert cells[0]["unlike"] == str(records[0]["unlike"]).lower()


def test_an_evaluation_tells_how_the_rules_do(decided) -> None:
    photos, run = decided
    evaluation = softonce.Classifier.load(run).evaluate(photos, split="test")
    found, rules = evaluation.decided, read_metadata(run / "model.safetensors").decisions
    assert found.num_answered == round(rules.abstention.coverage * 60)
    assert found.num_right / found.num_answered >= rules.abstention.accuracy
    assert found.num_covered >= math.ceil(0.9 * 60)
    assert found.mean_size == pytest.approx(rules.sets.mean_size)
    assert evaluation.to_dict()["decided"]["num_covered"] == found.num_covered
    text = " ".join(repr(evaluation).split())
    assert "of the images are answered" in text
    assert "(0.9 is promised)" in text
    assert 0 < found.num_unlike <= 6
    assert "are marked as unlike those of training (at most 0.1 of images like" in text


def test_a_picture_shows_the_decision() -> None:
    record = {
        "path": "a.jpg", "pred": 0, "class": "ants", "prob": 0.6, "error": None,
        "top": [{"index": 0, "class": "ants", "prob": 0.6, "logit": 1.0}],
        "abstain": True, "set": ["ants", "bees"],
    }  # fmt: skip
    assert caption(record) == ["ants: 60.00%", "abstains; set: ants, bees"]


def test_an_exported_file_follows_them_too(decided, tmp_path: Path) -> None:
    photos, run = decided
    clf = softonce.Classifier.load(run)
    exported = clf.export("torch", tmp_path / "model.pt2", samples=4).file
    other = softonce.Classifier.load(exported, trust=True)
    assert other.metadata.decisions == clf.metadata.decisions
    assert other(photos / "test" / "ants")[0].set is not None
    with pytest.raises(ConfigError, match="expected a .safetensors file, found the exported"):
        softonce.decide(exported, photos, coverage=0.9)


def test_the_service_answers_by_them(decided) -> None:
    photos, run = decided
    engine = open_engine(run / "model.safetensors", name="torch")
    with running(engine) as client:
        (record,) = raw(client, next((photos / "test" / "bees").iterdir()).read_bytes()).json()[
            "predictions"
        ]
        model = client.get("/v1/model").json()
    assert isinstance(record["abstain"], bool)
    assert record["set"][0] == record["class"]
    assert isinstance(record["unlike"], bool)
    assert set(model["decisions"]) == {"abstention", "sets", "novelty"}


def test_the_command_prints_stores_and_removes_them(decided, capsys) -> None:
    photos, run = decided
    before = read_metadata(run / "model.safetensors").decisions
    try:
        assert main(["decide", str(run), str(photos), "--coverage", "0.8", "--quiet"]) == 0
        text = capsys.readouterr().out
        assert "lac with 0.8 coverage" in text
        assert "abstention" not in text
        assert main(["inspect", str(run / "model.safetensors")]) == 0
        assert "method lac" in capsys.readouterr().out
        assert main(["decide", str(run), str(photos), "--off"]) == 0
        assert "every answer is given" in capsys.readouterr().out
        assert read_metadata(run / "model.safetensors").decisions == Decisions()
    finally:
        assert softonce.decide(run, photos, **RULES) == before


def test_a_table_is_read_by_its_columns(decided, tmp_path: Path) -> None:
    photos, run = decided
    files = sorted((photos / "test").rglob("*.jpg"))
    rows = [f"{file},{file.parent.name},later" for file in files]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["where,what,when", *rows]))
    before = read_metadata(run / "model.safetensors").decisions
    columns = {"path_col": "where", "label_col": "what", "max_pixels": 10_000}
    assert softonce.decide(run, table, split="all", **RULES, **columns) == before


def test_images_that_were_trained_on_make_no_promises(decided) -> None:
    photos, run = decided
    with pytest.raises(DataError, match="not trained on, found 36 of 36 that it was"):
        softonce.decide(run, photos / "train", coverage=0.9, split="all")
