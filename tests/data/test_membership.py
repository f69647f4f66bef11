"""Which part a picture belongs to, by its content and the seed."""

from __future__ import annotations

import hashlib
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softonce.data.membership import (
    are_among,
    choose_fold,
    choose_val,
    keep_together,
    pack_marks,
    positions,
)
from softonce.errors import ArtefactError, DataError


def digests_of(names: list[str]) -> npt.NDArray[np.uint8]:
    joined = b"".join(hashlib.blake2b(name.encode(), digest_size=16).digest() for name in names)
    return np.frombuffer(joined, np.uint8).reshape(-1, 16)


def pictures(counts: list[int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    target = np.repeat(np.arange(len(counts)), counts)
    return digests_of([f"picture {index}" for index in range(len(target))]), target


def val_of(
    digests: npt.NDArray[np.uint8],
    target: npt.NDArray[np.int64],
    fraction: float = 0.2,
    seed: int = 0,
) -> npt.NDArray[np.bool_]:
    return choose_val(
        digests, target, num_classes=int(target.max()) + 1, fraction=fraction, seed=seed
    )


@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=6),
    fraction=st.floats(0.001, 0.9),
    seed=st.integers(0, 2**63 - 1),
)
def test_every_class_keeps_a_picture_in_train_and_one_in_val_if_its_share_is_one(
    counts: list[int], fraction: float, seed: int
) -> None:
    digests, target = pictures([30, *counts])
    is_val = val_of(digests, target, max(fraction, 1 / 30), seed)
    for index, count in enumerate(counts):
        own = is_val[target == index + 1]
        assert not own.all()
        assert own.any() or count == 1 or round(max(fraction, 1 / 30) * count) == 0


def test_no_picture_to_spare_for_val_is_an_error() -> None:
    with pytest.raises(DataError, match="to leave some for val, found none: raise it"):
        val_of(*pictures([1, 1, 1]), 0.9)


def test_val_has_about_its_share() -> None:
    is_val = val_of(*pictures([20_000, 20_000]))
    deviation = (0.2 * 0.8 / 20_000) ** 0.5
    for part in np.split(is_val, 2):
        assert abs(part.mean() - 0.2) < 5 * deviation


@given(st.permutations(range(60)), st.sets(st.integers(0, 59), max_size=30))
def test_order_and_others_change_nothing(order: list[int], gone: set[int]) -> None:
    digests, target = pictures([30, 30])
    is_val = val_of(digests, target, 0.5)
    some = np.array([index for index in order if index not in gone])
    if min(np.bincount(target[some], minlength=2)) < 8:
        return
    assert np.array_equal(val_of(digests[some], target[some], 0.5), is_val[some])


def test_copies_stay_together_whatever_their_class() -> None:
    digests, target = pictures([40, 40])
    is_val = val_of(np.concatenate([digests, digests]), np.concatenate([target, 1 - target]))
    assert np.array_equal(is_val[:80], is_val[80:])


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30), st.randoms())
def test_what_hangs_together_by_pairs_is_one_unit(
    pairs: list[tuple[int, int]], random: Random
) -> None:
    units = digests_of([f"picture {index // 2}" for index in range(20)])  # two of each already
    sets = [{index, index ^ 1} for index in range(0, 20, 2)]
    for pair in pairs:
        touched = [each for each in sets if each & set(pair)]
        sets = [each for each in sets if each not in touched] + [set().union(*touched)]
    found = keep_together(units, pairs)
    for each in sets:
        assert {found[index].tobytes() for index in each} == {min(units[i].tobytes() for i in each)}
    random.shuffle(pairs)
    assert np.array_equal(keep_together(units, pairs), found)


def test_another_seed_is_another_split() -> None:
    digests, target = pictures([50, 50])
    both = val_of(digests, target, 0.5, 0) & val_of(digests, target, 0.5, 1)
    assert 10 < both.sum() < 40


def test_positions_are_uniform() -> None:
    place = np.sort(positions(pictures([50_000])[0], seed=3))
    assert np.abs(place - (np.arange(50_000) + 0.5) / 50_000).max() < 1.95 / 50_000**0.5


@given(st.sets(st.integers(0, 99)), st.lists(st.integers(0, 199), min_size=1))
def test_what_was_trained_on_is_found_again(trained: set[int], asked: list[int]) -> None:
    digests = digests_of([f"picture {index}" for index in range(200)])
    packed = pack_marks(digests[sorted(trained)])
    assert are_among(digests[asked], packed).tolist() == [index in trained for index in asked]


def test_marks_tell_nothing_of_order_and_take_eight_characters() -> None:
    digests = digests_of([f"picture {index}" for index in range(30)])
    packed = pack_marks(digests)
    assert packed == pack_marks(digests[::-1].copy()) == pack_marks(np.repeat(digests, 2, axis=0))
    assert len(packed) == 8 * 30


@pytest.mark.parametrize("packed", ["?", "AAAA", "AAAAAAA"])
def test_damaged_marks_are_refused(packed: str) -> None:
    with pytest.raises(ArtefactError, match="expected the hashes of what was trained on, found"):
        are_among(digests_of(["a"]), packed)


@given(count=st.integers(2, 12), seed=st.integers(0, 2**63 - 1))
def test_every_picture_is_in_one_fold_whatever_others_come(count: int, seed: int) -> None:
    digests, target = pictures([300, 300])

    def folds(rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.bool_]]:
        return [
            choose_fold(
                digests[rows], target[rows], classes=("a", "b"), fold=(index, count), seed=seed
            )
            for index in range(1, count + 1)
        ]

    whole = folds(np.arange(600))
    assert np.array_equal(np.sum(whole, axis=0), np.ones(600))
    some = np.arange(0, 600, 2)
    for before, after in zip(folds(some), whole, strict=True):
        assert np.array_equal(before, after[some])


@pytest.mark.parametrize(("counts", "count"), [([1, 50], 2), ([50, 50], 1000)])
def test_a_fold_with_all_of_a_class_or_nothing_is_refused(counts: list[int], count: int) -> None:
    digests, target = pictures(counts)
    messages = []
    for index in range(1, count + 1):
        try:
            choose_fold(digests, target, classes=("a", "b"), fold=(index, count), seed=0)
        except DataError as error:
            messages.append(str(error))
    wrong = "every image of 'a'" if counts[0] == 1 else "no image"
    assert messages
    assert all(f"found {wrong} in it: use fewer folds" in message for message in messages)
