from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mixcurate.kernels import hashing

TEXTS = st.lists(st.text(max_size=20), max_size=12)
UNICODE = ["", "a", "ä", "日本語", "🙂 emoji", "\x00", "e\u0301", "a" * 5_000]


def naive_keys(ids: list[str], seed: int, purpose: str) -> list[int]:
    start = xxhash.xxh3_64_intdigest(purpose.encode(), seed)
    return [xxhash.xxh3_64_intdigest(value.encode(), start) for value in ids]


def test_golden_values_never_change():
    ids = hashing.document_ids("crawl", "a/b.warc.gz", np.array([0, 1, 2**40]))
    assert ids.to_pylist() == [
        "5d0eacc4a98e3e4ccf54b94e6cfd0dbf",
        "e479d6ec0e1022c5cf49a5dd8c797c07",
        "e7fab98b1e4072f5e2090e72d9d3263c",
    ]
    assert hashing.fingerprint("a", "b") == "4e8071d3974d16754bcb794c7d699bd6"
    assert hashing.subseed(17, "draw") == 1826493632465180525
    assert hashing.uniform_keys(ids, 17, "draw").tolist() == [
        223808344861521492,
        6171401297729318379,
        13498789158192920673,
    ]
    assert (
        hashing.content_hashes(pa.array(["ä"]))[0].as_py().hex()
        == "5bc68e1d01dabb53543064676a70b4b4"
    )


@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
@settings(max_examples=50, deadline=None)
def test_fingerprints_are_equal_exactly_where_the_parts_are(left, right):
    assert (hashing.fingerprint(*left) == hashing.fingerprint(*right)) == (left == right)


@pytest.mark.parametrize(
    ("left", "right"),
    [(("ab", "c"), ("a", "bc")), (("a", ""), ("a",)), (("",), ()), (("ä",), ("a",))],
)
def test_another_split_of_the_same_text_is_another_fingerprint(left, right):
    assert hashing.fingerprint(*left) != hashing.fingerprint(*right)


def test_document_ids_differ_for_every_place():
    places = [("a", "bc", 0), ("ab", "c", 0), ("a", "bc", 1), ("a", "b", 0), ("a", "bc", -1)]
    ids = {hashing.document_ids(s, p, np.array([n]))[0].as_py() for s, p, n in places}
    assert len(ids) == len(places)
    assert all(len(i) == 32 and int(i, 16) >= 0 for i in ids)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=10))
@settings(max_examples=50, deadline=None)
def test_document_ids_are_xxh3_of_source_path_and_position(positions):
    ids = hashing.document_ids("söurce", "pfad/ä.gz", np.array(positions, np.int64))
    prefix = "6:söurcepfad/ä.gz\0".encode()
    assert ids.to_pylist() == [
        xxhash.xxh3_128_hexdigest(prefix + p.to_bytes(8, "little", signed=True)) for p in positions
    ]


def test_no_documents_get_no_ids():
    assert len(hashing.document_ids("a", "b", np.zeros(0, np.int64))) == 0
    assert hashing.document_ids("a", "b", np.zeros(0, np.int64)).type == pa.string()


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_content_hash_is_that_of_the_utf8_bytes(kind):
    found = hashing.content_hashes(pa.array(UNICODE, kind))
    assert found.type == pa.binary(16)
    assert found.to_pylist() == [xxhash.xxh3_128_digest(text.encode()) for text in UNICODE]


@given(TEXTS, st.integers(0, 12), st.integers(0, 12), st.booleans())
@settings(max_examples=50, deadline=None)
def test_slices_hash_like_the_rows_they_hold(texts, offset, length, wide):
    array = pa.array(texts, pa.large_string() if wide else pa.string())
    rows = texts[offset : offset + length]
    part = array.slice(min(offset, len(texts)), length)
    assert hashing.content_hashes(part).to_pylist() == [
        xxhash.xxh3_128_digest(text.encode()) for text in rows
    ]
    assert hashing.uniform_keys(part, 3, "x").tolist() == naive_keys(rows, 3, "x")


IDS = st.lists(st.binary(min_size=16, max_size=16).map(bytes.hex), max_size=20)


@given(IDS, st.integers(0, 20), st.integers(0, 2**64 - 1), st.booleans())
@settings(max_examples=200, deadline=None)
def test_ids_of_our_own_are_hashed_many_at_once_to_the_same_keys(ids, offset, seed, wide):
    array = pa.array(ids, pa.large_string() if wide else pa.string())
    part = array.slice(min(offset, len(ids)))
    rows = ids[offset:]
    assert hashing.uniform_keys(part, seed, "draw").tolist() == naive_keys(rows, seed, "draw")


def test_many_ids_of_our_own_are_hashed_in_pieces_to_the_same_keys():
    ids = hashing.document_ids("a", "b", np.arange(10_000))
    assert hashing.uniform_keys(ids, 7, "x").tolist() == naive_keys(ids.to_pylist(), 7, "x")
    one = pa.array([*ids.to_pylist()[:50], "an id of another length"])
    assert hashing.uniform_keys(one, 7, "x").tolist() == naive_keys(one.to_pylist(), 7, "x")


@given(st.lists(st.text(max_size=8), min_size=1, max_size=20), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_keys_do_not_depend_on_order_or_chunks(ids, random):
    whole = dict(zip(ids, hashing.uniform_keys(pa.array(ids), 1, "draw").tolist(), strict=True))
    shuffled = random.sample(ids, len(ids))
    cut = random.randint(0, len(ids))
    for chunk in (shuffled[:cut], shuffled[cut:]):
        keys = hashing.uniform_keys(pa.array(chunk, pa.string()), 1, "draw").tolist()
        assert keys == [whole[value] for value in chunk]


def test_a_null_reads_as_empty():
    hashes = hashing.content_hashes(pa.array(["a", None, "b"]))
    assert hashes[1].as_py() == xxhash.xxh3_128_digest(b"")


def test_keys_are_uniform():
    ids = pa.array([f"document-{i}" for i in range(20_000)])
    unit = hashing.unit_interval(hashing.uniform_keys(ids, 5, "draw"))
    counts, _ = np.histogram(unit, bins=50, range=(0, 1))
    assert stats.chisquare(counts).pvalue > 1e-4
    low = hashing.uniform_keys(ids, 5, "draw") & np.uint64(63)
    assert stats.chisquare(np.bincount(low.astype(np.int64), minlength=64)).pvalue > 1e-4


@pytest.mark.parametrize(("seed", "purpose"), [(5, "shuffle"), (6, "draw")])
def test_another_purpose_or_seed_gives_independent_keys(seed, purpose):
    ids = pa.array([f"document-{i}" for i in range(20_000)])
    one = hashing.unit_interval(hashing.uniform_keys(ids, 5, "draw"))
    other = hashing.unit_interval(hashing.uniform_keys(ids, seed, purpose))
    table, _, _ = np.histogram2d(one, other, bins=8, range=[[0, 1], [0, 1]])
    assert stats.chi2_contingency(table).pvalue > 1e-4
    assert hashing.subseed(5, "draw") != hashing.subseed(seed, purpose)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
@settings(max_examples=50, deadline=None)
def test_unit_interval_is_exact_and_below_one(values):
    unit = hashing.unit_interval(np.array(values, np.uint64))
    assert unit.tolist() == [(value >> 11) / 2**53 for value in values]
    assert all(0 <= value < 1 for value in unit.tolist())
