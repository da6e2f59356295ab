from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels.fixedpoint import SCALE, from_fixed, sums_by_group, sums_by_key, to_fixed

VALUES = st.lists(st.floats(-1e4, 1e4), max_size=50)
GROUPED = st.lists(st.tuples(st.floats(-1e4, 1e4), st.integers(0, 4)), max_size=50)


@given(VALUES)
@settings(max_examples=50, deadline=None)
def test_rounding_there_and_back_errs_by_half_a_step_at_most(values):
    array = np.array(values)
    error = np.abs(from_fixed(to_fixed(array)) - array)
    assert (error <= 0.5 / SCALE).all()


@given(st.lists(st.integers(-(2**52), 2**52), max_size=50))
@settings(max_examples=50, deadline=None)
def test_values_on_the_grid_come_back_exactly(multiples):
    grid = np.array(multiples, np.int64)
    assert to_fixed(from_fixed(grid)).tolist() == multiples


@given(GROUPED, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_any_order_and_partition_sums_to_the_same_bits(pairs, random):
    def total(rows: list[tuple[float, int]]) -> np.ndarray:
        values = np.array([value for value, _ in rows])
        groups = np.array([group for _, group in rows], np.int32)
        return sums_by_group(to_fixed(values), groups, 5)

    shuffled = random.sample(pairs, len(pairs))
    cuts = sorted(random.randint(0, len(pairs)) for _ in range(3))
    pieces = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(pairs)], strict=True)]
    merged = sum((total(piece) for piece in pieces), np.zeros(5, np.int64))
    assert merged.tobytes() == total(pairs).tobytes()
    assert from_fixed(merged).tobytes() == from_fixed(total(pairs)).tobytes()


@given(GROUPED)
@settings(max_examples=50, deadline=None)
def test_sums_are_those_of_exact_arithmetic(pairs):
    values = to_fixed(np.array([value for value, _ in pairs]))
    groups = np.array([group for _, group in pairs], np.int64)
    expected = [
        sum(
            (Fraction(v, SCALE) for v, g in zip(values.tolist(), groups, strict=True) if g == i),
            Fraction(),
        )
        for i in range(6)
    ]
    found = sums_by_group(values, groups, 6)
    assert [Fraction(total, SCALE) for total in found.tolist()] == expected


def test_a_sum_of_floats_would_not_do():
    values = np.array([1e4, 0.1, -1e4, 0.2, 0.3] * 20)
    floats = {float(np.sum(values[order])) for order in (np.arange(100), np.argsort(values))}
    fixed = {int(to_fixed(values)[order].sum()) for order in (np.arange(100), np.argsort(values))}
    assert len(floats) == 2
    assert len(fixed) == 1


def test_as_many_documents_as_promised_fit():
    assert 2**33 * int(to_fixed(np.array([1.0]))[0]) <= 2**63


KEYED = st.lists(
    st.tuples(
        st.integers(-5, 40) | st.integers(-(2**62), 2**62),
        st.integers(-(2**40), 2**40),
        st.integers(0, 9),
    ),
    max_size=60,
)


@given(KEYED)
@settings(max_examples=100, deadline=None)
def test_sums_by_any_keys_are_those_of_a_dictionary(rows):
    """Keys near each other are added up in an array, others are sorted."""
    keys, first, second = (np.array([row[i] for row in rows], np.int64) for i in range(3))
    found, (one, two) = sums_by_key(keys, first, second)
    assert found.tolist() == sorted({row[0] for row in rows})
    for key, total, other in zip(found.tolist(), one.tolist(), two.tolist(), strict=True):
        mine = [row for row in rows if row[0] == key]
        assert (total, other) == (sum(r[1] for r in mine), sum(r[2] for r in mine))
