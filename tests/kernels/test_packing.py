from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixcurate.kernels.packing import Packing, pack
from tests.kernels.packed import laid_out

#: (tokens, domain) of each document.
DOCUMENTS = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 4)), max_size=30)

Token = tuple[int, int]  # number of the document, number in the document
_MASK = 2**64 - 1


def packed(documents: list[tuple[int, int]], length: int, shard: int = 3) -> Packing:
    lengths = np.array([n for n, _ in documents], np.int64)
    return pack(lengths, np.array([d for _, d in documents], np.int32), length, shard)


def sequences(found: Packing) -> list[list[Token]]:
    """The tokens of each sequence."""
    return laid_out(found, lambda number, start, n: [(number, start + i) for i in range(n)])


def hashed(value: int) -> int:
    """splitmix64, as its authors print it."""
    value = value * 0x9E3779B97F4A7C15 & _MASK
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _MASK
    return value ^ value >> 31


def reference(documents: list[tuple[int, int]], length: int, shard: int) -> list[list[Token]]:
    """Token by token: whole sequences of each domain, then what is left of each, then by hash."""
    whole: list[list[Token]] = []
    left: list[Token] = []
    for domain in sorted({d for _, d in documents}):
        stream = [(i, j) for i, (n, d) in enumerate(documents) if d == domain for j in range(n)]
        end = len(stream) // length * length
        whole += [stream[start : start + length] for start in range(0, end, length)]
        left += stream[end:]
    whole += [left[start : start + length] for start in range(0, len(left), length)]
    short = [whole.pop()] if whole and len(whole[-1]) < length else []
    keys = [hashed((shard << 32) + number + 1) for number in range(len(whole))]
    return [whole[i] for i in sorted(range(len(whole)), key=keys.__getitem__)] + short


@given(DOCUMENTS, st.integers(1, 40), st.integers(0, 70_000))
def test_packing_equals_the_reference(documents, length, shard):
    assert sequences(packed(documents, length, shard)) == reference(documents, length, shard)


@given(DOCUMENTS, st.integers(1, 12))
def test_every_token_is_in_one_sequence_and_few_sequences_are_of_several_domains(documents, length):
    found = packed(documents, length)
    rows = sequences(found)
    tokens = [token for row in rows for token in row]
    assert sorted(tokens) == [(i, j) for i, (n, _) in enumerate(documents) for j in range(n)]
    assert all(len(row) == length for row in rows[:-1])
    mixed = [row for row in rows if len({documents[i][1] for i, _ in row}) > 1]
    assert len(mixed) <= max(len({d for _, d in documents}) - 1, 0)
    assert (found.lengths > 0).all()
    assert {a.dtype for a in (found.documents, found.starts, found.lengths, found.bounds)} == {
        np.dtype(np.int64)
    }


def test_documents_follow_each_other_in_their_order():
    found = packed([(3, 1), (2, 0), (5, 1)], 4)
    rows = sequences(found)
    of_one = next(row for row in rows if row[0][0] == 0)
    assert of_one == [(0, 0), (0, 1), (0, 2), (2, 0)]
    assert rows[-1] == [(1, 0), (1, 1)]


@pytest.mark.parametrize("documents", [[], [(0, 0)], [(0, 2), (0, 1)]])
def test_no_tokens_are_no_sequences(documents):
    assert sequences(packed(documents, 8)) == []


def test_the_mixture_holds_throughout_a_shard():
    """Domains come one after another; one has documents of a hundred sequences each."""
    documents = [(100_000, 0)] * 9 + [(700, 1)] * 900 + [(50, 2)] * 9_000
    rows = packed(documents, 1_000).bounds.size - 1
    found = packed(documents, 1_000)
    domain = np.array([documents[i][1] for i in found.documents[found.bounds[:-1]].tolist()])
    assert rows == len(domain) == 900 + 630 + 450
    for part in np.array_split(domain, 4):
        shares = np.bincount(part, minlength=3) / len(part)
        np.testing.assert_allclose(shares, np.array([900, 630, 450]) / rows, atol=0.07)


def test_shards_have_orders_of_their_own():
    documents = [(1_000, 0), (1_000, 1)]
    one, other = (packed(documents, 10, shard).starts for shard in (0, 1))
    assert (np.sort(one) == np.sort(other)).all()
    assert (one != other).mean() > 0.9
