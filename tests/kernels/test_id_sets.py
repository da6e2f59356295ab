from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels.id_sets import Overlap, overlap

IDS = st.lists(st.integers(0, 20) | st.integers(2**64 - 3, 2**64 - 1), max_size=40)


@given(IDS, IDS)
@settings(max_examples=100, deadline=None)
def test_the_counts_are_those_of_sets(a, b):
    found = overlap(np.array(a, np.uint64), np.array(b, np.uint64))
    counts_a, counts_b = Counter(a), Counter(b)
    both = counts_a.keys() & counts_b.keys()
    assert found == Overlap(
        len(both),
        len(counts_a.keys() - both),
        len(counts_b.keys() - both),
        sum(counts_a[key] != counts_b[key] for key in both),
    )


@given(IDS, IDS, st.integers(2, 5))
@settings(max_examples=50, deadline=None)
def test_turns_add_up(a, b, passes):
    one, two = np.array(a, np.uint64), np.array(b, np.uint64)
    total = Overlap()
    for turn in range(passes):
        mine = [x[x % np.uint64(passes) == turn] for x in (one, two)]
        total += overlap(*mine)
    assert total == overlap(one, two)
