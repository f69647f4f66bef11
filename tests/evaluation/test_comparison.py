"""Two classifiers on the same images: pairs, differences, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation.evaluations import evaluation_of, random_logits
from scipy.stats import binomtest
from training.runs import small

import softonce
from softonce.cli.app import main
from softonce.errors import ArgumentError
from softonce.metrics.paired import Agreement


@pytest.mark.parametrize(
    "pairs", [(80, 1, 9, 10), (0, 0, 1, 0), (5, 3, 3, 2), (9000, 400, 300, 300)]
)
def test_the_p_value_is_the_exact_binomial_one(pairs) -> None:
    agreement = Agreement(*pairs)
    changed = agreement.only_first + agreement.only_second
    expected = binomtest(agreement.only_first, changed).pvalue
    assert agreement.p_value() == pytest.approx(expected)


def test_no_disagreement_is_no_evidence_and_still_no_certainty() -> None:
    same = Agreement(10, 0, 0, 0)
    assert same.p_value() == 1.0
    low, high = same.interval()
    assert low == pytest.approx(-high)
    assert 0.1 < high < 0.5


@pytest.mark.parametrize("n", [20, 100])
def test_the_interval_of_the_difference_holds_it_in_95_percent_of_draws(n: int) -> None:
    random = np.random.default_rng(n)
    cells, truth = (0.7, 0.05, 0.15, 0.1), 0.10
    drawn = random.multinomial(n, cells, size=2000).tolist()
    bounds = (Agreement(*row).interval() for row in drawn)
    covered = np.mean([low <= truth <= high for low, high in bounds])
    assert 0.93 < covered < 0.98


def test_swapping_the_two_mirrors_every_difference(tmp_path: Path) -> None:
    logits, target = random_logits(60)
    worse, _ = random_logits(60, seed=1, skill=0.5)
    one = evaluation_of(tmp_path, logits, target)
    other = evaluation_of(tmp_path, worse, target, temperature=2.0)
    there, back = one.compare(other), other.compare(one)
    assert there.agreement.only_first == back.agreement.only_second > 5
    for name, difference in there.differences.items():
        assert difference.value == pytest.approx(-back.differences[name].value)
        assert difference.value == getattr(other.figures, name) - getattr(one.figures, name)
    low, high = there.differences["nll"].interval
    assert low < there.differences["nll"].value < high
    assert there.p_value == back.p_value < 0.01
    assert "do not tell which is better" not in " ".join(there.notes())


def test_images_are_paired_by_path_and_classes_by_name(tmp_path: Path) -> None:
    logits, target = random_logits(30)
    whole = evaluation_of(tmp_path, logits, target)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))[:25]
    columns = torch.tensor([2, 0, 1])
    names = [f"{index:04d}.jpg".encode() for index in order.tolist()]
    part = evaluation_of(
        tmp_path,
        logits[order][:, columns],
        columns.argsort()[target[order]],
        classes=("wasps", "ants", "bees"),
        names=names,
    )
    found = whole.compare(part)
    assert (found.first.n, found.num_unpaired) == (25, 5)
    assert found.first == found.second
    notes = " ".join(found.notes())
    assert "5 images that only one was measured on are left out" in notes
    assert "do not tell which is better" in notes
    assert json.loads(json.dumps(found.to_dict()))["differences"]["top1"]["value"] == 0


def test_an_image_that_is_listed_twice_counts_twice(tmp_path: Path) -> None:
    logits, target = random_logits(4)
    twice = evaluation_of(tmp_path, logits, target, names=[b"a.jpg", b"b.jpg", b"a.jpg", b"c.jpg"])
    assert twice.compare(twice).first.n == 4


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"classes": ("ants", "bees", "moths")}, "same classes, found 'moths' in only one"),
        ({"names": [b"x.jpg", b"y.jpg", b"z.jpg"]}, "found none in common"),
        ({"target": torch.tensor([0, 1, 1])}, "same label for each image"),
    ],
)
def test_what_cannot_be_compared_is_said(other, message: str, tmp_path: Path) -> None:
    logits, target = random_logits(3)
    one = evaluation_of(tmp_path, logits, target)
    with pytest.raises(ArgumentError, match=message):
        one.compare(evaluation_of(tmp_path, logits, **{"target": target} | other))


def test_few_mistakes_have_no_interval_of_losses(tmp_path: Path) -> None:
    logits, target = random_logits(12, skill=30.0)
    one = evaluation_of(tmp_path, logits, target)
    found = one.compare(evaluation_of(tmp_path, 2 * logits, target))
    assert found.differences["nll"].interval is None
    assert found.differences["macro_f1"].interval is None
    assert found.differences["top1"].interval is not None


def test_the_command_compares_two_runs(photos: Path, tmp_path: Path, capsys) -> None:
    for name in ("one", "two"):
        softonce.train(small(photos, tmp_path / name, epochs=1, seed=len(name)), lr=0.01)
    paths = [str(path) for path in (tmp_path / "one", tmp_path / "two", photos)]
    assert main(["compare", *paths]) == 0
    text = capsys.readouterr().out
    assert text.startswith("15 images of val: A is ")
    assert "McNemar's exact p is" in text
    assert main(["compare", *paths, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == softonce.compare(*paths).to_dict() | {"names": paths[:2]}
    assert record["n"] == 15
