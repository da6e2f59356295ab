from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import hashing
from mixcurate.kernels.draw import Pool
from mixcurate.kernels.epochs import epoch_keys, prefer
from tests.kernels.test_draw import run


def keys_of(n: int, seed: int = 3) -> np.ndarray:
    return hashing.uniform_keys(pa.array([f"{i}" for i in range(n)]), seed, "draw")


def splitmix64(key: int, epoch: int) -> int:
    """As it is published, in Python's integers."""
    z = (key + (epoch - 1) * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=5), st.integers(2, 2**40))
@settings(deadline=None)
def test_the_keys_of_later_epochs_are_splitmix64(keys, epoch):
    given_keys = np.array(keys, np.uint64)
    assert epoch_keys(given_keys, epoch).tolist() == [splitmix64(key, epoch) for key in keys]
    assert epoch_keys(given_keys, 1).tolist() == keys


def test_splitmix64_gives_the_published_numbers():
    # seed 1234567, first values: https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64
    seed = np.array([1234567], np.uint64)
    found = [int(epoch_keys(seed, epoch)[0]) for epoch in range(2, 7)]
    assert found == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_the_orders_of_epochs_have_nothing_to_do_with_each_other():
    keys = keys_of(50_000)
    ranks = np.stack([np.argsort(np.argsort(epoch_keys(keys, epoch))) for epoch in (1, 2, 3, 4)])
    between = np.corrcoef(ranks)[np.triu_indices(4, 1)]
    assert np.abs(between).max() < 0.015  # 3.3 standard deviations


def test_which_documents_come_again_says_nothing_of_which_came_first():
    n = 20_000
    ones = np.ones(n, np.int64)
    pool = Pool(np.zeros(n, np.int32), ones, np.ones(n), keys_of(n), fresh=True)
    first = {row for row, _ in run([pool], [n // 4])[0]}
    again = {row for row, copy in run([pool], [n + n // 4])[0] if copy == 1}
    assert len(first) == len(again) == n // 4
    assert len(first & again) / (n // 4) == pytest.approx(0.25, abs=0.02)


@given(st.lists(st.sampled_from([0.01, 1.0, 100.0]), min_size=1, max_size=60), st.integers(0, 299))
@settings(deadline=None)
def test_preferred_documents_never_come_again_before_all_of_an_epoch_have_come(factors, share):
    n = len(factors)
    ones, none = np.ones(n, np.int64), np.zeros(n, np.int32)
    factor = np.array(factors)
    pool = Pool(none, ones, np.ones(n), keys_of(n), factor=factor, fresh=True)
    (drawn,) = run([pool], [n + n * share // 100])
    copies = np.bincount([row for row, _ in drawn], minlength=n)
    assert copies.max() - copies.min() <= 1
    assert copies.min() >= 1 + share // 100


def test_documents_are_preferred_in_proportion_in_every_epoch():
    n = 40_000
    factors = np.repeat([1.0, 3.0], n)
    for epoch in (1, 2, 3):
        keys = epoch_keys(keys_of(2 * n), epoch)
        moved = prefer(keys, factors)
        assert (moved[:n] == keys[:n]).all()
        first = np.argsort(moved)[::-1][:400]  # few of many: as good as with replacement
        assert 0.69 < (first >= n).mean() < 0.81
