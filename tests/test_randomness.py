"""Random numbers without a state: uniform, independent, and nobody's neighbour's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softonce.randomness import permutation, uniforms

SEEDS = st.integers(0, 2**63 - 1)


def test_draws_are_spread_evenly_over_the_unit_interval() -> None:
    draws = uniforms(0, 0, np.arange(20_000), num_draws=4)
    assert ((draws >= 0) & (draws < 1)).all()
    counts = np.stack([np.histogram(column, bins=20, range=(0, 1))[0] for column in draws.T])
    chi_squared = ((counts - 1000) ** 2 / 1000).sum(1)
    assert (chi_squared < 43.8).all()  # 99.9 % of chi-squared with 19 degrees of freedom


@pytest.mark.parametrize("what", ["index", "draw", "epoch", "seed"])
def test_neighbours_are_uncorrelated(what: str) -> None:
    indices = np.arange(20_000)
    here = uniforms(7, 3, indices, num_draws=2)
    there = {
        "index": uniforms(7, 3, indices + 1, num_draws=2)[:, 0],
        "draw": here[:, 1],
        "epoch": uniforms(7, 4, indices, num_draws=2)[:, 0],
        "seed": uniforms(8, 3, indices, num_draws=2)[:, 0],
    }[what]
    assert abs(np.corrcoef(here[:, 0], there)[0, 1]) < 4 / 20_000**0.5


def test_more_draws_begin_with_the_fewer() -> None:
    few, many = (uniforms(1, 2, [3, 4], num_draws=number) for number in (2, 9))
    assert np.array_equal(many[:, :2], few)


@given(seed=SEEDS, epoch=st.integers(-1, 10**6), num_items=st.integers(0, 300))
def test_an_order_is_a_permutation_that_belongs_to_seed_and_epoch(
    seed: int, epoch: int, num_items: int
) -> None:
    order = permutation(seed, epoch, num_items)
    assert sorted(order) == list(range(num_items))
    assert np.array_equal(order, permutation(seed, epoch, num_items))


def test_every_item_comes_first_equally_often() -> None:
    first = [permutation(seed, epoch, 5)[0] for seed in range(40) for epoch in range(-1, 39)]
    counts = np.bincount(first, minlength=5)
    assert ((counts - 320) ** 2 / 320).sum() < 18.5  # 99.9 % with 4 degrees of freedom
