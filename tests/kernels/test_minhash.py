from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import minhash
from mixcurate.kernels.cleaning import NearParams
from mixcurate.kernels.words import split_words

texts = st.lists(st.lists(st.sampled_from("abcd"), max_size=9).map(" ".join), max_size=8)


def words(batch: list[str]):
    return split_words(pa.array(batch, pa.large_string()))


def keys(batch: list[str], **params: object) -> np.ndarray:
    return minhash.band_keys(words(batch), NearParams.model_validate(params))


def sets(similarity: float, size: int, count: int, seed: int) -> tuple[list[np.ndarray], float]:
    """Pairs of sets of hashes of some Jaccard similarity: two flat arrays and the similarity."""
    common = round(2 * size * similarity / (1 + similarity))
    hashes = np.random.default_rng(seed).integers(
        0, 2**64, size=(count, 2 * size - common), dtype=np.uint64
    )
    both = [hashes[:, :size].ravel(), hashes[:, size - common :].ravel()]
    return both, common / (2 * size - common)


@pytest.mark.parametrize("similarity", [0.1, 0.5, 0.8, 0.9])
@pytest.mark.parametrize("size", [20, 300])
def test_estimated_jaccard_is_unbiased_with_the_error_of_112_independent_orders(similarity, size):
    count = 400
    (first, second), true = sets(similarity, size, count, seed=7)
    offsets = np.arange(count + 1) * size
    found = [minhash.signatures(flat, offsets, 112) for flat in (first, second)]
    estimate = (found[0] == found[1]).mean(axis=0)
    error = np.sqrt(true * (1 - true) / 112)
    assert abs(estimate.mean() - true) < 4 * error / np.sqrt(count)
    assert 0.85 * error < estimate.std() < 1.15 * error


@pytest.mark.parametrize(("bands", "rows"), [(14, 8), (5, 3)])
def test_pairs_meet_as_often_as_the_s_curve_says(bands, rows):
    for similarity in (0.5, 0.7, 0.85):
        (first, second), true = sets(similarity, 100, 600, seed=3)
        offsets = np.arange(601) * 100
        one, two = (minhash.signatures(flat, offsets, bands * rows) for flat in (first, second))
        same = (one == two).reshape(bands, rows, -1).all(axis=1).any(axis=0).mean()
        expected = float(minhash.match_probability(np.array(true), bands, rows))
        assert abs(same - expected) < 4 * np.sqrt(expected * (1 - expected) / 600) + 1e-9


@settings(deadline=None)
@given(texts, st.integers(1, 4))
def test_shingles_are_ngrams_or_the_whole_of_a_short_text(batch, n):
    found = words(batch)
    hashes, offsets = minhash.shingles(found, n)
    shingles = [
        [tuple(text[i : i + n]) for i in range(max(1, len(text) - n + 1))] if text else []
        for text in (value.split() for value in batch)
    ]
    assert np.diff(offsets).tolist() == [len(each) for each in shingles]
    by_hash = dict(zip(hashes.tolist(), (one for each in shingles for one in each), strict=True))
    flat = [one for each in shingles for one in each]
    assert [by_hash[value] for value in hashes.tolist()] == flat
    assert len(by_hash) == len(set(flat))


@settings(deadline=None)
@given(texts, st.integers(0, 3))
def test_keys_are_those_of_the_set_of_shingles_whatever_the_batch(batch, skipped):
    alone = [keys([value], ngram=2, bands=3, rows=2)[0] for value in batch]
    together = keys(batch, ngram=2, bands=3, rows=2)
    assert together.shape == (len(batch), 3)
    assert [row.tolist() for row in together] == [row.tolist() for row in alone]
    assert keys(batch[skipped:], ngram=2, bands=3, rows=2).tolist() == together[skipped:].tolist()
    assert [(row != 0).all() for row in together] == [bool(value.split()) for value in batch]
    repeated = [f"{value} {value} {value}" for value in ("a b", "c")]
    assert keys(repeated, ngram=1).tolist() == keys(["b a", "c c"], ngram=1).tolist()


def test_blocks_do_not_show(monkeypatch):
    rng = np.random.default_rng(1)
    sizes = rng.integers(0, 40, 60)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    hashes = rng.integers(0, 2**64, offsets[-1], dtype=np.uint64)
    whole = minhash.signatures(hashes, offsets, 9)
    monkeypatch.setattr(minhash, "_BLOCK", 16)
    assert np.array_equal(minhash.signatures(hashes, offsets, 9), whole)
    assert (whole[:, sizes == 0] == 0xFFFFFFFF).all()


def test_each_minimum_is_the_smallest_product():
    hashes = np.random.default_rng(2).integers(0, 2**64, 30, dtype=np.uint64)
    found = minhash.signatures(hashes, np.array([0, 10, 30]), 5)
    orders = minhash._orders(5).tolist()
    small = [value >> 32 for value in hashes.tolist()]
    for number, order in enumerate(orders):
        products = [value * order % 2**32 for value in small]
        assert found[number].tolist() == [min(products[:10]), min(products[10:])]


def test_keys_are_the_same_everywhere():
    found = keys(["the cat sat on the mat and purred", "the cat"], bands=2)
    assert [[f"{key:016x}" for key in row] for row in found.tolist()] == [
        ["6794d6cbdceb8123", "29e32a4b470e52ed"],
        ["f7d57d0d912f4fc9", "50c45908606a382a"],
    ]


@pytest.mark.parametrize(
    ("threshold", "bands", "rows"), [(0.8, 10, 12), (0.7, 12, 8), (0.5, 22, 5), (0.75, 12, 10)]
)
def test_a_threshold_chooses_the_steepest_curve_through_one_half(threshold, bands, rows):
    params = NearParams(threshold=threshold)
    assert minhash.curve(params) == (bands, rows)
    half = minhash.match_probability(np.array([threshold - 0.02, threshold + 0.02]), bands, rows)
    assert half[0] < 0.5 < half[1]


@given(st.floats(0.001, 0.999))
@settings(max_examples=30, deadline=None)
def test_every_threshold_has_a_curve_that_can_be_afforded(threshold):
    bands, rows = minhash.bands_and_rows(threshold)
    assert 1 <= bands * rows <= 128


def test_without_a_threshold_bands_and_rows_are_those_of_fineweb():
    assert minhash.curve(NearParams()) == (14, 8)
    assert NearParams().ngram == 5
