"""Suspected labels: by the formula, against its authors' package, and planted ones."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from data.pictures import scanned
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from softonce.errors import ArgumentError
from softonce.evaluation import Suspect, summarise, suspects_to_csv
from softonce.metrics import find_label_errors
from softonce.report.run import write_evaluation_report
from softonce.run_folder import RunFolder
from softonce.training.finish import write_suspects


def by_the_formula(logits: Tensor, target: Tensor, temperature: float) -> list[tuple[int, int]]:
    probs = (logits.double() / temperature).softmax(1).numpy()
    labels, num_classes = target.numpy(), logits.shape[1]
    threshold = {c: probs[labels == c, c].mean() for c in range(num_classes) if (labels == c).any()}
    found = []
    for row, label in enumerate(labels):
        confident = [c for c, least in threshold.items() if probs[row, c] >= least]
        best = max(confident, key=lambda c: (probs[row, c], -c), default=label)
        if 0.02 * probs[row, best] > 0.98 * (num_classes - 1) * probs[row, label]:
            found.append((probs[row, label] - probs[row, best], row, int(best)))
    return [(row, best) for _, row, best in sorted(found)]


@given(
    num=st.integers(1, 60),
    num_classes=st.integers(2, 6),
    scale=st.sampled_from([0.1, 2.0, 9.0]),
    temperature=st.sampled_from([0.5, 1.0, 3.0]),
    seed=st.integers(0, 1000),
)
def test_they_are_those_of_the_formula(
    num: int, num_classes: int, scale: float, temperature: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(num, num_classes, generator=generator)
    target = torch.randint(num_classes, (num,), generator=generator)
    found = find_label_errors(logits, target, temperature=temperature)
    pairs = list(zip(found.rows.tolist(), found.suggested.tolist(), strict=True))
    assert pairs == by_the_formula(logits, target, temperature)


def planted(num: int, num_wrong: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits of a good classifier, labels with some wrong ones, and which are wrong."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(10, (num,), generator=generator)
    logits = torch.randn(num, 10, generator=generator)
    logits[torch.arange(num), truth] += 10.0
    target = truth.clone()
    target[:num_wrong] = (truth[:num_wrong] + 3) % 10
    return logits, target, torch.arange(num) < num_wrong


def test_planted_ones_are_found() -> None:
    logits, target, is_wrong = planted(2000, 20)
    rows = find_label_errors(logits, target).rows
    right = is_wrong[rows]
    assert right.all()
    assert right.sum() >= 12  # a threshold at the mean leaves the less sure half of them


def test_honest_labels_of_a_poor_classifier_are_few() -> None:
    assert len(find_label_errors(torch.zeros(50, 3), torch.arange(50) % 3).rows) == 0
    logits, target, _ = planted(2000, 0)
    noisy = logits / 10 + torch.randn(2000, 10, generator=torch.Generator().manual_seed(1))
    assert int((noisy.argmax(1) != target).sum()) > 1000
    assert len(find_label_errors(noisy, target).rows) == 0


def test_they_are_those_of_the_authors_package() -> None:
    filter_ = pytest.importorskip("cleanlab.filter", reason="the judge is not installed")
    logits, target, _ = planted(600, 30)
    logits = logits * 0.8  # so that some are hard
    found = find_label_errors(logits, target)
    probs = logits.double().softmax(1).numpy()
    mask = filter_.find_label_issues(
        target.numpy(), probs, filter_by="confident_learning", n_jobs=1, min_examples_per_class=0
    )
    likelier = probs.max(1) > 49 * 9 * probs[np.arange(600), target.numpy()]
    assert set(np.flatnonzero(mask & likelier)) == set(found.rows.tolist())
    assert (mask & ~likelier).any()


def test_a_target_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ArgumentError):
        find_label_errors(torch.zeros(3, 2), torch.tensor([0, 1, 2]))


def test_an_evaluation_lists_them(photos: Path, tmp_path: Path) -> None:
    samples = scanned(photos / "train").samples
    logits = 9 * torch.nn.functional.one_hot(torch.from_numpy(samples.target), 3).float()
    logits[4] = torch.tensor([0.0, 0.0, 9.0])
    evaluation = summarise(
        logits, torch.from_numpy(samples.target), scanned(photos / "train"), "val", temperature=1.0
    )
    (suspect,) = evaluation.suspects()
    assert suspect.path == str(photos / "train" / "ants" / "04.jpg")
    assert (suspect.label, suspect.suggested) == ("ants", "wasps")
    assert suspect.prob_suggested > 0.9 > suspect.prob_label
    write_suspects(RunFolder(tmp_path), evaluation)
    with (tmp_path / "suspects.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["path"] == suspect.path
    write_evaluation_report(evaluation, "test", tmp_path / "page.html")
    assert "1 label may be wrong" in (tmp_path / "page.html").read_text()


def test_a_name_with_a_comma_stays_one_cell() -> None:
    suspect = Suspect(path="a, b", label="x", suggested="y", prob_label=0.1, prob_suggested=0.9)
    assert suspects_to_csv([suspect]).splitlines()[1] == '"a, b",x,y,0.1,0.9'
